//! The main job on this machine: a private bucket, an edge in front of it, and
//! a signed stream that plays. `make demo` runs until Ctrl-C; `make demo
//! ARGS=--once` checks what it says by itself and ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or a tool fails by panicking"
)]

#[path = "../../tests/support/client.rs"]
#[allow(dead_code, reason = "the demo and the tests use different parts")]
mod client;
#[path = "../../tests/support/origin/mod.rs"]
mod origin;
mod tour;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use origin::{DevOrigin, DevOriginOptions};
use warren::clock::Clock;
use warren::config::{Config, Environment};
use warren::listen::Inherited;
use warren::node::{self, Running};
use warren::token::sign::{Form, Options, sign};
use warren::token::{Key, Scheme};

/// The key of this demo; a real one comes from the environment or a file.
const KEY: &str = "demo-key-for-this-machine-only";
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample");
const PLAYER: &str = include_str!("player.html");
/// Addresses that are easy to remember; others are taken where these are not free.
const HTTP: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9090";

#[derive(Parser)]
struct Arguments {
    /// Check everything, print what was seen, and end.
    #[arg(long)]
    once: bool,
}

/// Everything that runs.
struct Demo {
    origin: DevOrigin,
    page: DevOrigin,
    edge: Running,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let demo = match Demo::start().await {
        Ok(demo) => demo,
        Err(why) => {
            eprintln!("the demo cannot start: {why}");
            return ExitCode::FAILURE;
        }
    };
    demo.print();
    if arguments.once {
        return tour::run(&demo).await;
    }
    println!("\nCtrl-C ends it.");
    let _ = tokio::signal::ctrl_c().await;
    ExitCode::SUCCESS
}

impl Demo {
    async fn start() -> Result<Self, String> {
        let origin = DevOrigin::start(DevOriginOptions::default())
            .await
            .map_err(|error| error.to_string())?;
        origin
            .load_dir("media", "", Path::new(SAMPLE))
            .map_err(|error| format!("{SAMPLE}: {error}"))?;
        let page = DevOrigin::start(DevOriginOptions::plain())
            .await
            .map_err(|error| error.to_string())?;
        page.put("/", PLAYER, "text/html; charset=utf-8");
        let edge = node::start(
            config(origin.addr())?,
            Clock::default(),
            Inherited::default(),
        )
        .await?;
        Ok(Self { origin, page, edge })
    }

    fn base(&self) -> String {
        format!("http://{}", self.edge.http[0])
    }

    /// A URL for one object.
    fn signed(&self, path: &str) -> String {
        self.sign(path, &Options::default())
    }

    /// A URL whose token also covers everything beside and below the playlist.
    fn playable(&self, path: &str) -> String {
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let options = Options {
            form: Form::Path,
            token_path: Some(format!("{folder}/")),
            ..Options::default()
        };
        self.sign(path, &options)
    }

    fn sign(&self, path: &str, options: &Options) -> String {
        let expires = Clock::default().unix_seconds() + 3600;
        let url = format!("{}{path}", self.base());
        let key = Key::new("demo", KEY.as_bytes());
        let signed = key.map(|key| sign(&url, &key, Scheme::Hs256, expires, options));
        signed.and_then(Result::ok).unwrap_or(url)
    }

    /// The page that plays a stream, with its address in the query.
    fn player(&self, path: &str) -> String {
        let source = warren::path::encode_component(&self.playable(path));
        format!("{}/?src={source}", self.page.url())
    }

    fn print(&self) {
        let segment = self.signed("/ts/master.m3u8");
        println!("Warren in front of a private bucket, on this machine\n");
        println!("  play in a browser   {}", self.player("/fmp4/master.m3u8"));
        println!("  play in a player    {}", self.playable("/ts/master.m3u8"));
        println!(
            "  MISS, then HIT      curl -sD- -o /dev/null '{segment}' | grep -iE '^(HTTP|cdn-cache|age)'"
        );
        println!("  refused             curl -i '{}'", tampered(&segment));
        println!(
            "  why                 CDN_SECURITY_KEY={KEY} warren explain '{}'",
            tampered(&segment)
        );
        println!("  metrics             http://{}/metrics", self.edge.admin);
        println!("  origin              {} (S3, private)", self.origin.url());
    }
}

/// The same URL with the token's last letter changed.
fn tampered(url: &str) -> String {
    let end = url.find("&expires").unwrap_or(url.len());
    let (token, rest) = url.split_at(end);
    let letter = if token.ends_with('A') { "E" } else { "A" };
    format!("{}{letter}{rest}", &token[..token.len() - 1])
}

/// The edge's configuration, printed nowhere else: it is what a user would write.
fn config(origin: SocketAddr) -> Result<Config, String> {
    let text = format!(
        r#"
        [listen]
        http = ["{}"]
        [admin]
        listen = "{}"
        [log]
        access = "off"
        [cache]
        memory = "128MiB"
        [[zone]]
        name = "demo"
        hostnames = ["*"]
        [zone.token]
        keys = [{{ name = "demo", env = "CDN_SECURITY_KEY" }}]
        [zone.origin]
        kind = "s3"
        endpoints = ["http://{origin}"]
        bucket = "media"
        access_key = {{ env = "S3_ACCESS_KEY" }}
        secret_key = {{ env = "S3_SECRET_KEY" }}
        "#,
        free(HTTP),
        free(ADMIN),
    );
    let environment = Environment::from([
        ("CDN_SECURITY_KEY", KEY),
        ("S3_ACCESS_KEY", "dev-access-key"),
        ("S3_SECRET_KEY", "dev-secret-key"),
    ]);
    Config::parse("demo", &text, Path::new("."), &environment)
        .map_err(|problems| problems.to_string())
}

/// The address where it is free, else one that the system chooses.
fn free(wanted: &'static str) -> &'static str {
    let is_free = std::net::TcpListener::bind(wanted).is_ok();
    if is_free { wanted } else { "127.0.0.1:0" }
}
