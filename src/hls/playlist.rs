//! Pure: a byte scan of an HLS playlist for the tags that decide its lifetime.
//! No full parser: a tag that the edge does not know cannot break it.

use std::time::Duration;

use super::{MAX_TARGET, Pace};

/// Where a live playlist names no target duration (RFC 8216 demands one).
const UNKNOWN_TARGET: Duration = Duration::from_secs(2);
/// URIs of each sort remembered from one playlist.
const MAX_URIS: usize = 64;

/// The facts of one playlist body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist {
    pub pace: Pace,
    /// `URI` values of EXT-X-KEY and EXT-X-SESSION-KEY, as they stand.
    pub key_uris: Vec<String>,
    /// `URI` values of EXT-X-PRELOAD-HINT for parts: they are asked for before
    /// they are there, and a packager holds its answer until they are.
    pub hint_uris: Vec<String>,
}

impl Playlist {
    /// `None` where the body does not begin with `#EXTM3U` (RFC 8216 §4.3.1.1),
    /// such as an error page sent with 200.
    pub fn scan(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let after = body.strip_prefix(b"#EXTM3U")?;
        if !after.is_empty() && !after[0].is_ascii_whitespace() {
            return None;
        }
        let (mut ended, mut multivariant, mut parts) = (false, false, false);
        let mut target = None;
        let (mut key_uris, mut hint_uris) = (Vec::new(), Vec::new());
        for line in after.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii_end();
            if let Some(value) = line.strip_prefix(b"#EXT-X-TARGETDURATION:") {
                target = parse_seconds(value);
            } else if line == b"#EXT-X-ENDLIST" {
                ended = true;
            } else if line.starts_with(b"#EXT-X-STREAM-INF:") {
                multivariant = true;
            } else if line.starts_with(b"#EXT-X-PART-INF:") {
                parts = true;
            } else if let Some(uri) = key_uri(line) {
                remember(&mut key_uris, uri);
            } else if let Some(uri) = hint_uri(line) {
                remember(&mut hint_uris, uri);
            }
        }
        let target = target.unwrap_or(UNKNOWN_TARGET).min(MAX_TARGET);
        let pace = match (ended, multivariant, parts) {
            (true, _, _) => Pace::Ended,
            (_, true, _) => Pace::Multivariant,
            (_, _, true) => Pace::LowLatency { target },
            _ => Pace::Live { target },
        };
        Some(Self {
            pace,
            key_uris,
            hint_uris,
        })
    }
}

fn parse_seconds(value: &[u8]) -> Option<Duration> {
    let seconds: f64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|target| !target.is_zero())
}

fn remember(uris: &mut Vec<String>, uri: &str) {
    if uris.len() < MAX_URIS && !uris.iter().any(|known| known == uri) {
        uris.push(uri.to_owned());
    }
}

fn key_uri(line: &[u8]) -> Option<&str> {
    let attributes = line
        .strip_prefix(b"#EXT-X-KEY:")
        .or_else(|| line.strip_prefix(b"#EXT-X-SESSION-KEY:"))?;
    uri(attributes)
}

fn hint_uri(line: &[u8]) -> Option<&str> {
    let attributes = line.strip_prefix(b"#EXT-X-PRELOAD-HINT:")?;
    let part = memchr::memmem::find(attributes, b"TYPE=PART").is_some();
    uri(attributes).filter(|_| part)
}

fn uri(attributes: &[u8]) -> Option<&str> {
    let attributes = std::str::from_utf8(attributes).ok()?;
    let (_, rest) = attributes.split_once("URI=\"")?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pace(body: &str) -> Option<Pace> {
        Playlist::scan(body.as_bytes()).map(|p| p.pace)
    }

    #[test]
    fn five_tags_decide_the_pace() {
        let live = |s| {
            Some(Pace::Live {
                target: Duration::from_secs(s),
            })
        };
        let table: &[(&str, &str, Option<Pace>)] = &[
            (
                "vod",
                "#EXTM3U\n#EXT-X-TARGETDURATION:4\na.ts\n#EXT-X-ENDLIST\n",
                Some(Pace::Ended),
            ),
            (
                "crlf",
                "#EXTM3U\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-ENDLIST\r\n",
                Some(Pace::Ended),
            ),
            (
                "no last newline",
                "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-ENDLIST",
                Some(Pace::Ended),
            ),
            ("live", "#EXTM3U\n#EXT-X-TARGETDURATION:6\na.ts\n", live(6)),
            (
                "event grows",
                "#EXTM3U\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:4\n",
                live(4),
            ),
            (
                "type vod alone does not end it",
                "#EXTM3U\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:4\n",
                live(4),
            ),
            ("no target", "#EXTM3U\na.ts\n", live(2)),
            (
                "absurd target",
                "#EXTM3U\n#EXT-X-TARGETDURATION:1e300\n",
                live(2),
            ),
            (
                "negative target",
                "#EXTM3U\n#EXT-X-TARGETDURATION:-5\n",
                live(2),
            ),
            (
                "long target",
                "#EXTM3U\n#EXT-X-TARGETDURATION:99999\n",
                live(3600),
            ),
            (
                "multivariant",
                "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n",
                Some(Pace::Multivariant),
            ),
            (
                "low latency",
                "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.4\n",
                Some(Pace::LowLatency {
                    target: Duration::from_secs(2),
                }),
            ),
            (
                "bom",
                "\u{feff}#EXTM3U\n#EXT-X-ENDLIST\n",
                Some(Pace::Ended),
            ),
            ("only the header", "#EXTM3U", live(2)),
            ("html", "<html>404</html>", None),
            ("another word", "#EXTM3UX\n", None),
            ("empty", "", None),
        ];
        for (name, body, want) in table {
            assert_eq!(pace(body), *want, "{name}");
        }
    }

    #[test]
    fn key_uris_are_collected_once() {
        let body = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k/1\",IV=0x1\n#EXT-X-KEY:METHOD=NONE\n\
                    #EXT-X-KEY:METHOD=AES-128,URI=\"k/1\"\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"k/2\"\n";
        assert_eq!(
            Playlist::scan(body.as_bytes())
                .expect("a playlist")
                .key_uris,
            ["k/1", "k/2"]
        );
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut with_head = b"#EXTM3U\n".to_vec();
            with_head.extend(&body);
            prop_assert!(Playlist::scan(&with_head).is_some());
            let _ = Playlist::scan(&body);
        }
    }
}
