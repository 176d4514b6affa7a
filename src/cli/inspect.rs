use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::edges::{Edges, encoded, size};

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren inspect https://cdn.example.net/v/s1/index.m3u8
  warren inspect /v/s1/index.m3u8 --zone vod --json

Says whether running edges have a URL in memory, for how long it is fresh, and
what it is. Nothing is pulled. The access key comes from WARREN_ACCESS_KEY and
needs the rights read.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// A URL, or a path with --zone.
    url: String,
    /// A zone's name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let zone = arguments.zone.as_deref();
    let query = encoded(&[("url", Some(&arguments.url)), ("zone", zone)]);
    arguments.edges.each(&async |edge| {
        let path = format!("/v1/cache/inspect?{query}");
        let answer = edge.call(Method::GET, &path, &Value::Null).await?;
        let text = to_text(&answer);
        Ok((answer, text))
    })
}

fn to_text(answer: &Value) -> String {
    if answer["stored"] != true {
        return format!(
            "not stored (key {})",
            answer["key"].as_str().unwrap_or_default()
        );
    }
    let number = |field: &str| answer[field].as_f64().unwrap_or_default();
    format!(
        "{} {}, {}, {:.0} s old, fresh for {:.0} s more, about {} hits",
        answer["status"],
        answer["state"].as_str().unwrap_or_default(),
        size(number("bytes")),
        number("age"),
        number("fresh_for"),
        answer["hits"],
    )
}
