//! A viewer for load: bodies are compared while they arrive and not kept, and
//! what goes wrong is a result (the client of the tests keeps bodies and panics).

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::origin::Body;

/// Longer than every deadline of the edge: who waits for longer was forgotten.
const PATIENCE: Duration = Duration::from_secs(40);
/// Read at once; compared before more is read.
const PIECE: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// Kept of a body that is to be read as text.
const MAX_TEXT: usize = 1 << 20;

pub struct Viewer {
    stream: TcpStream,
    unread: BytesMut,
}

pub struct Request<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    /// What the whole object is; without it the body is kept as text.
    pub object: Option<&'a Body>,
    /// Leaves after so many bytes of the body.
    pub leave_after: Option<u64>,
    pub bytes_per_second: Option<u64>,
}

impl<'a> Request<'a> {
    pub fn get(target: &'a str, object: Option<&'a Body>) -> Self {
        Self {
            method: "GET",
            target,
            headers: &[],
            object,
            leave_after: None,
            bytes_per_second: None,
        }
    }
}

/// An answer, as far as it came.
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub received: u64,
    pub text: Vec<u8>,
    /// The body came to the end that its head promised.
    pub whole: bool,
    /// Every byte that came is one of the object, in its place.
    pub right: bool,
    /// The viewer had enough.
    pub left: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// First byte, last byte and length of the object, as a 206 says.
    pub fn range(&self) -> Option<(u64, u64, u64)> {
        let (range, length) = self
            .header("content-range")?
            .strip_prefix("bytes ")?
            .split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((
            first.parse().ok()?,
            last.parse().ok()?,
            length.parse().ok()?,
        ))
    }

    pub fn keeps_alive(&self) -> bool {
        self.header("connection") != Some("close")
    }

    /// A whole answer of an object, every byte of it right.
    pub fn is_good(&self, status: u16) -> bool {
        self.status == status && self.whole && self.right
    }
}

/// What is left of a body.
enum Left {
    Length(u64),
    Chunk(u64),
    Close,
    Nothing,
}

impl Viewer {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            unread: BytesMut::new(),
        })
    }

    pub async fn ask(&mut self, request: &Request<'_>) -> io::Result<()> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: cdn.test\r\n",
            request.method, request.target
        );
        for (name, value) in request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        self.stream.write_all(head.as_bytes()).await
    }

    /// Waits until the socket has the first byte of an answer.
    pub async fn first_byte(&self) -> io::Result<Instant> {
        timeout(PATIENCE, self.stream.readable()).await??;
        Ok(Instant::now())
    }

    /// Asks and reads. An error is an answer that had no head; a body that was
    /// cut is an answer that is not whole.
    pub async fn exchange(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        self.ask(request).await?;
        self.answer(request).await
    }

    pub async fn answer(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let mut answer = self.head().await?;
        let mut left = framing(&answer, request.method);
        let mut offset = match answer.status {
            206 => answer.range().map_or(0, |(first, ..)| first),
            _ => 0,
        };
        let object = request
            .object
            .filter(|_| matches!(answer.status, 200 | 206));
        let began = Instant::now();
        loop {
            let count = match self.piece(&mut left).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::TimedOut => return Err(error),
                Err(_) => {
                    answer.whole = false;
                    return Ok(answer);
                }
            };
            let piece = self.unread.split_to(count);
            match object {
                Some(object) => {
                    answer.right &= object.piece(offset..offset + count as u64) == piece
                }
                None if answer.text.len() < MAX_TEXT => answer.text.extend_from_slice(&piece),
                None => {}
            }
            offset += count as u64;
            answer.received += count as u64;
            if request
                .leave_after
                .is_some_and(|most| answer.received >= most)
            {
                answer.left = true;
                return Ok(answer);
            }
            // Of thousands who read at the same time none goes first.
            tokio::task::yield_now().await;
            if let Some(rate) = request.bytes_per_second {
                let due = Duration::from_secs_f64(answer.received as f64 / rate as f64);
                tokio::time::sleep_until(began + due).await;
            }
        }
        if answer.status == 200 && request.method != "HEAD" {
            answer.right &= object.is_none_or(|object| object.len() == answer.received);
        }
        Ok(answer)
    }

    async fn head(&mut self) -> io::Result<Answer> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut head = httparse::Response::new(&mut fields);
            let parsed = head.parse(&self.unread).map_err(io::Error::other)?;
            if let httparse::Status::Complete(length) = parsed {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let headers = head.headers.iter();
                let answer = Answer {
                    status: head.code.unwrap_or_default(),
                    headers: headers
                        .map(|field| (field.name.to_owned(), text(field.value)))
                        .collect(),
                    received: 0,
                    text: Vec::new(),
                    whole: true,
                    right: true,
                    left: false,
                };
                self.unread.advance(length);
                return Ok(answer);
            }
            self.fill().await?;
        }
    }

    /// How many bytes of the body stand in front of `unread`; 0 at its end.
    async fn piece(&mut self, left: &mut Left) -> io::Result<usize> {
        if let Left::Chunk(0) = left {
            *left = self.chunk_size().await?;
        }
        let most = match left {
            Left::Nothing | Left::Length(0) => return Ok(0),
            Left::Length(count) | Left::Chunk(count) => *count,
            Left::Close => u64::MAX,
        };
        if self.unread.is_empty() {
            match self.fill().await {
                Err(error) if matches!(left, Left::Close) && is_end(&error) => return Ok(0),
                other => other?,
            }
        }
        let count = most.min(self.unread.len() as u64).min(PIECE as u64);
        if let Left::Length(left) | Left::Chunk(left) = left {
            *left -= count;
        }
        Ok(count as usize)
    }

    /// The line before a chunk, and the end of the one before it.
    async fn chunk_size(&mut self) -> io::Result<Left> {
        loop {
            if self.unread.starts_with(b"\r\n") {
                self.unread.advance(2);
            }
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = self.unread.split_to(end + 2);
                let text = std::str::from_utf8(&line[..end]).map_err(io::Error::other)?;
                let size = u64::from_str_radix(text, 16).map_err(io::Error::other)?;
                if size > 0 {
                    return Ok(Left::Chunk(size));
                }
                while self.unread.len() < 2 {
                    self.fill().await?;
                }
                self.unread.advance(2);
                return Ok(Left::Nothing);
            }
            self.fill().await?;
        }
    }

    /// Reads some more. Room is made only once there is something to read: of
    /// ten thousand viewers most wait.
    async fn fill(&mut self) -> io::Result<()> {
        loop {
            timeout(PATIENCE, self.stream.readable()).await??;
            self.unread.reserve(PIECE);
            match self.stream.try_read_buf(&mut self.unread) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    error.kind() == ErrorKind::UnexpectedEof
}

fn framing(answer: &Answer, method: &str) -> Left {
    let length = answer.header("content-length");
    match length.and_then(|length| length.parse().ok()) {
        _ if method == "HEAD" || matches!(answer.status, 204 | 304) => Left::Nothing,
        Some(length) => Left::Length(length),
        None if answer.header("transfer-encoding").is_some() => Left::Chunk(0),
        None => Left::Close,
    }
}
