//! Pure: the head of an origin's answer and the framing of its body.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

use super::Failure;

/// Longer heads are no answer of an object store.
pub const MAX_HEAD_BYTES: usize = 32 << 10;
const MAX_HEADERS: usize = 100;

/// An answer's status line and headers.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    pub headers: HeaderMap,
    pub framing: Framing,
    /// The connection may carry another request afterwards.
    pub keep_alive: bool,
}

/// How the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// With the connection: nothing tells a whole body from a cut one.
    Close,
}

impl Head {
    /// The body's length, where the head tells it.
    pub fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::Close => None,
        }
    }

    pub fn text(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads a final head from what has arrived. `Ok(None)`: more is needed.
    /// Interim answers (1xx) are passed over. Returns the head's length too.
    pub fn parse(buffer: &[u8], to_head_request: bool) -> Result<Option<(Self, usize)>, Failure> {
        Self::parse_telling(buffer, to_head_request, |_, _| ())
    }

    /// The same, handing over each interim head and where it ends, in order.
    pub fn parse_telling(
        buffer: &[u8],
        to_head_request: bool,
        mut tell: impl FnMut(Self, usize),
    ) -> Result<Option<(Self, usize)>, Failure> {
        let mut start = 0;
        loop {
            let Some((head, length)) = Self::parse_one(&buffer[start..], to_head_request)? else {
                return if buffer.len() > MAX_HEAD_BYTES {
                    Err(Failure::BadResponse)
                } else {
                    Ok(None)
                };
            };
            start += length;
            if start > MAX_HEAD_BYTES {
                return Err(Failure::BadResponse);
            }
            match head.status {
                // Nothing was upgraded, so 101 is no answer to us.
                101 => return Err(Failure::BadResponse),
                100..=199 => tell(head, start),
                _ => return Ok(Some((head, start))),
            }
        }
    }

    fn parse_one(buffer: &[u8], to_head_request: bool) -> Result<Option<(Self, usize)>, Failure> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut slots);
        let length = match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Failure::BadResponse),
        };
        // Above 599 it reads as a server's error (RFC 9110 §15).
        let status = parsed.code.filter(|code| *code >= 100);
        let status = status.ok_or(Failure::BadResponse)?;
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for header in parsed.headers.iter() {
            let name =
                HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Failure::BadResponse)?;
            let value = HeaderValue::from_bytes(header.value).map_err(|_| Failure::BadResponse)?;
            headers.append(name, value);
        }
        let framing = framing(status, &headers, to_head_request)?;
        let http11 = parsed.version == Some(1);
        let says = |token: &str| connection_says(&headers, token);
        let keep_alive =
            (http11 && !says("close") || says("keep-alive")) && framing != Framing::Close;
        Ok(Some((
            Self {
                status,
                headers,
                framing,
                keep_alive,
            },
            length,
        )))
    }
}

/// RFC 9112 §6.3.
fn framing(status: u16, headers: &HeaderMap, to_head_request: bool) -> Result<Framing, Failure> {
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = lines
            .next()
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || lines.next().is_some() || headers.contains_key(CONTENT_LENGTH) {
            return Err(Failure::BadResponse);
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(parse_length);
    let length = lengths.next().transpose()?;
    if lengths.any(|other| other.ok() != length) {
        return Err(Failure::BadResponse);
    }
    if to_head_request || matches!(status, 100..=199 | 204 | 304) {
        return Ok(Framing::Length(0));
    }
    Ok(match length {
        Some(length) => Framing::Length(length),
        None if headers.contains_key(TRANSFER_ENCODING) => Framing::Chunked,
        None => Framing::Close,
    })
}

fn parse_length(value: &HeaderValue) -> Result<u64, Failure> {
    let digits = value.as_bytes();
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| sound);
    text.and_then(|text| text.parse().ok())
        .ok_or(Failure::BadResponse)
}

/// Whether Connection lists this token, without regard to case.
pub fn connection_says(headers: &HeaderMap, token: &str) -> bool {
    let lines = headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    connection_options(lines).any(|option| option.eq_ignore_ascii_case(token))
}

