use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::edges::{Edge, Edges, Kept, date};
use super::{plain, usage};
use crate::clock::Clock;
use crate::config::parse_duration;

const BLOCKS: Kept = Kept {
    path: "/v1/blocks",
    field: "blocked",
    put: "blocked",
    lifted: "let in again",
};

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren block 203.0.113.7 --reason \"takes everything\"
  warren block 2001:db8:1::/48 --for 1d --zone vod --reason scraper
  warren block --lift 203.0.113.7
  warren block --list --json

Who comes from a blocked address is 403 (ip_blocked), whatever his token says,
until the end, over a restart too ([admin] state_dir); what is on its way to him
ends as it would. `warren top` shows who asks most. The access key comes from
WARREN_ACCESS_KEY and needs the rights admin; --list needs read.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// Addresses and networks.
    addresses: Vec<String>,
    /// In this zone alone: its name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// What has happened.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long, at most 30d.
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "1h")]
    time: Duration,
    /// Let in again what was blocked.
    #[arg(long, conflicts_with_all = ["reason", "time", "list"])]
    lift: bool,
    /// List what is blocked.
    #[arg(long, conflicts_with_all = ["reason", "time"])]
    list: bool,
    #[command(flatten)]
    edges: Edges,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "a time such as 30m, 2h or 7d".to_owned())
}

pub fn run(arguments: &Arguments) -> ExitCode {
    if !arguments.list && arguments.addresses.is_empty() {
        return usage("name addresses, or use --list");
    }
    if !arguments.list && !arguments.lift && arguments.reason.is_none() {
        return usage("say why with --reason: the list and the audit log keep it");
    }
    arguments.edges.each(&async |edge| match arguments.list {
        true => list(edge).await,
        false => arguments.change(edge).await,
    })
}

impl Arguments {
    async fn change(&self, edge: &Edge<'_>) -> Result<(Value, String), String> {
        let mut body = json!({ "addresses": self.addresses, "zone": self.zone });
        if let Some(reason) = &self.reason {
            body["reason"] = reason.as_str().into();
            let now = Clock::default().unix_seconds();
            body["until"] = (now + self.time.as_secs()).into();
        }
        BLOCKS.change(edge, &body, self.lift).await
    }
}

async fn list(edge: &Edge<'_>) -> Result<(Value, String), String> {
    let answer = edge.call(Method::GET, BLOCKS.path, &Value::Null).await?;
    let blocks = answer["blocks"].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("{} blocked", blocks.len())];
    lines.extend(blocks.iter().map(|it| {
        let text = |field: &str| plain(it[field].as_str().unwrap_or_default());
        let zone = it["zone"].as_str().unwrap_or("every zone").to_owned();
        let (network, reason, by) = (text("network"), text("reason"), text("by"));
        format!(
            "  {network} in {zone}: {reason} (by {by}, until {})",
            date(&it["until"])
        )
    }));
    Ok((answer, lines.join("\n")))
}
