//! Warming: playlists are walked to their variants and segments, and what is
//! not stored is pulled, with a line of progress every half second.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body as ResponseBody;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Admin;
use super::answer::{Body, Style, Wrong, read};
use super::audit::NAMED;
use super::door::Who;
use super::place::{asked_at, bare, few, over_tls, place, target};
use crate::cache::object::Object;
use crate::clock::timer_now;
use crate::edge::authority::{of_target, origin_form};
use crate::edge::{Site, Warmed, warm as pull};
use crate::hls::listing::{self, Listed};
use crate::hls::{Kind, MAX_PLAYLIST_BYTES};

/// Walks at a time: each may keep as many pulls busy as it says.
pub const MAX_WARMS: usize = 4;
/// What one walk may find, and has at a time.
const MAX_OBJECTS: usize = 100_000;
const DEFAULT_OBJECTS: usize = 1_000;
const MAX_PARALLEL: usize = 64;
const DEFAULT_PARALLEL: usize = 8;
/// Failures that are told with their URL.
const MAX_FAILURES: usize = 20;
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// What `POST /v1/warm` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    /// Playlists, or objects by themselves.
    urls: Vec<String>,
    zone: Option<String>,
    max_objects: Option<usize>,
    /// Of bodies; absent: half of the memory that there is for them.
    max_bytes: Option<u64>,
    parallel: Option<usize>,
}

/// A line of progress.
#[derive(Debug, Clone, Default, Serialize)]
struct Progress {
    found: usize,
    done: usize,
    pulled: usize,
    stored_already: usize,
    failed: usize,
    bytes: u64,
    ended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Failed>,
}

#[derive(Debug, Clone, Serialize)]
struct Failed {
    url: String,
    reason: &'static str,
}

/// One thing to fetch: its site and whole URL.
type Item = (Arc<Site>, String);

pub async fn warm(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
    call: Body<Call>,
) -> Response {
    match begin(&admin, who, call) {
        Ok(walk) => {
            let lines = stream::unfold(walk, |mut walk| async {
                let line = walk.line().await?;
                Some((Ok::<_, Infallible>(line), walk))
            });
            let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
            (kind, ResponseBody::from_stream(lines)).into_response()
        }
        Err(wrong) => wrong.answer(Style::Ours),
    }
}

fn begin(admin: &Arc<Admin>, who: String, call: Body<Call>) -> Result<Walk, Wrong> {
    let call = read(call)?;
    few(call.urls.len(), "name the URL of a playlist")?;
    let place_of = |url: &String| place(admin, url, call.zone.as_deref(), "urls");
    let sites: Vec<_> = call.urls.iter().map(place_of).collect::<Result<_, _>>()?;
    let full = |_| {
        let message = format!("{MAX_WARMS} are under way: wait for one to end");
        Wrong {
            retry_after: Some(1),
            ..Wrong::new("too_many_warms", "", message).with_status(StatusCode::TOO_MANY_REQUESTS)
        }
    };
    let permit = Arc::clone(&admin.warms).try_acquire_owned().map_err(full)?;
    let half = admin.node.pulls.store.budget.limit() as u64 / 2;
    let mut walk = Walk {
        admin: Arc::clone(admin),
        who,
        items: call.urls.len(),
        named: Vec::new(),
        max_objects: call.max_objects.unwrap_or(DEFAULT_OBJECTS).min(MAX_OBJECTS),
        max_bytes: call.max_bytes.unwrap_or(half),
        parallel: call
            .parallel
            .unwrap_or(DEFAULT_PARALLEL)
            .clamp(1, MAX_PARALLEL),
        queue: VecDeque::new(),
        seen: HashSet::new(),
        running: JoinSet::new(),
        progress: Progress::default(),
        report_at: timer_now() + REPORT_EVERY,
        _permit: permit,
    };
    for ((site, _), url) in sites.into_iter().zip(&call.urls) {
        let host = of_target(url).map(str::to_owned);
        let host = host.or_else(|| site.zone.hostnames.first().cloned());
        let host = host.unwrap_or_default();
        // It was read before.
        let target = target(url, site.zone.empty_segments)
            .map(|target| bare(&target))
            .unwrap_or_default();
        if walk.named.len() < NAMED {
            walk.named.push(format!("{} {target}", site.zone.name));
        }
        let scheme = if over_tls(admin, url) {
            "https"
        } else {
            "http"
        };
        walk.find(site, format!("{scheme}://{host}{target}"));
    }
    Ok(walk)
}

