use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::edges::{Edge, Edges, Kept};
use super::{plain, usage};

const REVOCATIONS: Kept = Kept {
    path: "/v1/revocations",
    field: "revoked",
    put: "revoked",
    lifted: "let in again",
};

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren revoke \"$SIGNED_URL\" --reason \"shared in a forum\"
  warren revoke --fingerprint 5d0b21a5e3f2c47a9d3c1c86b7f04e11 --reason \"from the access log\"
  warren revoke --key-name 2026-11 --zone vod --expires-before 1893456000 --reason \"key leaked\"
  warren revoke --prefix https://cdn.example.net/v/s1/ --expires-before 1893456000 --reason recut
  warren revoke --lift --key-name 2026-11 --zone vod
  warren revoke --list --json

A revoked token is 403 (revoked) from the moment this ends, from memory too, and
stays so over a restart ([admin] state_dir). The access key comes from
WARREN_ACCESS_KEY and needs the rights admin; --list needs read.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// Signed URLs: the token of each, for whatever it is good for.
    urls: Vec<String>,
    /// A token's fingerprint, as in the access log; may be repeated.
    #[arg(long, value_name = "HEX")]
    fingerprint: Vec<String>,
    /// Tokens that are used for paths that begin so; may be repeated.
    #[arg(long, value_name = "URL")]
    prefix: Vec<String>,
    /// All tokens that a security key has made, by its name; may be repeated.
    #[arg(long, value_name = "NAME")]
    key_name: Vec<String>,
    /// Of prefixes and keys: the tokens that expire before, in Unix seconds.
    #[arg(long, value_name = "UNIX")]
    expires_before: Option<u64>,
    /// A zone's name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// And in every zone that has the same keys, or serves the same objects.
    #[arg(long)]
    every_zone: bool,
    /// What has happened.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Let in again what was revoked.
    #[arg(long, conflicts_with_all = ["reason", "expires_before", "list"])]
    lift: bool,
    /// List what is revoked.
    #[arg(long, conflicts_with_all = ["reason", "expires_before"])]
    list: bool,
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let lists = [
        &arguments.urls,
        &arguments.fingerprint,
        &arguments.prefix,
        &arguments.key_name,
    ];
    if !arguments.list && lists.iter().all(|list| list.is_empty()) {
        return usage("name URLs, --fingerprint, --prefix or --key-name, or use --list");
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
        let body = json!({
            "urls": self.urls,
            "fingerprints": self.fingerprint,
            "prefixes": self.prefix,
            "keys": self.key_name,
            "zone": self.zone,
            "every_zone": self.every_zone,
            "expires_before": self.expires_before,
            "reason": self.reason.as_deref().unwrap_or_default(),
        });
        REVOCATIONS.change(edge, &body, self.lift).await
    }
}

async fn list(edge: &Edge<'_>) -> Result<(Value, String), String> {
    let answer = edge
        .call(Method::GET, REVOCATIONS.path, &Value::Null)
        .await?;
    let all = answer["revocations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut lines = vec![format!("{} revoked", all.len())];
    lines.extend(all.iter().map(|it| {
        let text = |field: &str| plain(it[field].as_str().unwrap_or_default());
        let before = it["expires_before"].as_u64();
        let before = before.map(|before| format!(" expiring before {before}"));
        let (zone, kind, value) = (text("zone"), text("kind"), text("value"));
        let (before, reason, by) = (before.unwrap_or_default(), text("reason"), text("by"));
        format!("  {zone} {kind} {value}{before}: {reason} (by {by})")
    }));
    Ok((answer, lines.join("\n")))
}
