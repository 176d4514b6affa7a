#!/usr/bin/env bash
# h2 0.4.20 (Rust), server side.
#
# One would guess that `accept()` returns as soon as the first request can be had,
# and that requests which wait behind it stay undecoded until the next call. Seen:
# the first call returns when every HEADERS frame that has arrived is read and
# decoded, 100 requests of one connection here, so that what a server holds of
# requests that it has not taken up is bounded by max_concurrent_streams alone.
#
# Shown by the bytes that are read of a connection on which 100 requests wait:
# prints how many are unread when the first `accept()` has returned (seen: 0).
# Fails where that changes. Needs cargo.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "waiting"
version = "0.0.0"
edition = "2021"
[dependencies]
h2 = "=0.4.20"
http = "1"
tokio = { version = "1", features = ["io-util", "macros", "rt", "time"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};

/// Counts the bytes that are read through it.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        self.1.fetch_add(buf.filled().len() - before, SeqCst);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // What a client sends: recorded, because all of it is to wait at once.
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (mut send, connection) = h2::client::handshake(near).await.expect("a client");
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for n in 0..100 {
        let request = http::Request::get(format!("http://a.test/{n}"))
            .header("x-long", "x".repeat(1000))
            .body(())
            .expect("a request");
        answers.push(send.send_request(request, true).expect("sent").0);
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let mut sent = vec![0; 1 << 20];
    let length = far.read(&mut sent).await.expect("bytes");

    let (mut client, server) = tokio::io::duplex(1 << 20);
    tokio::io::AsyncWriteExt::write_all(&mut client, &sent[..length]).await.expect("written");
    let read = Arc::new(AtomicUsize::new(0));
    let mut options = h2::server::Builder::new();
    options.max_concurrent_streams(100);
    let counted = Counted(server, Arc::clone(&read));
    let mut connection = options.handshake::<_, std::io::Cursor<Vec<u8>>>(counted).await.expect("a server");
    let first = connection.accept().await.expect("a request").expect("no error");
    let unread = length - read.load(SeqCst);
    println!("{}: {unread} of {length} bytes are unread", first.0.uri().path());
    assert_eq!(unread, 0, "it no longer reads ahead");
}
RUST
cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target"