/// What lines of Connection list (RFC 9110 §7.6.1).
pub fn connection_options<'l>(
    lines: impl Iterator<Item = &'l str>,
) -> impl Iterator<Item = &'l str> {
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Where a chunked body stands (RFC 9112 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunked {
    /// Before a chunk-size line.
    Size,
    /// Within a chunk: bytes left of it.
    Data(u64),
    /// Before the line break behind a chunk.
    DataEnd,
    /// Within the trailer section.
    Trailer,
    Done,
}

/// Longest chunk-size or trailer line.
const MAX_LINE_BYTES: usize = 4096;

impl Chunked {
    /// Consumes framing at the start of `buffer` and returns its length; the
    /// state is then `Data` or `Done`, or more bytes are needed.
    pub fn advance(&mut self, buffer: &[u8]) -> Result<usize, Failure> {
        let mut at = 0;
        loop {
            match self {
                Chunked::Data(1..) | Chunked::Done => return Ok(at),
                Chunked::Data(0) => *self = Chunked::DataEnd,
                Chunked::Size | Chunked::DataEnd | Chunked::Trailer => {
                    let Some(line) = line(&buffer[at..])? else {
                        return Ok(at);
                    };
                    at += line.len() + 2;
                    *self = self.after_line(line)?;
                }
            }
        }
    }

    fn after_line(self, line: &[u8]) -> Result<Self, Failure> {
        match self {
            Chunked::DataEnd if line.is_empty() => Ok(Chunked::Size),
            Chunked::Trailer if line.is_empty() => Ok(Chunked::Done),
            Chunked::Trailer => Ok(Chunked::Trailer),
            Chunked::Size => match parse_chunk_size(line)? {
                0 => Ok(Chunked::Trailer),
                size => Ok(Chunked::Data(size)),
            },
            _ => Err(Failure::BadResponse),
        }
    }

    /// Says that `count` bytes of the current chunk were read.
    pub fn consume(&mut self, count: u64) {
        if let Chunked::Data(left) = self {
            *left = left.saturating_sub(count);
        }
    }
}

fn line(buffer: &[u8]) -> Result<Option<&[u8]>, Failure> {
    match memchr::memmem::find(buffer, b"\r\n") {
        Some(end) => Ok(Some(&buffer[..end])),
        None if buffer.len() > MAX_LINE_BYTES => Err(Failure::BadResponse),
        None => Ok(None),
    }
}

fn parse_chunk_size(line: &[u8]) -> Result<u64, Failure> {
    let digits = line
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    let sound = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| sound);
    text.and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or(Failure::BadResponse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framing_of(head: &str) -> Result<Option<Framing>, Failure> {
        Head::parse(head.as_bytes(), false).map(|parsed| parsed.map(|(head, _)| head.framing))
    }

    #[test]
    fn framing_is_read_strictly() {
        let table: &[(&str, &str, Result<Option<Framing>, Failure>)] = &[
            (
                "length",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                Ok(Some(Framing::Length(5))),
            ),
            (
                "same length twice",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                Ok(Some(Framing::Length(5))),
            ),
            (
                "two lengths",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                Err(Failure::BadResponse),
            ),
            (
                "signed length",
                "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
                Err(Failure::BadResponse),
            ),
            (
                "chunked",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Ok(Some(Framing::Chunked)),
            ),
            (
                "gzip, chunked",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                Err(Failure::BadResponse),
            ),
            (
                "both",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                Err(Failure::BadResponse),
            ),
            (
                "neither",
                "HTTP/1.1 200 OK\r\n\r\n",
                Ok(Some(Framing::Close)),
            ),
            (
                "304 with a length",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                Ok(Some(Framing::Length(0))),
            ),
            (
                "100 first",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
                Ok(Some(Framing::Length(1))),
            ),
            (
                "101",
                "HTTP/1.1 101 Switching\r\n\r\n",
                Err(Failure::BadResponse),
            ),
            (
                "status 99",
                "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
                Err(Failure::BadResponse),
            ),
            ("partial", "HTTP/1.1 200 OK\r\nContent-Le", Ok(None)),
            (
                "garbage",
                "SSH-2.0-OpenSSH\r\n\r\n",
                Err(Failure::BadResponse),
            ),
        ];
        for (name, head, want) in table {
            assert_eq!(framing_of(head), *want, "{name}");
        }
    }

    #[test]
    fn a_head_beyond_its_limit_is_none_also_in_one_piece() {
        let filler = "a".repeat(MAX_HEAD_BYTES);
        let head = format!("HTTP/1.1 200 OK\r\nX: {filler}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(framing_of(&head), Err(Failure::BadResponse));
    }

    fn decode(wire: &[u8], step: usize) -> Result<(Vec<u8>, Chunked), Failure> {
        let (mut state, mut out, mut buffer) = (Chunked::Size, Vec::new(), Vec::new());
        for part in wire.chunks(step) {
            buffer.extend_from_slice(part);
            loop {
                let used = state.advance(&buffer)?;
                buffer.drain(..used);
                let Chunked::Data(left) = state else { break };
                let count = buffer
                    .len()
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                if count == 0 {
                    break;
                }
                out.extend(buffer.drain(..count));
                state.consume(count as u64);
            }
        }
        Ok((out, state))
    }

    proptest! {
        #[test]
        fn a_chunked_body_decodes_however_it_is_cut(body in proptest::collection::vec(any::<u8>(), 0..200), sizes in proptest::collection::vec(1usize..50, 1..20), step in 1usize..40) {
            let (mut wire, mut rest) = (Vec::new(), &body[..]);
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break }
                let (chunk, after) = rest.split_at((*size).min(rest.len()));
                wire.extend(format!("{:x};x=y\r\n", chunk.len()).into_bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
                rest = after;
            }
            let cut = wire.len();
            wire.extend(b"0\r\nTrailer: x\r\n\r\n");
            prop_assert_eq!(decode(&wire, step), Ok((body.clone(), Chunked::Done)));
            let (_, state) = decode(&wire[..cut], step).expect("well-formed so far");
            prop_assert_ne!(state, Chunked::Done, "a body without its last chunk is not done");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for wire in [
            "x\r\n",
            "-1\r\n",
            "\r\n",
            "1\r\nab\r\n",
            "10000000000000000\r\n",
        ] {
            assert_eq!(
                decode(wire.as_bytes(), 64).map(|_| ()),
                Err(Failure::BadResponse),
                "{wire:?}"
            );
        }
    }
}
