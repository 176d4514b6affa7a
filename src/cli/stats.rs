use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::edges::{Edges, date, size};

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren stats
  warren stats --json --admin http://10.0.0.5:9090 --admin http://10.0.0.6:9090

The figures of the dashboard. With [admin] state_dir they are counted over
restarts and upgrades; first bytes, and what is said of endpoints, since the
start and lately, which is in the last five minutes. Errors are the answers of
400 and more since the start, with the path of the last one. The access key comes
from WARREN_ACCESS_KEY and needs the rights read.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    #[command(flatten)]
    edges: Edges,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    arguments.edges.each(&async |edge| {
        let stats = edge.call(Method::GET, "/v1/stats", &Value::Null).await?;
        let text = to_text(&stats);
        Ok((stats, text))
    })
}

fn percentiles(of: &Value) -> String {
    let wait = |name: &str| of[name].as_f64().unwrap_or_default() * 1000.0;
    let [p50, p95, p99] = ["p50_seconds", "p95_seconds", "p99_seconds"].map(wait);
    let count = of["count"].as_u64().unwrap_or_default();
    format!("p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms of {count}")
}

/// For people: a line for each thing.
fn to_text(stats: &Value) -> String {
    let mut lines = vec![format!("since {}", date(&stats["counted_since"]))];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<12} {text}"));
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = |field: &str| stats[field].as_array().cloned().unwrap_or_default();
    let state = if stats["ready"] == true {
        "ready"
    } else {
        "draining"
    };
    let up = number(&stats["uptime_seconds"]).round();
    line(
        "node",
        format!("{} {state}, up {up} s", text(&stats["version"])),
    );
    if stats["config"]["last_reload_successful"] == false {
        line(
            "reload",
            "the last one was refused: the configuration before it is in force".to_owned(),
        );
    }
    let (requests, bytes) = (number(&stats["requests"]), number(&stats["bytes"]));
    line("requests", format!("{requests}, {}", size(bytes)));
    for status in rows("statuses") {
        let (zone, class) = (text(&status["zone"]), text(&status["class"]));
        line(
            "answered",
            format!("{} {zone} {class}", number(&status["count"])),
        );
    }
    for of in rows("first_byte") {
        let (cache, all) = (text(&of["cache"]), percentiles(&of));
        let lately = match of["lately"].is_null() {
            true => "none lately".to_owned(),
            false => format!("lately {}", percentiles(&of["lately"])),
        };
        line(
            "first byte",
            format!("{cache} {lately}; since the start {all}"),
        );
    }
    for zone in rows("zones") {
        let sent = size(number(&zone["bytes"]));
        let (hits, misses) = (number(&zone["hits"]), number(&zone["misses"]));
        let name = text(&zone["zone"]);
        line(
            "zone",
            format!("{name} {sent}, {hits} hits, {misses} misses"),
        );
    }
    for key in rows("keys") {
        let place = format!("{} {}", text(&key["zone"]), text(&key["key"]));
        let scheme = text(&key["scheme"]);
        line(
            "key",
            format!("{} {place} ({scheme})", number(&key["count"])),
        );
    }
    for kind in rows("kinds") {
        let (hits, misses) = (number(&kind["hits"]), number(&kind["misses"]));
        if hits + misses > 0.0 {
            let ratio = 100.0 * hits / (hits + misses);
            line(
                &text(&kind["kind"]),
                format!("{ratio:.1} % hits of {}", hits + misses),
            );
        }
    }
    let memory = &stats["memory"];
    let (used, budget) = (
        number(&memory["used_bytes"]),
        number(&memory["budget_bytes"]),
    );
    let objects = number(&memory["objects"]);
    line(
        "memory",
        format!("{} of {}, {objects} objects", size(used), size(budget)),
    );
    line("", text(&memory["advice"]));
    let evictions = &stats["evictions"];
    let evicted = |cause: &str| number(&evictions[cause]);
    line(
        "evicted",
        format!(
            "{} for room, {} replaced, {} purged",
            evicted("size"),
            evicted("replaced"),
            evicted("explicit")
        ),
    );
    let pulls = &stats["pulls"];
    let (started, flying) = (number(&pulls["started"]), number(&pulls["in_flight"]));
    line("pulls", format!("{started}, {flying} in flight"));
    for failure in pulls["failures"].as_array().into_iter().flatten() {
        let place = format!("{} {}", text(&failure["zone"]), text(&failure["reason"]));
        let last = failure["last"].as_u64();
        let last = last.map(|_| format!(", the last one {}", date(&failure["last"])));
        let last = last.unwrap_or_default();
        line(
            "failed",
            format!("{} {place}{last}", number(&failure["count"])),
        );
    }
    for refusal in rows("refusals") {
        let place = format!("{} {}", text(&refusal["zone"]), text(&refusal["reason"]));
        line("refused", format!("{} {place}", number(&refusal["count"])));
    }
    for error in rows("errors") {
        let (zone, reason) = (text(&error["zone"]), text(&error["reason"]));
        let what = [error["status"].to_string(), zone, reason].join(" ");
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        let (first, last) = (date(&error["first"]), date(&error["last"]));
        let path = &error["paths"][0];
        let path = format!("{} {}", date(&path["at"]), text(&path["path"]));
        let count = number(&error["count"]);
        line(
            "error",
            format!("{count} {what}, from {first} to {last}; {path}"),
        );
    }
    for origin in rows("origins") {
        let health = if origin["up"] == true {
            "up"
        } else {
            "in doubt or shut"
        };
        let place = format!("{} {}", text(&origin["zone"]), text(&origin["endpoint"]));
        let mean = origin["first_byte_seconds"].as_f64();
        let mean = mean.map(|it| format!(", first byte after {:.1} ms on average", it * 1000.0));
        let lately = Some(&origin["lately"]).filter(|it| !it.is_null());
        let lately = lately.map(|it| format!(", first byte lately {}", percentiles(it)));
        let first_byte = lately.or(mean).unwrap_or_default();
        let failed = &origin["last_failure"];
        let failed = Some(failed).filter(|it| !it.is_null());
        let failed =
            failed.map(|it| format!(", failed last {}: {}", date(&it["at"]), text(&it["reason"])));
        let failed = failed.unwrap_or_default();
        line("origin", format!("{place} {health}{first_byte}{failed}"));
    }
    let started = number(&stats["started_at"]) + number(&stats["uptime_seconds"]);
    for certificate in rows("certificates") {
        let days = (number(&certificate["expires_at"]) - started) / 86_400.0;
        let file = text(&certificate["file"]);
        line("certificate", format!("{file} ends in {days:.0} days"));
    }
    lines.join("\n")
}
