use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::edges::Edges;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren zones
  warren zones --json | jq '.zones[].origin'

The zones that running edges have in force, as they count; --json has every
setting, without secrets. The access key comes from WARREN_ACCESS_KEY and needs
the rights read.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    arguments.edges.each(&async |edge| {
        let answer = edge.call(Method::GET, "/v1/zones", &Value::Null).await?;
        let text = to_text(&answer);
        Ok((answer, text))
    })
}

fn to_text(answer: &Value) -> String {
    let mut lines = vec![String::new()];
    for zone in answer["zones"].as_array().into_iter().flatten() {
        let texts = |list: &Value| {
            let list = list.as_array().into_iter().flatten();
            let list: Vec<_> = list.filter_map(Value::as_str).collect();
            list.join(" ")
        };
        let token = match zone["token"].is_null() {
            true => "public",
            false => "signed",
        };
        let rules = zone["path"].as_array().into_iter().flatten();
        let open = rules.filter(|rule| rule["token"] == false);
        let open: Vec<String> = open.map(|rule| texts(&rule["match"])).collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let place = text(&zone["origin"]["bucket"]) + &text(&zone["origin"]["prefix"]);
        lines.push(format!(
            "  {:>3} {:<12} {token:<7} {} <- {} {place}{}",
            zone["id"],
            text(&zone["name"]),
            texts(&zone["hostnames"]),
            texts(&zone["origin"]["endpoints"]),
            match open.is_empty() {
                true => String::new(),
                false => format!("; public: {}", open.join(" ")),
            },
        ));
    }
    lines.join("\n")
}
