//! One connection's bytes: request heads and bodies in, anything out.

use std::future::Future;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::record::SeenRequest;

const MAX_HEADERS: usize = 128;
/// What a client may send ahead of being answered: its head, or further requests.
const MAX_UNREAD: usize = 256 << 10;
/// Room made for each read.
const READ_AHEAD: usize = 8 << 10;
/// Bodies go to handlers and control routes only.
const MAX_REQUEST_BODY: usize = 16 << 20;

/// A client's connection.
pub(super) struct Connection {
    stream: TcpStream,
    unread: BytesMut,
}

/// What came next on a connection.
pub(super) enum Received {
    Request(Incoming),
    /// The peer closed between requests, or within one.
    Closed,
    /// No HTTP/1.x, or beyond a limit.
    Malformed,
}

/// A request and what it says about its connection.
pub(super) struct Incoming {
    /// Without an id and a connection yet.
    pub request: SeenRequest,
    pub keep_alive: bool,
}

/// The peer closed or reset the connection while it was owed something.
#[derive(Debug)]
pub(super) struct PeerLeft;

impl From<io::Error> for PeerLeft {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        // Without this a piece may wait for the acknowledgement of the one before; nothing breaks
        // if it is refused.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            unread: BytesMut::new(),
        }
    }

    /// Reads one request with its body.
    pub async fn receive(&mut self) -> Received {
        let head = loop {
            match Head::parse(&self.unread) {
                Ok(Some(head)) => break head,
                Ok(None) if self.unread.len() < MAX_UNREAD => {}
                Ok(None) | Err(_) => return Received::Malformed,
            }
            if !self.read_more().await {
                return Received::Closed;
            }
        };
        let _ = self.unread.split_to(head.len);
        if head.expects_continue && self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
            return Received::Closed;
        }
        let Some(body) = self.receive_body(head.body_len).await else {
            return Received::Closed;
        };
        let mut incoming = head.incoming;
        incoming.request.body = body;
        Received::Request(incoming)
    }

    /// Waits for `wait` unless the peer leaves first. A half-closed peer counts as gone.
    pub async fn unless_peer_leaves<T>(
        &mut self,
        wait: impl Future<Output = T>,
    ) -> Result<T, PeerLeft> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                biased;
                done = &mut wait => return Ok(done),
                open = self.read_more() => if !open || self.unread.len() > MAX_UNREAD {
                    return Err(PeerLeft);
                },
            }
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), PeerLeft> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Ends the connection with a FIN.
    pub async fn close(mut self) {
        // The peer may have closed already.
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection with a RST.
    pub fn reset(self) {
        // Fails only on a socket that is dead, and then there is nobody to tell.
        let _ = self.stream.set_zero_linger();
    }

    async fn receive_body(&mut self, len: usize) -> Option<Bytes> {
        while self.unread.len() < len {
            if !self.read_more().await {
                return None;
            }
        }
        Some(self.unread.split_to(len).freeze())
    }

    /// Whether there was more. Loses nothing when cancelled.
    async fn read_more(&mut self) -> bool {
        self.unread.reserve(READ_AHEAD);
        self.stream
            .read_buf(&mut self.unread)
            .await
            .is_ok_and(|read| read > 0)
    }
}

/// A complete request head.
struct Head {
    incoming: Incoming,
    len: usize,
    body_len: usize,
    expects_continue: bool,
}

struct Malformed;

impl Head {
    /// `None` while the head is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut fields);
        let len = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed),
        };
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(Malformed);
        };
        let headers = parsed.headers.iter().map(|field| {
            (
                field.name.to_ascii_lowercase(),
                String::from_utf8_lossy(field.value).trim().to_owned(),
            )
        });
        let request = SeenRequest {
            id: 0,
            connection: 0,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.collect(),
            body: Bytes::new(),
            status: 0,
            authorised: false,
            sent: 0,
        };
        let says = |name: &str, word: &str| {
            request.header_list(name).is_some_and(|list| {
                list.split(',')
                    .any(|one| one.trim().eq_ignore_ascii_case(word))
            })
        };
        let keep_alive = if parsed.version == Some(0) {
            says("connection", "keep-alive")
        } else {
            !says("connection", "close")
        };
        let expects_continue = says("expect", "100-continue");
        let body_len = body_len(&request)?;
        Ok(Some(Self {
            incoming: Incoming {
                request,
                keep_alive,
            },
            len,
            body_len,
            expects_continue,
        }))
    }
}

/// Bodies come by Content-Length only.
fn body_len(request: &SeenRequest) -> Result<usize, Malformed> {
    if request.header("transfer-encoding").is_some() {
        return Err(Malformed);
    }
    let Some(len) = request.header("content-length") else {
        return Ok(0);
    };
    len.parse()
        .ok()
        .filter(|len| *len <= MAX_REQUEST_BODY)
        .ok_or(Malformed)
}
