use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::edges::{Edge, Edges};
use super::usage;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren warm https://cdn.example.net/v/s1/master.m3u8
  warren warm /v/s1/master.m3u8 --zone vod --parallel 16 --max-objects 5000
  warren warm \"$URL\" --json --admin http://10.0.0.5:9090 --admin http://10.0.0.6:9090

Playlists are walked to their variants, renditions and segments, and what is not
stored is pulled. A URL needs no token. Ending this ends the walk. The access key
comes from WARREN_ACCESS_KEY and needs the rights purge.
Exit code 0: everything is stored. 1: something failed, or a limit stopped it.")]
pub struct Arguments {
    /// URLs of playlists (or of single objects), or paths with --zone.
    #[arg(required = true)]
    urls: Vec<String>,
    /// A zone's name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Stop behind so many objects [default: 1000].
    #[arg(long, value_name = "COUNT")]
    max_objects: Option<usize>,
    /// Stop behind so many bytes [default: half of the edge's cache.memory].
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
    /// Pulls at a time, at most 64 [default: 8].
    #[arg(long, value_name = "COUNT")]
    parallel: Option<usize>,
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    if arguments.max_objects == Some(0) {
        return usage("--max-objects is at least 1");
    }
    let body = json!({
        "urls": arguments.urls,
        "zone": arguments.zone,
        "max_objects": arguments.max_objects,
        "max_bytes": arguments.max_bytes,
        "parallel": arguments.parallel,
    });
    arguments.edges.each(&async |edge| walk(edge, &body).await)
}

async fn walk(edge: &Edge<'_>, body: &Value) -> Result<(Value, String), String> {
    let number = |line: &Value, field: &str| line[field].as_u64().unwrap_or_default();
    let each = |line: &Value| {
        let count = |field| usize::try_from(number(line, field)).unwrap_or(usize::MAX);
        let ended = line["ended"] == true;
        edge.progress((count("done"), count("found")), "objects", ended);
    };
    let last = edge.lines("/v1/warm", body, each).await?;
    if last["ended"] != true {
        return Err("the edge ended the walk before its end".into());
    }
    let text = format!(
        "{} pulled, {} stored already, {} failed, {} bytes",
        number(&last, "pulled"),
        number(&last, "stored_already"),
        number(&last, "failed"),
        number(&last, "bytes"),
    );
    let failures = last["failures"].as_array().into_iter().flatten();
    let failures = failures.map(|it| {
        let text = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
        format!("\n  {}: {}", text("url"), text("reason"))
    });
    let text = text + &failures.collect::<String>();
    match (number(&last, "failed"), last["stopped_by"].as_str()) {
        (0, None) => Ok((last, text)),
        (_, None) => Err(text),
        (_, Some(limit)) => Err(format!("{text}\n  stopped by {limit}")),
    }
}
