//! An S3-shaped origin for trying things out: a folder as a private bucket,
//! with strict SigV4. Not for production.
//!
//! `cargo run --example dev_origin -- --dir media --bucket media --port 9000`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or a tool fails by panicking"
)]

#[path = "../tests/support/origin/mod.rs"]
mod origin;

use std::path::PathBuf;

use clap::Parser;
use origin::{DevOrigin, DevOriginOptions};

#[derive(Parser)]
struct Arguments {
    /// The folder whose files are the objects.
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, default_value = "media")]
    bucket: String,
    /// 0: any free port.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let options = DevOriginOptions {
        port: arguments.port,
        control: true,
        ..DevOriginOptions::default()
    };
    let origin = DevOrigin::start(options).await?;
    let count = origin.load_dir(&arguments.bucket, "", &arguments.dir)?;
    println!(
        "{} serves {count} objects in {}",
        origin.url(),
        arguments.bucket
    );
    tokio::signal::ctrl_c().await
}
