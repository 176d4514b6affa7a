use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::edges::{Edges, encoded, size};

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren ls https://cdn.example.net/v/s1/
  warren ls /v/ --zone vod --limit 20 --json

Lists what running edges have in memory under a prefix, by path: status, bytes,
seconds that it is fresh for, about how many hits. The access key comes from
WARREN_ACCESS_KEY and needs the rights read.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// Every path that begins so: a URL, or a path with --zone.
    prefix: String,
    /// A zone's name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// The most objects to list; all are counted.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    limit: u32,
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let limit = arguments.limit.to_string();
    let query = encoded(&[
        ("prefix", Some(&arguments.prefix)),
        ("zone", arguments.zone.as_deref()),
        ("limit", Some(&limit)),
    ]);
    arguments.edges.each(&async |edge| {
        let path = format!("/v1/cache/objects?{query}");
        let answer = edge.call(Method::GET, &path, &Value::Null).await?;
        let text = to_text(&answer);
        Ok((answer, text))
    })
}

fn to_text(answer: &Value) -> String {
    let bytes = answer["bytes"].as_f64().unwrap_or_default();
    let mut lines = vec![format!("{} objects, {}", answer["count"], size(bytes))];
    for object in answer["objects"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  {} {:>10} {:>6} s {:>8} hits  {}",
            object["status"],
            size(object["bytes"].as_f64().unwrap_or_default()),
            object["fresh_for"],
            object["hits"],
            object["path"].as_str().unwrap_or_default(),
        ));
    }
    lines.join("\n")
}
