use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::json;

use super::edges::Edges;
use super::key::{KeySource, key_is_there, place_of, split_url};
use super::sign::FARTHEST;
use super::{REFUSED, say, usage};
use crate::block::Blocks;
use crate::clock::Clock;
use crate::config::Environment;
use crate::edge::admission::Lists;
use crate::edge::authority::{is_https, of_target};
use crate::explain::{Question, Rules};
use crate::revocation::Revocations;
use crate::takedown::Takedowns;
use crate::token::{Country, Evidence, Policy, Scheme, parse_country};
use crate::zone::Zone;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren explain 'https://cdn.example.net/v/s1/a.ts?token=…&expires=…' --config config/warren.toml
  warren explain \"$URL\" --admin http://127.0.0.1:9090
  warren explain '/a.ts?token=…&expires=…' --key-env CDN_SECURITY_KEY --at 1893456000 --json
  warren explain \"$URL\" --key-file key.txt --client-ip 203.0.113.7 --country CH --validate-ip

With --config it judges as the edge does: its rules, its keys, and what is taken
down and revoked in [admin] state_dir.
Exit code 0: allowed. 1: refused; the reason is one of the names in
docs/reference/tokens.md. 2: wrong usage.")]
pub struct Arguments {
    /// The URL (or just its path and query) as a viewer would request it.
    url: String,
    #[command(flatten)]
    key: KeySource,
    /// A scheme that is allowed; may be repeated [default: hs256, sha256].
    #[arg(long, value_parser = super::sign::scheme, conflicts_with = "config")]
    scheme: Vec<Scheme>,
    /// Decide as if it were this time, in Unix seconds.
    #[arg(long, value_name = "UNIX", value_parser = clap::value_parser!(u64).range(..=FARTHEST))]
    at: Option<u64>,
    /// The viewer's address.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client_ip: IpAddr,
    /// The viewer's country, as in CH.
    #[arg(long, value_name = "CC", value_parser = country)]
    country: Option<Country>,
    /// The page that the request comes from.
    #[arg(long, value_name = "URL")]
    referer: Option<String>,
    /// Demand that the address is signed.
    #[arg(long)]
    validate_ip: bool,
    /// Ask running edges, by their keys, lists and clock; the access key comes
    /// from WARREN_ACCESS_KEY. May be repeated.
    #[arg(long, value_name = "URL|NAME", conflicts_with_all = ["config", "key_file", "key_env", "scheme", "validate_ip"])]
    admin: Vec<String>,
    /// A file with a name and a URL in each line: all of them are asked, or those
    /// that --admin names.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "key_file", "key_env", "scheme", "validate_ip"])]
    edges: Option<PathBuf>,
    /// The zone of a bare path: its name (with --admin its number, too).
    #[arg(long, value_name = "ZONE", conflicts_with_all = ["key_file", "key_env", "scheme"])]
    zone: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Asks running edges.
fn ask(arguments: &Arguments) -> ExitCode {
    let country = arguments
        .country
        .map(|code| String::from_utf8_lossy(&code).into_owned());
    let question = json!({
        "url": arguments.url,
        "zone": arguments.zone,
        "client_ip": arguments.client_ip.to_string(),
        "country": country,
        "referer": arguments.referer,
        "at": arguments.at,
    });
    let edges = Edges::at(&arguments.admin, arguments.edges.clone(), arguments.json);
    let refused = Cell::new(false);
    let reached = edges.each(&async |edge| {
        let answer = edge.call(Method::POST, "/v1/explain", &question).await?;
        let mut lines = vec![answer["reason"].as_str().unwrap_or_default().to_owned()];
        let told = answer.as_object().into_iter().flatten();
        let told = told.filter(|(name, value)| *name != "reason" && !value.is_null());
        lines.extend(told.map(|(name, value)| match value.as_str() {
            Some(text) => format!("  {name:<18} {text}"),
            None => format!("  {name:<18} {value}"),
        }));
        refused.set(refused.get() || answer["allow"] != true);
        Ok((answer, lines.join("\n")))
    });
    match refused.get() {
        true => ExitCode::from(REFUSED),
        false => reached,
    }
}

/// What is taken down, revoked and blocked, where the configuration keeps it.
fn kept(state_dir: Option<&Path>) -> Result<(Takedowns, Revocations, Blocks), String> {
    Ok((
        Takedowns::open(state_dir)?,
        Revocations::open(state_dir)?,
        Blocks::open(state_dir)?,
    ))
}

fn country(text: &str) -> Result<Country, &'static str> {
    parse_country(text).ok_or("two letters, as in CH")
}

