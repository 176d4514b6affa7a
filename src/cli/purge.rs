use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{REFUSED, usage};
use crate::config::Environment;

const DEFAULT_VARIABLE: &str = "WARREN_ACCESS_KEY";
/// Items of one call; more go in several.
const BATCH: usize = 5_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Calls that are told to wait, before this gives up.
const MAX_WAITS: u32 = 5;

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren purge https://cdn.example.net/v/s1/index.m3u8
  warren purge --prefix https://cdn.example.net/v/s1/ --soft
  warren purge --tag film-7 --zone vod --dry-run
  warren purge --all --zone vod --json
  warren purge --file urls.txt --admin http://10.0.0.5:9090

The access key comes from WARREN_ACCESS_KEY unless --key-env or --key-file says
else; it needs the rights purge. A purge is in force when this ends.
Exit code 0: done. 1: the edge refused, or could not be reached.")]
pub struct Arguments {
    /// URLs, or paths with --zone: each with every query and variant of it.
    urls: Vec<String>,
    /// Every path that begins so; may be repeated.
    #[arg(long, value_name = "URL")]
    prefix: Vec<String>,
    /// What the origin gave this tag; may be repeated.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Everything, in --zone or in every zone.
    #[arg(long)]
    all: bool,
    /// A file with a URL in each line.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A zone's name or number.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Make it stale instead of ending it.
    #[arg(long)]
    soft: bool,
    /// Count, and purge nothing.
    #[arg(long)]
    dry_run: bool,
    /// The edge's admin listener; may be repeated, for several edges.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: Vec<String>,
    /// The variable that holds the access key [default: WARREN_ACCESS_KEY].
    #[arg(long, value_name = "NAME", conflicts_with = "key_file")]
    key_env: Option<String>,
    /// A file that holds the access key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print what each edge answers as JSON, one line each.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let key = match arguments.key(&Environment::of_process()) {
        Ok(key) => key,
        Err(why) => return usage(&why),
    };
    let calls = match arguments.calls() {
        Ok(calls) => calls,
        Err(why) => return usage(&why),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return usage("the runtime cannot be started");
    };
    let mut failed = false;
    for admin in &arguments.admin {
        let purged = runtime.block_on(arguments.purge(admin, &key, &calls));
        failed |= purged.is_err();
        arguments.tell(admin, &purged);
    }
    match failed {
        true => ExitCode::from(REFUSED),
        false => ExitCode::SUCCESS,
    }
}

impl Arguments {
    fn key(&self, environment: &Environment) -> Result<String, String> {
        if let Some(file) = &self.key_file {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        let name = self.key_env.as_deref().unwrap_or(DEFAULT_VARIABLE);
        let key = environment.get(name).filter(|key| !key.is_empty());
        key.map(str::to_owned)
            .ok_or_else(|| format!("no access key: set {name}, or use --key-file"))
    }

    /// The bodies of the calls.
    fn calls(&self) -> Result<Vec<Value>, String> {
        let mut urls = self.urls.clone();
        if let Some(file) = &self.file {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
            let lines = text.lines().map(str::trim);
            urls.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
        }
        let call = |more: Value| {
            let mode = if self.soft { "soft" } else { "hard" };
            let mut body = json!({ "mode": mode, "dry_run": self.dry_run, "zone": self.zone });
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
                body.extend(more);
            }
            body
        };
        let mut calls: Vec<Value> = urls
            .chunks(BATCH)
            .map(|part| call(json!({ "urls": part })))
            .collect();
        if !self.prefix.is_empty() || !self.tag.is_empty() || self.all {
            let more = json!({ "prefixes": self.prefix, "tags": self.tag, "all": self.all });
            calls.push(call(more));
        }
        match calls.is_empty() {
            true => Err("name URLs, or --prefix, --tag, --file or --all".into()),
            false => Ok(calls),
        }
    }

    /// Makes the calls at one edge; the objects purged, or why not.
    async fn purge(&self, admin: &str, key: &str, calls: &[Value]) -> Result<u64, String> {
        let mut purged = 0;
        for (at, call) in calls.iter().enumerate() {
            if calls.len() > 1 && !self.json {
                eprint!("\r{admin}: {} of {} calls", at + 1, calls.len());
            }
            let answer = post(admin, key, call).await?;
            purged += answer["purged"].as_u64().unwrap_or_default();
        }
        if calls.len() > 1 && !self.json {
            eprintln!();
        }
        Ok(purged)
    }

    fn tell(&self, admin: &str, purged: &Result<u64, String>) {
        let what = if self.dry_run {
            "would be purged"
        } else {
            "purged"
        };
        match purged {
            Ok(purged) if self.json => {
                println!(
                    "{}",
                    json!({ "admin": admin, "purged": purged, "dry_run": self.dry_run })
                );
            }
            Ok(1) => println!("{admin}: 1 object {what}"),
            Ok(purged) => println!("{admin}: {purged} objects {what}"),
            Err(why) if self.json => println!("{}", json!({ "admin": admin, "error": why })),
            Err(why) => eprintln!("error: {admin}: {why}"),
        }
    }
}

/// One call, again where the edge asks to wait.
async fn post(admin: &str, key: &str, body: &Value) -> Result<Value, String> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    for _ in 0..MAX_WAITS {
        let request = Request::post(format!("{}/v1/purge", admin.trim_end_matches('/')))
            .header("accesskey", key)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(bytes::Bytes::from(body.to_string())))
            .map_err(|error| error.to_string())?;
        let answered = timeout(CALL_TIMEOUT, client.request(request)).await;
        let response: Response<Incoming> = answered
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error| format!("cannot be reached: {error}"))?;
        let (head, body) = response.into_parts();
        if head.status == http::StatusCode::TOO_MANY_REQUESTS {
            let wait = head.headers.get(RETRY_AFTER);
            let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
            sleep(Duration::from_secs(wait.unwrap_or(1))).await;
            continue;
        }
        let bytes = body.collect().await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
        return match head.status.is_success() {
            true => Ok(answer),
            false => Err(format!(
                "{} {}",
                head.status,
                answer["detail"].as_str().unwrap_or_default()
            )),
        };
    }
    Err("too many calls: try again later".into())
}
