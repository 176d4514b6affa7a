use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::key::{KeySource, key_is_there, serving, zone_of};
use super::{REFUSED, say, usage};
use crate::clock::Clock;
use crate::config::{Environment, parse_duration};
use crate::edge::authority::origin_form;
use crate::hls::Kind;
use crate::path::{CanonicalPath, EmptySegments};
use crate::token::sign::{Form, Options, sign};
use crate::token::{Key, Scheme};

/// An expiry has ten digits. In milliseconds it has 13.
pub(super) const FARTHEST: u64 = 9_999_999_999;

#[derive(Args)]
#[command(
    group(ArgGroup::new("until").required(true).args(["expires", "ttl"])),
    after_help = "\
Examples:
  warren sign https://cdn.example.net/v/s1/master.m3u8 --ttl 1h --stream
  warren sign https://cdn.example.net/v/s1/master.m3u8 --ttl 1h --form path --token-path /v/
  warren sign /v/s1/seg1.ts --expires 1893456000 --scheme sha256     (base from CDN_BASE_URL)
  warren sign https://cdn.example.net/a.ts --ttl 10m --ip 203.0.113.7 --key-file key.txt

The path form is the one for HLS: players drop a playlist's query for its
segments, and keep the path."
)]
pub struct Arguments {
    /// An absolute URL, or a path whose base is CDN_BASE_URL.
    url: String,
    #[command(flatten)]
    key: KeySource,
    /// The zone of --config whose first key signs.
    #[arg(long, value_name = "NAME", requires = "config")]
    zone: Option<String>,
    /// When the URL ends, in Unix seconds.
    #[arg(long, value_name = "UNIX")]
    expires: Option<u64>,
    /// How long the URL lives from now: 30s, 10m, 1h, 7d.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Duration>,
    /// hs256, sha256 or md5.
    #[arg(long, default_value = "hs256", value_parser = scheme)]
    scheme: Scheme,
    /// Where the token goes: query or path.
    #[arg(long, default_value = "query", value_parser = form)]
    form: Form,
    /// For a playlist and all that it names below its folder: --form path and
    /// --token-path of that folder.
    #[arg(long, conflicts_with_all = ["form", "token_path"])]
    stream: bool,
    /// Make a directory token for everything below this path.
    #[arg(long, value_name = "PATH")]
    token_path: Option<String>,
    /// Bind the token to a client address.
    #[arg(long)]
    ip: Option<IpAddr>,
    /// Countries that are let in, as in CH,FR.
    #[arg(long, value_name = "A,B")]
    countries: Option<String>,
    /// Countries that are not let in.
    #[arg(long, value_name = "A,B")]
    countries_blocked: Option<String>,
    /// Limit the response, in units of 1,000 bytes per second.
    #[arg(long, value_name = "KBPS")]
    limit: Option<u64>,
    /// Let viewers add parameters that are neither signed nor honoured.
    #[arg(long)]
    ignore_params: bool,
    /// Sign even what the edge would refuse.
    #[arg(long)]
    force: bool,
}

pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number with ms, s, m, h or d, as in 1h".to_owned())
}

pub fn scheme(text: &str) -> Result<Scheme, String> {
    Scheme::from_name(text).ok_or_else(|| "one of hs256, sha256, md5".to_owned())
}

fn form(text: &str) -> Result<Form, String> {
    match text {
        "query" => Ok(Form::Query),
        "path" => Ok(Form::Path),
        _ => Err("one of query, path".to_owned()),
    }
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let environment = Environment::of_process();
    let (key, empty_segments) = match find_key(arguments, &environment) {
        Ok(found) => found,
        Err(why) => return usage(&why),
    };
    let base = environment
        .get("CDN_BASE_URL")
        .unwrap_or_default()
        .trim_end_matches('/');
    let url = if arguments.url.starts_with('/') {
        format!("{base}{}", arguments.url)
    } else {
        arguments.url.clone()
    };
    let (now, lifetime) = (
        Clock::default().unix_seconds(),
        arguments.ttl.unwrap_or_default(),
    );
    let expires = arguments
        .expires
        .unwrap_or(now.saturating_add(lifetime.as_secs()));
    if expires > FARTHEST && !arguments.force {
        return refuse(&format!(
            "{expires} has more than ten digits: is it in milliseconds? it is {now}; --force signs it"
        ));
    }
    if expires < now && !arguments.force {
        return refuse(&format!(
            "the edge would refuse this as expired: it is {now}; --force signs it"
        ));
    }
    let target = origin_form(&url);
    let raw = target.split('?').next().unwrap_or_default();
    let path = CanonicalPath::parse_with(raw, empty_segments).ok();
    let folder = path.as_ref().map(|path| path.folder().to_owned());
    let is_list = path.as_ref().is_some_and(|path| Kind::of(path).is_list());
    if is_list && arguments.form == Form::Query && !arguments.stream {
        eprintln!(
            "warning: players drop a playlist's query for what it names: --stream, or --form path \
             with --token-path, signs all of it"
        );
    }
    let options = Options {
        form: if arguments.stream {
            Form::Path
        } else {
            arguments.form
        },
        token_path: match arguments.stream {
            true => folder,
            false => arguments.token_path.clone(),
        },
        ip: arguments.ip,
        countries: arguments.countries.clone(),
        countries_blocked: arguments.countries_blocked.clone(),
        limit: arguments.limit,
        ignore_params: arguments.ignore_params,
        empty_segments,
        force: arguments.force,
    };
    match sign(&url, &key, arguments.scheme, expires, &options) {
        Ok(signed) => {
            say(signed);
            ExitCode::SUCCESS
        }
        Err(why) => refuse(&why.to_string()),
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(REFUSED)
}

/// The key, and what the zone says of paths, where one is named.
fn find_key(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<(Key, EmptySegments), String> {
    let Some(config) = arguments.key.load_config(environment) else {
        let key = arguments.key.single(environment)?;
        return Ok((key, EmptySegments::default()));
    };
    let config = config?;
    let zone = zone_of(&config, arguments.zone.as_deref(), &arguments.url)?;
    if serving(&config, &arguments.url).is_some_and(|serves| serves.name != zone.name) {
        eprintln!(
            "warning: the URL's host is another zone's than {:?}",
            zone.name
        );
    }
    let keys = zone
        .token
        .as_ref()
        .map(|policy| policy.keys.as_slice())
        .unwrap_or_default();
    let none = || format!("the zone {:?} has no key", zone.name);
    let key = keys.first().cloned().ok_or_else(none)?;
    key_is_there(zone, &key)?;
    Ok((key, zone.empty_segments))
}
