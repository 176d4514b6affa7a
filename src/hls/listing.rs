//! Pure: what a playlist lists for those who fetch it, with URLs made whole.
//! Own code, because parsers take valid lines for something else: a comma in a
//! title, variants without BANDWIDTH, a byte order mark.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::Variables;
use super::playlist::{attribute, behind_first_tag};
use crate::path::{encode_unsafe, remove_dot_segments};

/// A playlist as a viewer reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Listed {
    Multivariant(Multivariant),
    Media(Media),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Multivariant {
    /// With their bandwidths, in the order of the file.
    pub variants: Vec<(u64, String)>,
    /// Playlists of other languages, sounds and texts, and of pictures to seek by.
    pub renditions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    pub target: Duration,
    pub ended: bool,
    pub segments: Vec<Segment>,
}

/// One thing to fetch and play.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The media sequence number.
    pub number: u64,
    pub part: Part,
    pub media: Duration,
    /// Its initialisation section and its keys, where it has them.
    pub needs: Vec<Arc<Part>>,
}

/// A URL, and the bytes of it that are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    pub url: String,
    /// A Range value.
    pub range: Option<String>,
}

/// Reads a playlist that came from `base`; `None` where it is none, or names
/// nothing.
pub fn read(body: &[u8], base: &str) -> Option<Listed> {
    let lines = behind_first_tag(body)?.split(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| std::str::from_utf8(line.trim_ascii()).ok());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let references = References::new(base, &lines);
    let lists = [
        "#EXT-X-STREAM-INF:",
        "#EXT-X-I-FRAME-STREAM-INF:",
        "#EXT-X-MEDIA:",
    ];
    let is_list = |line: &&str| lists.iter().any(|tag| line.starts_with(tag));
    match lines.iter().any(is_list) {
        true => multivariant(&lines, &references).map(Listed::Multivariant),
        false => Some(Listed::Media(Reader::new(&references).read(&lines))),
    }
}

fn multivariant(lines: &[&str], references: &References<'_>) -> Option<Multivariant> {
    let mut all = Multivariant {
        variants: Vec::new(),
        renditions: Vec::new(),
    };
    let mut bandwidth = None;
    for line in lines {
        if let Some(attributes) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            let told = attribute(attributes, "BANDWIDTH").and_then(|it| it.parse().ok());
            bandwidth = Some(told.unwrap_or_default());
        } else if let Some(attributes) = line
            .strip_prefix("#EXT-X-MEDIA:")
            .or_else(|| line.strip_prefix("#EXT-X-I-FRAME-STREAM-INF:"))
        {
            all.renditions
                .extend(attribute(attributes, "URI").and_then(|uri| references.url(uri)));
        } else if !line.starts_with('#') {
            let told = bandwidth.take().unwrap_or_default();
            all.variants
                .extend(references.url(line).map(|url| (told, url)));
        }
    }
    (!all.variants.is_empty() || !all.renditions.is_empty()).then_some(all)
}

/// What stands before a segment, up to its URI.
struct Reader<'r> {
    references: &'r References<'r>,
    media: Media,
    number: u64,
    duration: Duration,
    range: Option<String>,
    /// Where a range without an offset begins: behind the one before it (RFC 8216
    /// §4.3.2.2).
    next_byte: u64,
    is_gap: bool,
    /// Both hold for every segment behind them; keys by their formats.
    map: Option<Arc<Part>>,
    keys: Vec<(String, Arc<Part>)>,
}

impl<'r> Reader<'r> {
    fn new(references: &'r References<'r>) -> Self {
        Self {
            references,
            media: Media {
                target: Duration::from_secs(1),
                ended: false,
                segments: Vec::new(),
            },
            number: 0,
            duration: Duration::ZERO,
            range: None,
            next_byte: 0,
            is_gap: false,
            map: None,
            keys: Vec::new(),
        }
    }

