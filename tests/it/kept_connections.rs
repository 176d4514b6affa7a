//! What comes behind an answer that is to have no body is never read as another,
//! and what is done about it keeps no worker of the origin from working.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Connection;
use crate::edge::Setup;

/// A whole answer of an uploader's making.
const EVIL: &[u8] =
    b"HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 4\r\n\r\nEVIL";
const GOOD: &str =
    "HTTP/1.1 200 OK\r\nlast-modified: Tue, 01 Jan 2030 00:00:00 GMT\r\netag: \"e\"\r\n";

/// A web server that writes a body behind each head, in a write of its own: to
/// HEAD, to 304 and to 204 too.
async fn origin() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(1..) => {}
                _ => return,
            }
        };
        let head: Vec<u8> = buffer.drain(..end).collect();
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        let length = EVIL.len();
        let answer = if head.starts_with("head ") {
            format!("{GOOD}content-length: {length}\r\n\r\n")
        } else if head.starts_with("get /reset") {
            "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n".to_owned()
        } else if head.starts_with("get /empty") {
            format!("{GOOD}cache-control: no-store\r\ncontent-length: 0\r\n\r\n")
        } else if head.starts_with("get /none") {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        } else if head.contains("if-none-match") {
            "HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n\r\n".to_owned()
        } else {
            let body = if head.starts_with("get /old") {
                "old!"
            } else {
                "good"
            };
            format!("{GOOD}cache-control: no-cache\r\ncontent-length: 4\r\n\r\n{body}")
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if answer.ends_with("good") || answer.ends_with("old!") {
            continue;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if stream.write_all(EVIL).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_behind_an_answer_without_one_is_nobodys_answer() {
    let origin = origin().await;
    for (method, path, status) in [
        ("HEAD", "/up", 200),
        ("GET", "/none", 204),
        ("GET", "/reset", 205),
        ("GET", "/empty", 200),
        ("GET", "/old", 200),
    ] {
        let mut setup = Setup::http(origin);
        setup.cache = "policy = \"origin\"\n".into();
        let edge = setup.start().await;
        let (mut one, mut other) = (
            Connection::open(edge.http()).await,
            Connection::open(edge.http()).await,
        );
        for number in 0..30 {
            let path = match method {
                "HEAD" => format!("{path}{number}"),
                _ => path.to_owned(),
            };
            one.send(method, &path, &[]).await;
            assert_eq!(one.reply(method).await.status, status);
            other.send("GET", &format!("/good{number}"), &[]).await;
            let good = other.reply("GET").await;
            let told = (
                good.status,
                String::from_utf8_lossy(&good.body).into_owned(),
            );
            assert_eq!(told, (200, "good".to_owned()), "behind {method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_rest_make_room_for_others() {
    // As many workers as the origin may be asked at a time, each with one
    // connection to its end.
    const WORKERS: usize = 4;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let workers = std::sync::Arc::new(tokio::sync::Semaphore::new(WORKERS));
    tokio::spawn(async move {
        loop {
            let place = std::sync::Arc::clone(&workers).acquire_owned().await;
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut head).await {
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                        if stream.write_all(answer).await.is_err() {
                            break;
                        }
                    }
                }
                drop(place);
            });
        }
    });
    let mut setup = Setup::http(address);
    setup.cache = "policy = \"origin\"\n".into();
    setup.origin += &format!("max_pulls = {WORKERS}\n");
    let edge = setup.start().await;
    let edge = &edge;
    let all = (0..40).map(|number| async move {
        let path = format!("/{number}");
        edge.send("GET", &path, &[]).await.status
    });
    let all = futures_util::future::join_all(all);
    let soon = tokio::time::timeout(Duration::from_secs(4), all).await;
    let statuses = soon.expect("nobody waits for a connection that rests");
    assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
}
