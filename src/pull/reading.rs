//! The body of a playlist or a manifest, as it is read: decoded where it is
//! stored coded, and of a long one its beginning and its end.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;

use crate::cache::body::Body;
use crate::cache::coding::{Coding, coding};
use crate::hls::MAX_PLAYLIST_BYTES;

/// What is kept of a long playlist to be read: its beginning, and its end.
const HEAD_BYTES: usize = 64 << 10;
const TAIL_BYTES: usize = 192 << 10;
/// A decoded playlist of more bytes is none: 16 MiB are 250,000 segments, and a
/// body of few bytes may stand for any number.
const MAX_DECODED_BYTES: u64 = 16 << 20;

/// Nor is one that a hundredth stands for, beyond the first MiB: lists compress to a
/// tenth or a twentieth.
const MAX_RATIO: u64 = 100;

/// A body, as much of it as is read.
#[derive(Default)]
pub struct Reading {
    pub text: Vec<u8>,
    /// Of its middle something is gone.
    pub cut: bool,
    /// The whole of it, where it is stored coded.
    pub decoded: Option<Bytes>,
}

impl Reading {
    /// `None` where its coding is none that is known here.
    pub fn of(headers: &HeaderMap, body: &Body) -> Option<Self> {
        let mut reading = Self::default();
        match coding(headers) {
            Coding::Identity => reading.take(body.slices(0..body.len())),
            Coding::Gzip => {
                let decoded = Bytes::from(gunzip(body)?);
                reading.take([decoded.clone()].into_iter());
                reading.decoded = Some(decoded);
            }
            Coding::Unknown => return None,
        }
        Some(reading)
    }

    fn take(&mut self, slices: impl Iterator<Item = Bytes>) {
        for slice in slices {
            for part in slice.chunks(TAIL_BYTES) {
                self.push(part);
            }
        }
    }

    /// One more part of it.
    pub fn push(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        if self.text.len() > MAX_PLAYLIST_BYTES {
            let behind = self.text.len() - TAIL_BYTES;
            self.text.drain(HEAD_BYTES..behind);
            self.cut = true;
        }
    }
}

/// `None` where it is none, or stands for too much.
pub fn gunzip(body: &Body) -> Option<Vec<u8>> {
    let coded: Vec<u8> = body.slices(0..body.len()).flatten().collect();
    let most = (coded.len() as u64).saturating_mul(MAX_RATIO);
    let most = most.clamp(MAX_PLAYLIST_BYTES as u64, MAX_DECODED_BYTES);
    let mut text = Vec::new();
    let mut decoder = MultiGzDecoder::new(&coded[..]).take(most + 1);
    decoder.read_to_end(&mut text).ok()?;
    (text.len() as u64 <= most).then_some(text)
}

const _: () = assert!(MAX_PLAYLIST_BYTES > HEAD_BYTES + 2 * TAIL_BYTES);

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;
    use http::header::CONTENT_ENCODING;

    use super::*;

    fn gzip(text: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory").into()
    }

    fn read(coding: &'static str, body: Bytes) -> Option<Reading> {
        let said = HeaderValue::from_static(coding);
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, said)]);
        Reading::of(&headers, &Body::from(body))
    }

    #[test]
    fn a_body_is_read_behind_its_coding() {
        let text = b"#EXTM3U\n";
        let plain = Bytes::from_static(text);
        for (coding, body) in [
            ("identity", plain.clone()),
            ("aws-chunked", plain.clone()),
            ("gzip", gzip(text)),
            ("aws-chunked, x-gzip", gzip(text)),
        ] {
            let read = read(coding, body).expect(coding);
            assert_eq!(read.text, text, "{coding}");
            assert_eq!(read.decoded.is_some(), coding.contains("gzip"), "{coding}");
        }
        assert!(read("br", plain.clone()).is_none());
        assert!(read("gzip", plain).is_none(), "it says so and is none");
    }

    #[test]
    fn of_a_long_body_the_beginning_and_the_end_are_read() {
        let mut text = vec![b'm'; 3 << 20];
        text[..4].copy_from_slice(b"head");
        let end = text.len() - 4;
        text[end..].copy_from_slice(b"tail");
        let read = read("identity", Bytes::from(text)).expect("a reading");
        assert!(read.cut && read.text.len() <= MAX_PLAYLIST_BYTES);
        assert!(read.text.starts_with(b"head") && read.text.ends_with(b"tail"));
    }

    #[test]
    fn a_small_body_that_stands_for_a_huge_one_is_not_held() {
        for bytes in [2 * MAX_PLAYLIST_BYTES, (MAX_DECODED_BYTES + 1) as usize] {
            let bomb = gzip(&vec![0; bytes]);
            assert!(bomb.len() < 1 << 20);
            assert!(read("gzip", bomb).is_none());
        }
    }
}
