//! Pure: a byte scan of an HLS playlist for the tags that decide its lifetime.
//! No full parser: a tag that the edge does not know cannot break it.

use std::collections::VecDeque;
use std::time::Duration;

use super::{MAX_TARGET, Pace};

/// Where a live playlist names no target duration (RFC 8216 demands one).
const UNKNOWN_TARGET: Duration = Duration::from_secs(2);
/// URIs of each sort remembered from one playlist.
const MAX_URIS: usize = 64;
/// Names remembered of a live playlist: those that may not be there yet.
const MAX_NEWEST: usize = 16;

/// Tags that stand in a multivariant playlist alone (RFC 8216 §4.3.4): one may
/// have I-frame variants, or renditions, and nothing else.
const MULTIVARIANT: [&[u8]; 5] = [
    b"#EXT-X-STREAM-INF:",
    b"#EXT-X-I-FRAME-STREAM-INF:",
    b"#EXT-X-MEDIA:",
    b"#EXT-X-SESSION-DATA:",
    b"#EXT-X-CONTENT-STEERING:",
];

/// The facts of one playlist body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist {
    pub pace: Pace,
    /// `URI` values of EXT-X-KEY and EXT-X-SESSION-KEY, as they stand.
    pub key_uris: Vec<String>,
    /// `URI` values of EXT-X-PRELOAD-HINT for parts: they are asked for before
    /// they are there, and a packager holds its answer until they are.
    pub hint_uris: Vec<String>,
    /// `URI` values of EXT-X-MAP.
    pub map_uris: Vec<String>,
    /// Of a media playlist: EXT-X-MEDIA-SEQUENCE, 0 where there is none (RFC 8216
    /// §4.3.3.2).
    pub sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE, the same.
    pub discontinuity: u64,
    /// How many segments it has, those that a delta update skips included.
    pub segments: u64,
    /// The last 16 URIs of segments, parts and initialisation
    /// sections.
    pub newest: Vec<String>,
}

/// Every URI of a playlist: its lines that are no tag, and the `URI` of tags.
pub fn uris(body: &[u8]) -> impl Iterator<Item = &str> {
    trimmed(body).filter_map(|line| match line {
        [b'#', ..] => uri(line),
        uri => std::str::from_utf8(uri).ok(),
    })
}

/// The lines of a playlist that are no tag: its segments, or its variants.
pub fn lines(body: &[u8]) -> impl Iterator<Item = &str> {
    let uris = trimmed(body).filter(|line| !line.starts_with(b"#"));
    uris.filter_map(|line| std::str::from_utf8(line).ok())
}

/// The lines that are not empty.
pub(super) fn trimmed(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty())
}

impl Playlist {
    /// Whether a body begins as a playlist must (RFC 8216 §4.3.1.1).
    pub fn begins(body: &[u8]) -> bool {
        behind_first_tag(body).is_some()
    }

    /// `None` where the body does not begin as a playlist, such as an error page
    /// sent with 200.
    pub fn scan(body: &[u8]) -> Option<Self> {
        let after = behind_first_tag(body)?;
        let (mut ended, mut multivariant, mut parts) = (false, false, false);
        let (mut target, mut sequence, mut segments) = (None, 0, 0u64);
        let mut discontinuity = 0;
        let (mut key_uris, mut hint_uris, mut map_uris) = (Vec::new(), Vec::new(), Vec::new());
        for line in after.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii_end();
            if let Some(value) = line.strip_prefix(b"#EXT-X-TARGETDURATION:") {
                target = parse_seconds(value);
            } else if let Some(value) = line.strip_prefix(b"#EXT-X-MEDIA-SEQUENCE:") {
                sequence = parse_number(value).unwrap_or_default();
            } else if let Some(value) = line.strip_prefix(b"#EXT-X-DISCONTINUITY-SEQUENCE:") {
                discontinuity = parse_number(value).unwrap_or_default();
            } else if line.starts_with(b"#EXTINF:") {
                segments += 1;
            } else if let Some(value) = line.strip_prefix(b"#EXT-X-SKIP:SKIPPED-SEGMENTS=") {
                let count = value.split(|byte| *byte == b',').next();
                let count = count.and_then(parse_number).unwrap_or_default();
                segments = segments.saturating_add(count);
            } else if line == b"#EXT-X-ENDLIST" {
                ended = true;
            } else if MULTIVARIANT.iter().any(|tag| line.starts_with(tag)) {
                multivariant = true;
            } else if line.starts_with(b"#EXT-X-PART-INF:") {
                parts = true;
            } else if let Some(uri) = key_uri(line) {
                remember(&mut key_uris, uri);
            } else if let Some(uri) = hint_uri(line) {
                remember(&mut hint_uris, uri);
            } else if let Some(uri) = map_uri(line) {
                remember(&mut map_uris, uri);
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
            newest: newest(after, &key_uris, &hint_uris),
            key_uris,
            hint_uris,
            map_uris,
            sequence,
            discontinuity,
            segments,
        })
    }
}

