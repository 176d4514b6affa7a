//! Running edges, as commands that are clients of their admin API reach them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use clap::Args;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::key::secret_in;
use super::{REFUSED, read, runtime, say, usage};
use crate::cause::root_cause;
use crate::config::Environment;

const DEFAULT_ADMIN: &str = "http://127.0.0.1:9090";
const DEFAULT_VARIABLE: &str = "WARREN_ACCESS_KEY";
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Characters of a progress bar.
const BAR: usize = 24;
/// Times that one call is told to wait, before this gives up.
const MAX_WAITS: u32 = 5;

#[derive(Args)]
pub struct Edges {
    /// An edge's admin listener, or its name in --edges; may be repeated, for
    /// several edges [default: WARREN_ADMIN, else all of --edges, else
    /// http://127.0.0.1:9090].
    #[arg(long, value_name = "URL|NAME")]
    admin: Vec<String>,
    /// A file with a name and a URL in each line [default: WARREN_EDGES].
    #[arg(long, value_name = "FILE")]
    edges: Option<PathBuf>,
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

/// One of them.
pub struct Edge<'e> {
    admin: &'e str,
    key: &'e str,
    quiet: bool,
}

impl Edges {
    /// These, with the access key from its usual variable.
    pub fn at(admin: &[String], edges: Option<PathBuf>, json: bool) -> Self {
        Self {
            admin: admin.to_vec(),
            edges,
            key_env: None,
            key_file: None,
            json,
        }
    }

    /// The answers are for machines.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Does something at each edge, and prints what came of it: JSON, or text.
    pub fn each(
        &self,
        act: &impl AsyncFn(&Edge<'_>) -> Result<(Value, String), String>,
    ) -> ExitCode {
        let environment = Environment::of_process();
        let found = self.key(&environment);
        let (key, admins) = match found.and_then(|key| Ok((key, self.admins(&environment)?))) {
            Ok(found) => found,
            Err(why) => return usage(&why),
        };
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(code) => return code,
        };
        let mut code = ExitCode::SUCCESS;
        for admin in &admins {
            let edge = Edge {
                admin: admin.trim_end_matches('/'),
                key: &key,
                quiet: self.json,
            };
            let done = runtime.block_on(act(&edge));
            if done.is_err() {
                code = ExitCode::from(REFUSED);
            }
            self.tell(admin, done);
        }
        code
    }

    fn tell(&self, admin: &str, done: Result<(Value, String), String>) {
        match done {
            Ok((mut answer, _)) if self.json => {
                answer["admin"] = admin.into();
                say(answer);
            }
            Ok((_, text)) => say(format_args!("{admin}: {text}")),
            Err(why) if self.json => say(json!({ "admin": admin, "error": why })),
            Err(why) => eprintln!("error: {admin}: {why}"),
        }
    }

    /// The URLs of the edges that are meant.
    fn admins(&self, environment: &Environment) -> Result<Vec<String>, String> {
        let file = self.edges.clone();
        let file = file.or_else(|| environment.get("WARREN_EDGES").map(PathBuf::from));
        let named = file.as_deref().map(named_edges).transpose()?;
        let named = named.unwrap_or_default();
        let mut wanted = self.admin.clone();
        if let Some(admins) = environment
            .get("WARREN_ADMIN")
            .filter(|_| wanted.is_empty())
        {
            wanted.extend(
                admins
                    .split([',', ' '])
                    .filter(|it| !it.is_empty())
                    .map(str::to_owned),
            );
        }
        if wanted.is_empty() {
            let all: Vec<String> = named.into_iter().map(|(_, url)| url).collect();
            return Ok(match all.is_empty() {
                true => vec![DEFAULT_ADMIN.to_owned()],
                false => all,
            });
        }
        let found = wanted.into_iter().map(|it| match it.contains("://") {
            true => Ok(it),
            false => {
                let url = named.iter().find(|(name, _)| *name == it);
                let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
                let unknown = match names.is_empty() {
                    true => format!("{it:?} is no URL: write http://{it}, or give --edges"),
                    false => format!("no edge is called {it:?}: there are {}", names.join(", ")),
                };
                url.map(|(_, url)| url.clone()).ok_or(unknown)
            }
        });
        found.collect()
    }

    fn key(&self, environment: &Environment) -> Result<String, String> {
        if let Some(file) = &self.key_file {
            return secret_in(file);
        }
        let name = self.key_env.as_deref().unwrap_or(DEFAULT_VARIABLE);
        let key = environment.get(name).filter(|key| !key.is_empty());
        key.map(str::to_owned)
            .ok_or_else(|| format!("no access key: set {name}, or use --key-file"))
    }
}

