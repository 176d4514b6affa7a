//! An edge, as a viewer finds it: one URL, and everything that it names.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::{REFUSED, runtime, say, usage};
use crate::clock::Clock;
use crate::hls::Kind;
use crate::hls::listing::{self, Listed};
use crate::listen::check_authorities;
use crate::origin::redirect::Place;
use crate::origin::{self, Deadlines, Endpoint, Exchange, HealthCheck, Origin, Settings};
use crate::token::carrier::redact;

/// Of a playlist.
const MOST_BYTES: usize = 4 << 20;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren probe \"$(warren sign https://cdn.example.net/v/s1/master.m3u8 --ttl 1h --stream)\"
  warren probe \"$URL\" --json
  warren probe \"$URL\" --connect 127.0.0.1:8080     # before the name leads there

Asks for a URL as a viewer does: twice, of which the second should be a hit, and
for one byte of it. A playlist is walked to its variants, renditions, keys, init
sections and segments, each of which is asked for one byte; what would not play
is listed with its status.
Exit code 0: all of it plays. 1: something does not, or cannot be reached.")]
pub struct Arguments {
    /// The URL, with its token.
    url: String,
    /// The most URLs to ask for.
    #[arg(long, value_name = "COUNT", default_value_t = 500)]
    max: usize,
    /// Ask this edge, whatever the URL's host resolves to; the Host and the name
    /// in its certificate stay the URL's.
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// PEM of the authorities that sign the edge's certificate.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What one URL came to.
struct Asked {
    target: String,
    status: Option<u16>,
    cache: String,
    why: Option<String>,
    took: Duration,
}

impl Asked {
    fn plays(&self) -> bool {
        matches!(self.status, Some(200 | 206))
    }

    fn to_json(&self) -> Value {
        json!({
            "target": redact(&self.target),
            "status": self.status,
            "cache": self.cache,
            "why": self.why,
            "seconds": self.took.as_secs_f64(),
        })
    }

    fn to_text(&self) -> String {
        let status = self
            .status
            .map_or("no answer".to_owned(), |it| it.to_string());
        let why = self.why.as_ref().map(|why| format!(": {why}"));
        let ms = self.took.as_secs_f64() * 1000.0;
        let (cache, why) = (&self.cache, why.unwrap_or_default());
        // What is copied into a ticket opens nothing.
        let target = redact(&self.target);
        format!("{status} {cache} {ms:.1} ms {target}{why}")
    }
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let Some(place) = Place::of_url(&arguments.url) else {
        return usage("write a whole URL, with http:// or https:// and a path");
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(probe(arguments, place))
}

async fn probe(arguments: &Arguments, place: Place) -> ExitCode {
    let authorities = arguments.ca_file.as_deref().map(Path::new);
    if let Some(Err(why)) = authorities.map(check_authorities) {
        return usage(&format!("--ca-file: {why}"));
    }
    let Some(settings) = settings(&place.endpoint, arguments) else {
        return usage("--connect is a host and a port, as in 127.0.0.1:8080");
    };
    let clock = Clock::default();
    let prober = Prober {
        origin: Arc::new(Origin::new("probe", settings, clock.clone())),
        clock,
    };
    let (first, body) = prober.ask(&place.target, None).await;
    let mut asked = vec![first];
    if asked[0].plays() {
        asked.push(prober.ask(&place.target, None).await.0);
        asked.push(prober.ask(&place.target, Some("bytes=0-0")).await.0);
    }
    let (walked, left) = prober.walk(&place, &body, arguments.max).await;
    let failed: Vec<&Asked> = asked
        .iter()
        .chain(&walked)
        .filter(|it| !it.plays())
        .collect();
    let hit = asked.get(1).is_some_and(|second| second.cache == "HIT");
    if arguments.json {
        say(json!({
            "plays": failed.is_empty(),
            "hit": hit,
            "url": asked.iter().map(Asked::to_json).collect::<Vec<_>>(),
            "walked": walked.len(),
            "left": left,
            "failed": failed.iter().map(|it| it.to_json()).collect::<Vec<_>>(),
        }));
    } else {
        asked.iter().for_each(|it| say(it.to_text()));
        if asked.len() > 1 && !hit {
            say(
                "the second was no hit: Cache-Status of the answer says why (docs/reference/caching.md)",
            );
        }
        failed
            .iter()
            .skip_while(|it| asked.iter().any(|one| std::ptr::eq(**it, one)))
            .for_each(|it| say(it.to_text()));
        tell(walked.len(), left, failed.len());
    }
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(REFUSED),
    }
}

fn tell(walked: usize, left: usize, failed: usize) {
    let left = match left {
        0 => String::new(),
        left => format!(", {left} more not asked for (--max)"),
    };
    match failed {
        0 if walked == 0 => say("plays"),
        0 => say(format_args!("plays: {walked} URLs of it are there{left}")),
        failed => say(format_args!(
            "does not play: {failed} failed, of {walked} that it names{left}"
        )),
    }
}

/// `None`: there is no such place to connect to.
fn settings(named: &Endpoint, arguments: &Arguments) -> Option<Settings> {
    let scheme = if named.tls { "https" } else { "http" };
    let endpoint = match &arguments.connect {
        Some(place) => Endpoint::parse(&format!("{scheme}://{place}"))?,
        None => named.clone(),
    };
    Some(Settings {
        kind: origin::Kind::Http {
            host: Some(named.authority()),
        },
        endpoints: vec![endpoint],
        prefix: String::new(),
        tls_name: named.tls.then(|| named.host.clone()),
        forward_host: false,
        redirects: Vec::new(),
        headers: Vec::new(),
        missing_as: vec![404],
        deadlines: Deadlines {
            first_byte: Duration::from_secs(15),
            ..Deadlines::default()
        },
        max_pulls: 8,
        ca_file: arguments.ca_file.clone(),
        health: HealthCheck::default(),
    })
}

struct Prober {
    origin: Arc<Origin>,
    clock: Clock,
}

impl Prober {
    /// The answer, and its body where that is a playlist's.
    async fn ask(&self, target: &str, range: Option<&str>) -> (Asked, Vec<u8>) {
        let began = self.clock.monotonic();
        let answered = self.origin.fetch(target, range).await;
        let took = self.clock.monotonic().saturating_duration_since(began);
        let target = target.to_owned();
        match answered {
            Err(trouble) => {
                let why = trouble
                    .cause
                    .unwrap_or_else(|| trouble.failure.name().to_owned());
                let asked = Asked {
                    target,
                    status: None,
                    cache: String::new(),
                    why: Some(why),
                    took,
                };
                (asked, Vec::new())
            }
            Ok(mut exchange) => {
                let status = exchange.head.status;
                let body = body_of(&mut exchange, range).await;
                let text = |name| exchange.head.text(http::HeaderName::from_static(name));
                let asked = Asked {
                    target: target.clone(),
                    status: Some(status),
                    cache: text("cdn-cache").unwrap_or("-").to_owned(),
                    why: why(status, &body).or_else(|| no_list(&target, range, &body)),
                    took,
                };
                (asked, body)
            }
        }
    }