/// Who decides.
enum Judge {
    Zone(Box<Zone>),
    Key(Policy),
}

/// The zone that serves the URL, and where its lists are kept; or the one key.
fn judge(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<(Judge, Option<PathBuf>), String> {
    let Some(config) = arguments.key.load_config(environment) else {
        let key = arguments.key.single(environment)?;
        let policy = arguments.adjust(Policy::new(vec![key]));
        return Ok((Judge::Key(policy), None));
    };
    let config = config?;
    let (host, _) = split_url(&arguments.url);
    let names = config.zones.iter().flat_map(|zone| zone.hostnames.clone());
    let names: Vec<String> = names.collect();
    let named = arguments.zone.as_deref();
    let by_name = |name| config.zones.iter().position(|zone| zone.name == name);
    let place = match (host, named) {
        (None, Some(name)) => by_name(name),
        (None, None) if config.zones.len() > 1 => {
            let zones: Vec<&str> = config.zones.iter().map(|zone| zone.name.as_str()).collect();
            return Err(format!(
                "a path needs --zone: there are {}",
                zones.join(", ")
            ));
        }
        (None, None) => Some(0),
        (Some(host), _) => place_of(&config, host),
    };
    let zone = place.and_then(|place| config.zones.into_iter().nth(place));
    let mut zone = zone.ok_or_else(|| {
        format!(
            "no zone serves the host {:?}; there are: {}",
            host.unwrap_or_default(),
            names.join(", ")
        )
    })?;
    if let Some(policy) = &zone.token {
        let mut keys = policy.keys.iter().map(|key| key_is_there(&zone, key));
        keys.try_for_each(|there| there)?;
    }
    zone.token = zone.token.map(|policy| arguments.adjust(policy));
    Ok((Judge::Zone(Box::new(zone)), config.admin.state_dir))
}

pub fn run(arguments: &Arguments) -> ExitCode {
    if !arguments.admin.is_empty() || arguments.edges.is_some() {
        return ask(arguments);
    }
    let environment = Environment::of_process();
    let (judge, state_dir) = match judge(arguments, &environment) {
        Ok(found) => found,
        Err(why) => return usage(&why),
    };
    let lists = kept(state_dir.as_deref()).or_else(|why| {
        eprintln!("warning: takedowns, revocations and blocks are not known here: {why}");
        kept(None)
    });
    let (takedowns, revocations, blocks) = match lists {
        Ok(kept) => kept,
        Err(why) => return usage(&why),
    };
    let revocations = revocations.load();
    let clock = Clock::default();
    let lists = Lists {
        blocks: &blocks,
        takedowns: &takedowns,
    };
    let (rules, revoked) = match &judge {
        Judge::Zone(zone) => (Rules::Zone(zone, lists), revocations.get(&zone.name)),
        Judge::Key(policy) => (Rules::Key(policy), None),
    };
    let (_, target) = split_url(&arguments.url);
    let question = Question {
        target,
        host: of_target(&arguments.url),
        https: is_https(&arguments.url).unwrap_or_default(),
        kind: None,
        rules,
        evidence: Evidence {
            now: arguments.at.unwrap_or_else(|| clock.unix_seconds()),
            client_ip: arguments.client_ip,
            country: arguments.country,
            revoked,
        },
        referer: arguments.referer.as_deref(),
    };
    let explanation = question.explain();
    let printed = match arguments.json {
        true => serde_json::to_string(&explanation).unwrap_or_default(),
        false => explanation.to_text(),
    };
    say(printed);
    if explanation.allow {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(REFUSED)
    }
}

impl Arguments {
    fn adjust(&self, mut policy: Policy) -> Policy {
        if !self.scheme.is_empty() {
            policy.schemes.clone_from(&self.scheme);
        }
        policy.validate_ip |= self.validate_ip;
        policy
    }
}