impl Edge<'_> {
    /// Says how far it is, to people: `at` of `of`, and what they are.
    pub fn progress(&self, (at, of): (usize, usize), what: &str, ended: bool) {
        if !self.quiet {
            let filled = BAR * at.min(of) / of.max(1);
            let (bar, end) = ("#".repeat(filled), if ended { "\n" } else { "" });
            eprint!("\r{}: [{bar:<BAR$}] {at} of {of} {what}{end}", self.admin);
        }
    }

    /// One call, again where the edge asks to wait.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let answered = self.begin(method, path, body).await?;
        let bytes = answered
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok(serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default())
    }

    /// A call that is answered line by line; the last line.
    pub async fn lines(
        &self,
        path: &str,
        body: &Value,
        mut each: impl FnMut(&Value),
    ) -> Result<Value, String> {
        let mut answered = self.begin(Method::POST, path, body).await?;
        let (mut text, mut last) = (Vec::new(), Value::Null);
        loop {
            let frame = timeout(CALL_TIMEOUT, answered.frame()).await;
            let Some(frame) = frame.map_err(|_| "no progress in time".to_owned())? else {
                return Ok(last);
            };
            let frame = frame.map_err(|error| error.to_string())?;
            text.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                last = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
                each(&last);
            }
        }
    }

    /// The body of an answer that says yes.
    async fn begin(&self, method: Method, path: &str, body: &Value) -> Result<Incoming, String> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        for _ in 0..MAX_WAITS {
            let request = Request::builder()
                .method(method.clone())
                .uri(format!("{}{path}", self.admin))
                .header("accesskey", self.key)
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(body.to_string())))
                .map_err(|error| error.to_string())?;
            let answered = timeout(CALL_TIMEOUT, client.request(request)).await;
            let response = answered
                .map_err(|_| "no answer in time".to_owned())?
                .map_err(|error| unreached(&error))?;
            let (head, body) = response.into_parts();
            match head.status {
                StatusCode::TOO_MANY_REQUESTS => {
                    let wait = head.headers.get(RETRY_AFTER);
                    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
                    sleep(Duration::from_secs(wait.unwrap_or(1))).await;
                }
                status if status.is_success() => return Ok(body),
                status => {
                    let bytes = body.collect().await.map_err(|error| error.to_string())?;
                    let problem: Value =
                        serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
                    let detail = problem["detail"].as_str().unwrap_or_default();
                    return Err(format!("{status} {detail}"));
                }
            }
        }
        Err("too many calls: try again later".into())
    }
}

/// Why there is no answer, down to the system's words.
fn unreached(error: &(dyn std::error::Error + 'static)) -> String {
    format!(
        "cannot be reached: {}; is it admin.listen of a running edge? --admin and \
         WARREN_ADMIN name others",
        root_cause(error)
    )
}

/// Names and URLs: one of each in a line, `#` begins a comment.
fn named_edges(file: &Path) -> Result<Vec<(String, String)>, String> {
    let lines = lines_of(file)?.into_iter();
    let lines = lines.map(|line| line.split('#').next().unwrap_or_default().trim().to_owned());
    let pair = |line: String| {
        let mut words = line.split_whitespace().map(str::to_owned);
        match (words.next(), words.next(), words.next()) {
            (Some(name), Some(url), None) if url.contains("://") => Ok((name, url)),
            _ => Err(format!("{}: {line:?} is no name and URL", file.display())),
        }
    };
    lines.filter(|line| !line.is_empty()).map(pair).collect()
}

/// A query of these parameters, those that are there.
pub fn encoded(parameters: &[(&str, Option<&str>)]) -> String {
    let pairs = parameters.iter().filter_map(|(name, value)| {
        let value =
            percent_encoding::utf8_percent_encode((*value)?, percent_encoding::NON_ALPHANUMERIC);
        Some(format!("{name}={value}"))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// A moment in Unix seconds, as people read it.
pub fn date(at: &Value) -> String {
    let at = Duration::from_secs(at.as_u64().unwrap_or_default());
    httpdate::fmt_http_date(UNIX_EPOCH + at)
}

pub fn size(bytes: f64) -> String {
    let units = [
        (1u64 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    let unit = units.into_iter().find(|(unit, _)| bytes >= *unit as f64);
    match unit {
        Some((unit, name)) => format!("{:.1} {name}", bytes / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// A list that each edge keeps, in the words of its command.
pub struct Kept {
    pub path: &'static str,
    /// The answer's field that counts what was put on it, and what that is then.
    pub field: &'static str,
    pub put: &'static str,
    /// What is no longer on it is so.
    pub lifted: &'static str,
}

impl Kept {
    /// Puts something on it, or lifts it.
    pub async fn change(
        &self,
        edge: &Edge<'_>,
        body: &Value,
        lift: bool,
    ) -> Result<(Value, String), String> {
        let (method, field, done) = match lift {
            true => (Method::DELETE, "lifted", self.lifted),
            false => (Method::POST, self.field, self.put),
        };
        let answer = edge.call(method, self.path, body).await?;
        if answer[field] == 0 {
            return Err(format!("nothing of that is {}: see --list", self.put));
        }
        let unproven = match answer["unproven"].as_u64() {
            Some(urls) => format!("; no key here has made the token of {urls} (cut, or mistyped?)"),
            None => String::new(),
        };
        let left = left(&answer["left"]);
        let by = answer["still_by"].as_array().into_iter().flatten();
        let by: Vec<&str> = by.filter_map(Value::as_str).collect();
        let (count, by) = (&answer[field], by.join(", "));
        let text = match by.is_empty() {
            true => format!("{count} {done}{unproven}{left}"),
            false => format!(
                "{count} lifted, and {} all the same by {by}{left}",
                self.put
            ),
        };
        Ok((answer, text))
    }
}

/// What an answer says that it leaves.
pub fn left(zones: &Value) -> String {
    let zones = zones.as_array().into_iter().flatten();
    let zones: Vec<&str> = zones.filter_map(Value::as_str).collect();
    match zones.is_empty() {
        true => String::new(),
        false => format!("; left as it was in {} (--every-zone)", zones.join(", ")),
    }
}

/// The lines of a file that are not empty.
pub fn lines_of(file: &Path) -> Result<Vec<String>, String> {
    let text = read(file)?;
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}