    fn read(mut self, lines: &[&str]) -> Media {
        for line in lines {
            match line.strip_prefix('#') {
                Some(tag) => self.tag(tag),
                None => self.segment(line),
            }
        }
        self.media
    }

    fn tag(&mut self, tag: &str) {
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXTINF" => {
                // Behind the comma is a title.
                let seconds = value.split(',').next().unwrap_or_default().trim().parse();
                let told = Duration::try_from_secs_f64(seconds.unwrap_or_default());
                self.duration = told.unwrap_or_default();
            }
            "EXT-X-TARGETDURATION" => {
                let told = value.trim().parse::<f64>().unwrap_or_default();
                let told = Duration::try_from_secs_f64(told).unwrap_or_default();
                self.media.target = told.max(Duration::from_secs(1));
            }
            "EXT-X-MEDIA-SEQUENCE" => self.number = value.trim().parse().unwrap_or_default(),
            "EXT-X-SKIP" => {
                let skipped = attribute(value, "SKIPPED-SEGMENTS").and_then(|it| it.parse().ok());
                self.number = self.number.saturating_add(skipped.unwrap_or_default());
            }
            "EXT-X-BYTERANGE" => self.range = range(value, &mut self.next_byte),
            "EXT-X-GAP" => self.is_gap = true,
            "EXT-X-ENDLIST" => self.media.ended = true,
            "EXT-X-MAP" => {
                let bytes = attribute(value, "BYTERANGE");
                let range = bytes.and_then(|bytes| range(bytes, &mut 0));
                let url = attribute(value, "URI").and_then(|uri| self.references.url(uri));
                self.map = url.map(|url| Arc::new(Part { url, range }));
            }
            "EXT-X-KEY" => self.key(value),
            _ => {}
        }
    }

    /// Several may hold at a time, one of each format; NONE ends them.
    fn key(&mut self, attributes: &str) {
        let format = attribute(attributes, "KEYFORMAT").unwrap_or("identity");
        self.keys.retain(|(known, _)| known != format);
        if attribute(attributes, "METHOD") == Some("NONE") {
            self.keys.clear();
            return;
        }
        let url = attribute(attributes, "URI").and_then(|uri| self.references.url(uri));
        let part = url.map(|url| Arc::new(Part { url, range: None }));
        self.keys.extend(part.map(|part| (format.to_owned(), part)));
    }

    fn segment(&mut self, uri: &str) {
        let (range, is_gap) = (self.range.take(), std::mem::take(&mut self.is_gap));
        let number = self.number;
        self.number = number.saturating_add(1);
        let Some(url) = self.references.url(uri).filter(|_| !is_gap) else {
            return;
        };
        let keys = self.keys.iter().map(|(_, part)| Arc::clone(part));
        self.media.segments.push(Segment {
            number,
            part: Part { url, range },
            media: std::mem::take(&mut self.duration),
            needs: self.map.iter().cloned().chain(keys).collect(),
        });
    }
}

/// `n[@o]` as a Range value; `next` is where one without an offset begins.
fn range(text: &str, next: &mut u64) -> Option<String> {
    let (length, offset) = match text.trim().split_once('@') {
        Some((length, offset)) => (length, offset.parse().ok()?),
        None => (text.trim(), *next),
    };
    *next = offset.saturating_add(length.parse().ok()?);
    Some(format!("bytes={offset}-{}", next.saturating_sub(1)))
}

/// The references of one playlist.
struct References<'p> {
    base: &'p str,
    variables: Variables<'p>,
}

impl<'p> References<'p> {
    fn new(base: &'p str, lines: &[&'p str]) -> Self {
        let query = base.split_once('?').map_or("", |(_, query)| query);
        Self {
            base,
            variables: Variables::of(lines.iter().map(|line| line.as_bytes()), query),
        }
    }

    /// A whole URL (RFC 3986 §5.2); `None` where it is none of http(s), as with
    /// `data:`.
    fn url(&self, reference: &str) -> Option<String> {
        let whole = self.variables.put(reference);
        let reference = encode_unsafe(&whole);
        let url = resolve(self.base, &reference)?;
        url.parse::<Uri>().ok().map(|_| url)
    }
}