    /// Asks for what a playlist names, and what that names; how many were left.
    async fn walk(&self, place: &Place, body: &[u8], most: usize) -> (Vec<Asked>, usize) {
        let (mut asked, mut seen) = (Vec::new(), HashSet::from([place.target.clone()]));
        let mut queue: VecDeque<(Place, bool)> = named(place, body).into();
        while let Some((next, is_list)) = queue.pop_front() {
            if seen.contains(&next.target) {
                continue;
            }
            if asked.len() >= most {
                return (asked, queue.len() + 1);
            }
            seen.insert(next.target.clone());
            if next.endpoint != place.endpoint {
                continue;
            }
            let range = (!is_list).then_some("bytes=0-0");
            let (one, body) = self.ask(&next.target, range).await;
            if is_list {
                queue.extend(named(&next, &body));
            }
            asked.push(one);
        }
        (asked, 0)
    }
}

/// What a playlist names, and whether that is a playlist.
fn named(place: &Place, body: &[u8]) -> Vec<(Place, bool)> {
    let urls: Vec<(String, bool)> = match listing::read(body, &place.to_url()) {
        Some(Listed::Multivariant(list)) => {
            let variants = list.variants.into_iter().map(|(_, url)| url);
            variants
                .chain(list.renditions)
                .map(|url| (url, true))
                .collect()
        }
        Some(Listed::Media(media)) => {
            let parts = media.segments.iter().flat_map(|segment| {
                let needs = segment.needs.iter().map(|part| part.url.clone());
                needs.chain([segment.part.url.clone()])
            });
            parts.map(|url| (url, false)).collect()
        }
        None => Vec::new(),
    };
    let places = urls.into_iter();
    places
        .filter_map(|(url, is_list)| Some((Place::of_url(&url)?, is_list)))
        .collect()
}

async fn body_of(exchange: &mut Exchange, range: Option<&str>) -> Vec<u8> {
    let kind = exchange.head.text(CONTENT_TYPE).and_then(Kind::of_type);
    let is_list = kind.is_some_and(Kind::is_list) || exchange.head.status >= 400;
    let mut body = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while range.is_none() && body.len() < MOST_BYTES {
        match exchange.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => body.extend_from_slice(&buffer[..count]),
        }
        if !is_list && !body.starts_with(b"#EXT") {
            break;
        }
    }
    body
}

/// Why what is named as a playlist plays nothing.
fn no_list(target: &str, range: Option<&str>, body: &[u8]) -> Option<String> {
    if range.is_some() || Kind::of_url(target) != Kind::Playlist {
        return None;
    }
    let why = match listing::read(body, "http://localhost/") {
        None => "no playlist: it does not begin with #EXTM3U",
        Some(Listed::Media(media)) if media.segments.is_empty() => {
            "a playlist that names no segment"
        }
        Some(Listed::Multivariant(list))
            if list.variants.is_empty() && list.renditions.is_empty() =>
        {
            "a playlist that names no variant"
        }
        Some(_) => return None,
    };
    Some(why.to_owned())
}

/// What may be done about a status; the edge tells the reason to those in the
/// zone's `explain_to`.
fn why(status: u16, body: &[u8]) -> Option<String> {
    let told = String::from_utf8_lossy(body);
    let told = told.lines().nth(1).filter(|_| status >= 400);
    // Where there is no reason, the request's id stands there.
    let told = told.filter(|told| !told.starts_with("Request "));
    let hint = match status {
        200 | 206 => return None,
        401 | 403 => {
            "not let in, by the edge (warren explain says why) or by an origin of kind http; a token in the query is not passed on to what a playlist names (warren sign --stream)"
        }
        300..=399 => "it leads elsewhere: ask for that URL (https.force sends viewers to https)",
        404 => "not there, or no zone has this host: is the path right, and the origin's folder?",
        451 => "taken down",
        502 => "the origin's configuration: warren check --origin",
        503 => "the origin fails, or the edge is full",
        _ => "see docs/reference/caching.md",
    };
    Some(told.map_or_else(|| hint.to_owned(), |told| format!("{told}; {hint}")))
}
