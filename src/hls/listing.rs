//! Pure: what a playlist lists for those who fetch it, with URLs made whole.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use m3u8_rs::{ByteRange, Playlist};

use crate::path::remove_dot_segments;

/// A playlist as a viewer reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Listed {
    Multivariant(Multivariant),
    Media(Media),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Multivariant {
    /// By bandwidth, in the order of the file; at least one.
    pub variants: Vec<(u64, String)>,
    /// Playlists of other languages, sounds and texts.
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
    /// Its initialisation section and its key, where it has them.
    pub needs: Vec<Arc<Part>>,
}

/// A URL, and the bytes of it that are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    pub url: String,
    /// A Range value.
    pub range: Option<String>,
}

/// Reads a playlist that came from `base`; `None` where it is none.
pub fn read(body: &[u8], base: &str) -> Option<Listed> {
    match m3u8_rs::parse_playlist_res(body).ok()? {
        Playlist::MasterPlaylist(master) => {
            let variants = master.variants.iter().filter(|variant| !variant.is_i_frame);
            let variants: Vec<_> = variants
                .filter_map(|variant| Some((variant.bandwidth, resolve(base, &variant.uri)?)))
                .collect();
            let renditions = master.alternatives.iter();
            let renditions = renditions.filter_map(|it| resolve(base, it.uri.as_deref()?));
            (!variants.is_empty()).then(|| {
                Listed::Multivariant(Multivariant {
                    renditions: renditions.collect(),
                    variants,
                })
            })
        }
        Playlist::MediaPlaylist(media) => Some(Listed::Media(Media {
            target: Duration::from_secs(media.target_duration.max(1)),
            ended: media.end_list,
            segments: segments(&media, base),
        })),
    }
}

fn segments(media: &m3u8_rs::MediaPlaylist, base: &str) -> Vec<Segment> {
    let mut next_byte = 0;
    // A map and a key hold for every segment behind them.
    let (mut map, mut key) = (None, None);
    let mut out = Vec::new();
    for (number, segment) in (media.media_sequence..).zip(&media.segments) {
        if let Some(named) = &segment.map {
            map = part(base, &named.uri, named.byte_range.as_ref(), &mut 0).map(Arc::new);
        }
        if let Some(named) = &segment.key {
            let uri = named.uri.as_deref();
            key = uri
                .and_then(|uri| part(base, uri, None, &mut 0))
                .map(Arc::new);
        }
        let Some(own) = part(
            base,
            &segment.uri,
            segment.byte_range.as_ref(),
            &mut next_byte,
        ) else {
            continue;
        };
        out.push(Segment {
            number,
            part: own,
            media: Duration::try_from_secs_f32(segment.duration).unwrap_or_default(),
            needs: [&map, &key].into_iter().flatten().cloned().collect(),
        });
    }
    out
}

/// `next` is where a range without an offset begins: behind the one before it
/// (RFC 8216 §4.3.2.2).
fn part(base: &str, uri: &str, range: Option<&ByteRange>, next: &mut u64) -> Option<Part> {
    let range = range.map(|range| {
        let first = range.offset.unwrap_or(*next);
        *next = first.saturating_add(range.length);
        format!("bytes={first}-{}", next.saturating_sub(1))
    });
    Some(Part {
        url: resolve(base, uri)?,
        range,
    })
}

/// A reference of a playlist as a whole URL (RFC 3986 §5.2, without `//host`).
fn resolve(base: &str, reference: &str) -> Option<String> {
    if reference.contains("://") {
        return reference.parse::<Uri>().ok().map(|_| reference.to_owned());
    }
    let uri: Uri = base.parse().ok()?;
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
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let url = format!(
        "{scheme}://{authority}{}{query}",
        remove_dot_segments(&whole)
    );
    url.parse::<Uri>().ok().map(|_| url)
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
}
