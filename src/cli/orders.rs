//! `reload`, `reopen` and `upgrade`: what signals do, with a result.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::edges::Edges;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren reload
  warren reload --admin http://10.0.0.5:9090 --json

Lets running edges read their configuration again, as SIGHUP does, and says what
came of it: a file with any problem changes nothing. The access key comes from
WARREN_ACCESS_KEY and needs the rights admin.
Exit code 0: done. 1: not done, or the edge could not be reached.")]
pub struct Reload {
    #[command(flatten)]
    edges: Edges,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  mv access.log access.log.1 && warren reopen

Lets running edges open the access log and the audit log anew, as SIGUSR1 does.
The access key comes from WARREN_ACCESS_KEY and needs the rights admin.
Exit code 0: done. 1: not done, or the edge could not be reached.")]
pub struct Reopen {
    #[command(flatten)]
    edges: Edges,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  install warren-0.2 /usr/local/bin/warren && warren upgrade

Lets running edges start their command anew, with the binary that stands there
now, and hand their sockets over, as SIGUSR2 does: no connection is refused. The
access key comes from WARREN_ACCESS_KEY and needs the rights admin.
Exit code 0: the new process serves. 1: it does not, and the old one goes on; or
the edge could not be reached.")]
pub struct Upgrade {
    #[command(flatten)]
    edges: Edges,
}

pub fn reload(arguments: &Reload) -> ExitCode {
    give(&arguments.edges, "/v1/reload", |answer| {
        let tables = answer["needs_restart"].as_array().into_iter().flatten();
        let tables: Vec<_> = tables.filter_map(Value::as_str).collect();
        let warnings = answer["warnings"].as_array().into_iter().flatten();
        let warnings = warnings.filter_map(Value::as_str);
        let mut warnings: String = warnings.map(|it| format!("\n  warning: {it}")).collect();
        if let Some(before) = answer["warned_before"].as_u64().filter(|it| *it > 0) {
            warnings += &format!("\n  {before} it has warned of before: warren check tells them");
        }
        match tables.is_empty() {
            true => format!("reloaded{warnings}"),
            false => format!(
                "reloaded, but for {}: they need a restart, or warren upgrade{warnings}",
                tables.join(", ")
            ),
        }
    })
}

pub fn reopen(arguments: &Reopen) -> ExitCode {
    give(&arguments.edges, "/v1/reopen", |_| "logs reopened".into())
}

pub fn upgrade(arguments: &Upgrade) -> ExitCode {
    give(&arguments.edges, "/v1/upgrade", |answer| {
        format!("the new process serves, {}", answer["pid"])
    })
}

fn give(edges: &Edges, path: &str, text: impl Fn(&Value) -> String) -> ExitCode {
    edges.each(&async |edge| {
        let answer = edge.call(Method::POST, path, &Value::Null).await?;
        let said = text(&answer);
        Ok((answer, said))
    })
}