pub(super) fn behind_first_tag(body: &[u8]) -> Option<&[u8]> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let after = body.strip_prefix(b"#EXTM3U")?;
    let ends = after.first().is_none_or(u8::is_ascii_whitespace);
    ends.then_some(after)
}

/// The last URIs that are neither a key's nor a hint's.
fn newest(body: &[u8], keys: &[String], hints: &[String]) -> Vec<String> {
    let mut last = VecDeque::with_capacity(MAX_NEWEST);
    let others = keys.iter().chain(hints);
    let others: Vec<&str> = others.map(String::as_str).collect();
    for uri in uris(body).filter(|uri| !others.contains(uri)) {
        if last.len() == MAX_NEWEST {
            last.pop_front();
        }
        last.push_back(uri);
    }
    last.into_iter().map(str::to_owned).collect()
}

fn parse_number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
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

fn map_uri(line: &[u8]) -> Option<&str> {
    uri(line.strip_prefix(b"#EXT-X-MAP:")?)
}

/// The value of an attribute, without its quotes; commas in quotes are its own
/// (RFC 8216 §4.2).
pub(super) fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (found, value) = rest.split_once('=')?;
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        if found.trim() == name {
            return Some(value);
        }
        rest = behind.split_once(',')?.1;
    }
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
    fn a_live_playlist_tells_its_sequence_and_its_newest_names() {
        let mut body = "#EXTM3U\r\n#EXT-X-TARGETDURATION:2\r\n#EXT-X-MEDIA-SEQUENCE: 17\r\n\
            #EXT-X-MAP:URI=\"init.mp4\"\r\n#EXT-X-KEY:METHOD=AES-128,URI=\"k/1\"\r\n"
            .to_owned();
        body += "#EXTINF:2,\r\n1.m4s\r\n#EXT-X-PART:DURATION=1,URI=\"2.1.m4s\"\r\n\
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.2.m4s\"\r\n";
        let scanned = Playlist::scan(body.as_bytes()).expect("a playlist");
        assert_eq!((scanned.sequence, scanned.segments), (17, 1));
        assert_eq!(scanned.newest, ["init.mp4", "1.m4s", "2.1.m4s"]);
        assert_eq!(uris(body.as_bytes()).count(), 5);
        let many: String = (0..100).map(|n| format!("#EXTINF:2,\n{n}.ts\n")).collect();
        let scanned = Playlist::scan(format!("#EXTM3U\n{many}").as_bytes());
        let scanned = scanned.expect("a playlist");
        assert_eq!((scanned.sequence, scanned.newest.len()), (0, MAX_NEWEST));
        assert_eq!(scanned.newest.last().map(String::as_str), Some("99.ts"));
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

    #[test]
    fn a_delta_update_has_the_segments_that_it_skips() {
        let body = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:5\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3,X=1\n#EXTINF:2,\n8.ts\n";
        let scanned = Playlist::scan(body.as_bytes()).expect("a playlist");
        assert_eq!((scanned.sequence, scanned.segments), (5, 4));
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
