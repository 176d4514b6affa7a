use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::edges::{Edge, Edges, Kept, date};
use super::{plain, usage};
use crate::hls::Kind;
use crate::path::last_part;

const TAKEDOWNS: Kept = Kept {
    path: "/v1/takedowns",
    field: "taken_down",
    put: "taken down",
    lifted: "served again",
};

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren takedown --prefix https://cdn.example.net/v/s1/ --reason \"notice 2026-117\"
  warren takedown https://cdn.example.net/v/poster.jpg --reason \"notice 2026-118\"
  warren takedown --prefix https://cdn.example.net/v/s1/ --reason court --until 1893456000
  warren takedown --every-zone https://cdn.example.net/v/s1/a.ts --reason court
  warren takedown --lift --prefix https://cdn.example.net/v/s1/
  warren takedown --list --json

What is taken down is 451 for everybody, from memory too, and stays so over a
restart ([admin] state_dir). Zones that serve the same objects are left, and
named, without --every-zone. The access key comes from WARREN_ACCESS_KEY and
needs the rights admin; --list needs read.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// URLs, or paths with --zone.
    urls: Vec<String>,
    /// Every path that begins so; may be repeated.
    #[arg(long, value_name = "URL")]
    prefix: Vec<String>,
    /// A zone's name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// And in every zone that serves the same objects.
    #[arg(long)]
    every_zone: bool,
    /// Who asked, or which notice.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Serve it again from then on, in Unix seconds.
    #[arg(long, value_name = "UNIX")]
    until: Option<u64>,
    /// Serve again what was taken down.
    #[arg(long, conflicts_with_all = ["reason", "until", "list"])]
    lift: bool,
    /// List what is taken down.
    #[arg(long, conflicts_with_all = ["reason", "until"])]
    list: bool,
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let named = !arguments.urls.is_empty() || !arguments.prefix.is_empty();
    if !arguments.list && !named {
        return usage("name URLs or --prefix, or use --list");
    }
    if !arguments.list && !arguments.lift && arguments.reason.is_none() {
        return usage("say why with --reason: the list and the audit log keep it");
    }
    let is_list = |url: &&String| Kind::of_url(url).is_list();
    if let Some(url) = arguments
        .urls
        .iter()
        .find(is_list)
        .filter(|_| !arguments.lift)
    {
        eprintln!(
            "warning: of {} the list alone is taken down, and not what it names: --prefix with its folder \
             takes down all",
            last_part(url)
        );
    }
    let mut folders = arguments
        .urls
        .iter()
        .filter(|url| last_part(url).is_empty());
    if let Some(url) = folders.next().filter(|_| !arguments.lift) {
        eprintln!(
            "warning: {url} names an object that is called so, and nothing below it: --prefix takes \
             down all that begins so"
        );
    }
    arguments.edges.each(&async |edge| match arguments.list {
        true => list(edge).await,
        false => arguments.change(edge).await,
    })
}

impl Arguments {
    async fn change(&self, edge: &Edge<'_>) -> Result<(Value, String), String> {
        let mut body = json!({
            "urls": self.urls,
            "prefixes": self.prefix,
            "zone": self.zone,
            "every_zone": self.every_zone,
        });
        if let Some(reason) = &self.reason {
            body["reason"] = reason.as_str().into();
        }
        if let Some(until) = self.until {
            body["until"] = until.into();
        }
        TAKEDOWNS.change(edge, &body, self.lift).await
    }
}

async fn list(edge: &Edge<'_>) -> Result<(Value, String), String> {
    let answer = edge.call(Method::GET, TAKEDOWNS.path, &Value::Null).await?;
    let takedowns = answer["takedowns"].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("{} taken down", takedowns.len())];
    lines.extend(takedowns.iter().map(|it| {
        let text = |field: &str| plain(it[field].as_str().unwrap_or_default());
        let star = if it["prefix"] == true { "*" } else { "" };
        let until = it["until"]
            .as_u64()
            .map(|_| format!(", until {}", date(&it["until"])));
        let (zone, path, by) = (text("zone"), text("path"), text("by"));
        let until = until.unwrap_or_default();
        format!("  {zone} {path}{star}: {} (by {by}{until})", text("reason"))
    }));
    Ok((answer, lines.join("\n")))
}