fn resolve(base: &str, reference: &str) -> Option<String> {
    let uri: Uri = base.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    if let Some(end) = reference.find([':', '/', '?', '#'])
        && reference[end..].starts_with(':')
    {
        let known = ["http", "https"];
        let is_known = known
            .iter()
            .any(|it| reference[..end].eq_ignore_ascii_case(it));
        return is_known.then(|| reference.to_owned());
    }
    if reference.starts_with("//") {
        return Some(format!("{scheme}:{reference}"));
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (reference, String::new()),
    };
    let folder = uri
        .path()
        .rfind('/')
        .map_or("/", |slash| &uri.path()[..=slash]);
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{folder}{path}")
    };
    Some(format!(
        "{scheme}://{authority}{}{query}",
        remove_dot_segments(&whole)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://edge:8080/bcdn_token=T&expires=1/v/s1/index.m3u8?x=1";

    #[test]
    fn references_keep_the_token_in_the_path_and_lose_the_query() {
        let table = [
            ("a.ts", "http://edge:8080/bcdn_token=T&expires=1/v/s1/a.ts"),
            (
                "../a.ts?y",
                "http://edge:8080/bcdn_token=T&expires=1/v/a.ts?y",
            ),
            ("/a.ts", "http://edge:8080/a.ts"),
            ("http://other/a.ts", "http://other/a.ts"),
        ];
        for (reference, url) in table {
            assert_eq!(resolve(BASE, reference).as_deref(), Some(url));
        }
    }

    #[test]
    fn ranges_follow_each_other_and_a_map_holds_for_what_is_behind_it() {
        let body = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n\
            #EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"100@0\"\n\
            #EXTINF:4,\n#EXT-X-BYTERANGE:50@100\nall.mp4\n\
            #EXTINF:2.5,\n#EXT-X-BYTERANGE:60\nall.mp4\n#EXT-X-ENDLIST\n";
        let Some(Listed::Media(media)) = read(body.as_bytes(), BASE) else {
            panic!("a media playlist");
        };
        assert!(media.ended && media.target == Duration::from_secs(4));
        let ranges: Vec<_> = media
            .segments
            .iter()
            .map(|s| (s.number, s.part.range.as_deref()))
            .collect();
        assert_eq!(
            ranges,
            [(7, Some("bytes=100-149")), (8, Some("bytes=150-209"))]
        );
        assert_eq!(
            media.segments[1].needs[0].range.as_deref(),
            Some("bytes=0-99")
        );
    }

    #[test]
    fn a_range_beyond_all_numbers_ends_there() {
        let body = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n#EXT-X-BYTERANGE:{}@5\na.ts\n",
            u64::MAX
        );
        let Some(Listed::Media(media)) = read(body.as_bytes(), BASE) else {
            panic!("a media playlist");
        };
        let range = media.segments[0].part.range.clone();
        assert_eq!(range, Some(format!("bytes=5-{}", u64::MAX - 1)));
    }

    #[test]
    fn a_multivariant_playlist_lists_its_variants_and_renditions() {
        let body = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"de\",URI=\"a/i.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=9\nhigh/i.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=5\nlow/i.m3u8\n";
        let Some(Listed::Multivariant(all)) = read(body.as_bytes(), "http://e/m.m3u8") else {
            panic!("variants");
        };
        assert_eq!(all.variants[1], (5, "http://e/low/i.m3u8".to_owned()));
        assert_eq!(all.renditions, ["http://e/a/i.m3u8"]);
        assert_eq!(read(b"<html>", BASE), None);
    }

    fn urls(body: &str) -> Vec<String> {
        match read(body.as_bytes(), "http://e/v/i.m3u8?lang=de") {
            None => Vec::new(),
            Some(Listed::Multivariant(all)) => {
                let variants = all.variants.into_iter().map(|(_, url)| url);
                variants.chain(all.renditions).collect()
            }
            Some(Listed::Media(media)) => {
                let segments = media.segments.into_iter();
                let with_needs = segments.flat_map(|segment| {
                    let needs = segment.needs.iter().map(|part| part.url.clone());
                    needs.chain([segment.part.url]).collect::<Vec<_>>()
                });
                with_needs.collect()
            }
        }
    }

    #[test]
    fn what_parsers_stumble_over_is_read_as_it_is_meant() {
        let table: &[(&str, &str, &[&str])] = &[
            (
                "a comma in a title",
                "#EXTINF:4,Artist, Title\na.ts",
                &["http://e/v/a.ts"],
            ),
            (
                "a key in the playlist itself",
                "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"data:text/plain;base64,AA==\"\n#EXTINF:4,\na.ts",
                &["http://e/v/a.ts"],
            ),
            (
                "another scheme",
                "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\"\n#EXTINF:4,\na.ts",
                &["http://e/v/a.ts"],
            ),
            (
                "a gap",
                "#EXTINF:4,\n#EXT-X-GAP\na.ts\n#EXTINF:4,\nb.ts",
                &["http://e/v/b.ts"],
            ),
            (
                "no bandwidth",
                "#EXT-X-STREAM-INF:CODECS=\"a,b\"\nlow.m3u8",
                &["http://e/v/low.m3u8"],
            ),
            (
                "pictures alone",
                "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"p.m3u8\"",
                &["http://e/v/p.m3u8"],
            ),
            (
                "a comma in quotes",
                "#EXT-X-MEDIA:NAME=\"a,URI=x\",URI=\"a.m3u8\",TYPE=AUDIO\n",
                &["http://e/v/a.m3u8"],
            ),
            (
                "variables",
                "#EXT-X-DEFINE:NAME=\"f\",VALUE=\"w\"\n#EXT-X-DEFINE:QUERYPARAM=\"lang\"\n#EXTINF:4,\n{$f}/{$lang}.ts",
                &["http://e/v/w/de.ts"],
            ),
            ("a host", "#EXTINF:4,\n//other/a.ts", &["http://other/a.ts"]),
            ("a space", "#EXTINF:4,\na b.ts", &["http://e/v/a%20b.ts"]),
            ("a colon", "#EXTINF:4,\n./a:b.ts", &["http://e/v/a:b.ts"]),
            (
                "two keys, and none",
                "#EXT-X-KEY:METHOD=AES-128,URI=\"k1\"\n#EXT-X-KEY:METHOD=AES-128,KEYFORMAT=\"f\",URI=\"k2\"\n#EXTINF:4,\na.ts\n#EXT-X-KEY:METHOD=NONE\n#EXTINF:4,\nb.ts",
                &[
                    "http://e/v/k1",
                    "http://e/v/k2",
                    "http://e/v/a.ts",
                    "http://e/v/b.ts",
                ],
            ),
            (
                "carriage returns",
                "#EXTINF:4,\r\na.ts\r\n",
                &["http://e/v/a.ts"],
            ),
            ("nothing", "", &[]),
        ];
        for (name, text, want) in table {
            for begin in ["#EXTM3U\n", "\u{feff}#EXTM3U\n"] {
                assert_eq!(urls(&format!("{begin}{text}")), *want, "{name}");
            }
        }
    }

    #[test]
    fn numbers_go_on_behind_gaps_and_what_an_update_skips() {
        let body = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-SKIP:SKIPPED-SEGMENTS=5\n\
                    #EXTINF:4,\n#EXT-X-GAP\na.ts\n#EXTINF:4,\nb.ts\n";
        let Some(Listed::Media(media)) = read(body.as_bytes(), BASE) else {
            panic!("a media playlist");
        };
        assert_eq!(media.segments[0].number, 16);
    }
}