/// A walk under way; dropped where its caller goes.
struct Walk {
    admin: Arc<Admin>,
    who: String,
    /// What the call named: how many, and the first of them.
    items: usize,
    named: Vec<String>,
    max_objects: usize,
    max_bytes: u64,
    parallel: usize,
    queue: VecDeque<Item>,
    seen: HashSet<String>,
    running: JoinSet<(Item, Warmed)>,
    progress: Progress,
    report_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Walk {
    /// The next line of progress; `None` behind the last.
    async fn line(&mut self) -> Option<String> {
        if self.progress.ended {
            return None;
        }
        loop {
            self.start();
            tokio::select! {
                joined = self.running.join_next() => match joined {
                    Some(Ok((item, warmed))) => self.take(item, warmed),
                    Some(Err(_)) => self.progress.failed += 1,
                    None => {
                        self.end();
                        break;
                    }
                },
                () = sleep_until(self.report_at) => {
                    self.report_at = timer_now() + REPORT_EVERY;
                    break;
                }
            }
        }
        let line = serde_json::to_string(&self.progress).ok()?;
        Some(line + "\n")
    }

    /// Begins as many pulls as there may be.
    fn start(&mut self) {
        if self.progress.bytes >= self.max_bytes && !self.queue.is_empty() {
            self.progress.stopped_by = Some("max_bytes");
            self.queue.clear();
        }
        while self.running.len() < self.parallel
            && let Some((site, url)) = self.queue.pop_front()
        {
            let admin = Arc::clone(&self.admin);
            self.running.spawn(async move {
                let https = over_tls(&admin, &url);
                let (host, target) = (asked_at(&site, &url), origin_form(&url));
                let warmed = pull(&admin.node, &site, &host, target, https).await;
                ((site, url), warmed)
            });
        }
    }

    fn find(&mut self, site: Arc<Site>, url: String) {
        if self.seen.contains(&url) {
            return;
        }
        if self.seen.len() == self.max_objects {
            self.progress.stopped_by = Some("max_objects");
            return;
        }
        self.progress.found += 1;
        self.seen.insert(url.clone());
        self.queue.push_back((site, url));
    }

    fn take(&mut self, (site, url): Item, warmed: Warmed) {
        self.progress.done += 1;
        let object = match warmed {
            Warmed::Already(object) => {
                self.progress.stored_already += 1;
                object
            }
            Warmed::Pulled(object) => {
                self.progress.pulled += 1;
                object
            }
            Warmed::Failed(reason) => return self.fail(&site, &url, reason),
        };
        self.progress.bytes += object.body.len();
        let named = named_by(&object, &url);
        if named.is_empty() && object.kind == Kind::Playlist {
            // Whoever warms it believes that something was.
            self.fail(&site, &url, "names_nothing");
        }
        for url in named {
            // What belongs to others is theirs to warm.
            let host = of_target(&url).unwrap_or_default();
            let sites = self.admin.node.sites.load();
            // As it is now: a reload may have come between.
            let now = sites
                .find(host)
                .filter(|now| now.zone.name == site.zone.name);
            if let Some(now) = now {
                self.find(Arc::clone(now), url);
            }
        }
    }

    fn fail(&mut self, site: &Site, url: &str, reason: &'static str) {
        self.progress.failed += 1;
        if self.progress.failures.len() < MAX_FAILURES {
            let host = of_target(url).unwrap_or_default();
            let target = target(url, site.zone.empty_segments).map(|target| bare(&target));
            let scheme = match over_tls(&self.admin, url) {
                true => "https",
                false => "http",
            };
            let url = format!("{scheme}://{host}{}", target.unwrap_or_default());
            self.progress.failures.push(Failed { url, reason });
        }
    }

    fn end(&mut self) {
        self.progress.ended = true;
        let Progress {
            found,
            pulled,
            failed,
            bytes,
            ..
        } = self.progress;
        let more = json!({ "found": found, "pulled": pulled, "failed": failed, "bytes": bytes });
        self.admin
            .audit
            .write(&self.who, "warm", self.items, &self.named, &more);
    }
}

/// What a stored playlist names, with what each segment needs before it.
fn named_by(object: &Object, url: &str) -> Vec<String> {
    let length = object.body.len();
    if object.kind != Kind::Playlist || length > MAX_PLAYLIST_BYTES as u64 {
        return Vec::new();
    }
    let body: Vec<u8> = object.body.slices(0..object.body.len()).flatten().collect();
    match listing::read(&body, url) {
        None => Vec::new(),
        Some(Listed::Multivariant(all)) => {
            let variants = all.variants.into_iter().map(|(_, url)| url);
            variants.chain(all.renditions).collect()
        }
        Some(Listed::Media(media)) => {
            // A map and a key stand before each segment that they hold for.
            let (mut urls, mut last) = (Vec::new(), Vec::new());
            for segment in media.segments {
                let new = segment.needs.iter().filter(|it| !last.contains(*it));
                urls.extend(new.map(|part| part.url.clone()));
                urls.push(segment.part.url);
                last = segment.needs;
            }
            urls
        }
    }
}
