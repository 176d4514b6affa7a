use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::edges::{Edges, encoded, size};
use super::{plain, say};

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(2);
/// Clears a terminal, and begins at its upper left.
const CLEAR: &str = "\x1b[2J\x1b[H";
/// Characters of a name.
const WIDTH: usize = 72;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren top
  warren top --zone vod --by bytes --limit 20
  warren top --once --json

Who asks for what in the last five minutes: clients, tokens by fingerprint,
titles by folder (that of the token, where it has one), agents, and what they
were answered. On a terminal it is shown anew every 2 s until Ctrl-C. Whole
addresses take the rights admin; with read they end in 0. Where many ask, figures
are estimates (docs/api.md). The access key comes from WARREN_ACCESS_KEY.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// Of this zone alone: its name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// What comes first: who has most of these.
    #[arg(long, value_parser = ["requests", "bytes", "errors"], default_value = "requests")]
    by: String,
    /// Rows of each list.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    limit: u32,
    /// Show it once and end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let limit = arguments.limit.to_string();
    let query = encoded(&[
        ("zone", arguments.zone.as_deref()),
        ("by", Some(&arguments.by)),
        ("limit", Some(&limit)),
    ]);
    let path = format!("/v1/top?{query}");
    let once = arguments.once || arguments.edges.is_json() || !std::io::stdout().is_terminal();
    loop {
        if !once {
            say(CLEAR);
        }
        let code = arguments.edges.each(&async |edge| {
            let answer = edge.call(Method::GET, &path, &Value::Null).await?;
            let text = to_text(&answer);
            Ok((answer, text))
        });
        if once || code != ExitCode::SUCCESS {
            return code;
        }
        sleep(AGAIN);
    }
}

fn to_text(answer: &Value) -> String {
    let mut lines = vec![format!("the last {} s", answer["seconds"])];
    for list in ["clients", "tokens", "titles", "agents", "answers"] {
        lines.push(format!(
            "  {:>10} {:>10} {:>8}  {:<12} {list}",
            "requests", "bytes", "errors", "zone"
        ));
        for row in answer[list].as_array().into_iter().flatten() {
            let name = match row["status"].as_u64() {
                Some(status) => {
                    let reason = row["reason"].as_str().unwrap_or_default();
                    format!("{status} {reason}")
                }
                None => row["name"].as_str().unwrap_or_default().to_owned(),
            };
            let name: String = plain(&name).chars().take(WIDTH).collect();
            lines.push(format!(
                "  {:>10} {:>10} {:>8}  {:<12} {name}",
                row["requests"],
                size(row["bytes"].as_f64().unwrap_or_default()),
                row["errors"],
                row["zone"].as_str().unwrap_or("-"),
            ));
        }
    }
    lines.join("\n")
}
