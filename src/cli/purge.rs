use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::edges::{Edge, Edges, left, lines_of};
use super::usage;

/// Items of one call; more go in several.
const BATCH: usize = 5_000;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren purge https://cdn.example.net/v/s1/index.m3u8
  warren purge --prefix https://cdn.example.net/v/s1/ --soft
  warren purge --tag film-7 --zone vod --dry-run
  warren purge --all --zone vod --json
  warren purge --file urls.txt --admin http://10.0.0.5:9090

The access key comes from WARREN_ACCESS_KEY unless --key-env or --key-file says
else; it needs the rights purge. A purge is in force when this ends.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// URLs, or paths with --zone: each with every query and variant of it.
    urls: Vec<String>,
    /// Every path that begins so; may be repeated.
    #[arg(long, value_name = "URL")]
    prefix: Vec<String>,
    /// What the origin gave this tag; may be repeated.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Everything, in --zone or in every zone.
    #[arg(long)]
    all: bool,
    /// A file with a URL in each line.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A zone's name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// And of every zone that serves the same objects.
    #[arg(long)]
    every_zone: bool,
    /// Make it stale instead of ending it.
    #[arg(long)]
    soft: bool,
    /// Count, and purge nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let calls = match arguments.calls() {
        Ok(calls) => calls,
        Err(why) => return usage(&why),
    };
    arguments.edges.each(&async |edge| {
        let (purged, zones) = arguments.purge(edge, &calls).await?;
        let done = if arguments.dry_run {
            "would be purged"
        } else {
            "purged"
        };
        let objects = if purged == 1 { "object" } else { "objects" };
        let zones = json!(zones);
        let nothing = match purged {
            0 => ": nothing of that was stored (mistyped? warren ls --zone ZONE / lists what is)",
            _ => "",
        };
        let said = format!("{purged} {objects} {done}{nothing}{}", left(&zones));
        let answer = json!({ "purged": purged, "dry_run": arguments.dry_run, "left": zones });
        Ok((answer, said))
    })
}

impl Arguments {
    /// The bodies of the calls.
    fn calls(&self) -> Result<Vec<Value>, String> {
        let mut urls = self.urls.clone();
        if let Some(file) = &self.file {
            urls.extend(lines_of(file)?);
        }
        let call = |more: Value| {
            let mode = if self.soft { "soft" } else { "hard" };
            let mut body = json!({
                "mode": mode,
                "dry_run": self.dry_run,
                "zone": self.zone,
                "every_zone": self.every_zone,
            });
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
                body.extend(more);
            }
            body
        };
        let mut calls: Vec<Value> = urls
            .chunks(BATCH)
            .map(|part| call(json!({ "urls": part })))
            .collect();
        if !self.prefix.is_empty() || !self.tag.is_empty() || self.all {
            let more = json!({ "prefixes": self.prefix, "tags": self.tag, "all": self.all });
            calls.push(call(more));
        }
        match calls.is_empty() {
            true => Err("name URLs, or --prefix, --tag, --file or --all".into()),
            false => Ok(calls),
        }
    }

    /// Makes the calls at one edge; the objects purged, and the zones left.
    async fn purge(
        &self,
        edge: &Edge<'_>,
        calls: &[Value],
    ) -> Result<(u64, BTreeSet<String>), String> {
        let (mut purged, mut left) = (0, BTreeSet::new());
        for (at, call) in calls.iter().enumerate() {
            if calls.len() > 1 {
                edge.progress((at + 1, calls.len()), "calls", at + 1 == calls.len());
            }
            let answer = edge.call(Method::POST, "/v1/purge", call).await?;
            purged += answer["purged"].as_u64().unwrap_or_default();
            let zones = answer["left"].as_array().into_iter().flatten();
            left.extend(zones.filter_map(|zone| Some(zone.as_str()?.to_owned())));
        }
        Ok((purged, left))
    }
}
