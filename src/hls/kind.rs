//! Pure: the kind of an object, by its name, its type and its first bytes.

use super::{Manifest, Playlist};
use crate::path::{CanonicalPath, last_part};

/// What an object is to a player. The metric label `subsystem` groups them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Of HLS.
    Playlist,
    /// Of DASH.
    Manifest,
    /// A media segment or part.
    Segment,
    /// An initialisation section: `init*.mp4` and the like, or named by an EXT-X-MAP.
    Init,
    /// An AES-128 key: `.key`, or named by an EXT-X-KEY.
    Key,
    Other,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Playlist,
        Kind::Manifest,
        Kind::Segment,
        Kind::Init,
        Kind::Key,
        Kind::Other,
    ];

    /// The kind by name, without regard to case.
    pub fn of(path: &CanonicalPath) -> Self {
        Self::of_name(path.file_name())
    }

    /// The same of the last part of a path.
    pub fn of_name(name: &str) -> Self {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match medium(extension).map(|(_, kind, _)| *kind) {
            Some(Kind::Segment) if begins_with(name, "init") => Kind::Init,
            Some(kind) => kind,
            // Smooth Streaming's way to name a list in another form.
            None if contains(name, "format=m3u8") => Kind::Playlist,
            None if contains(name, "format=mpd") => Kind::Manifest,
            None => Kind::Other,
        }
    }

    /// The same of a URL or a reference, by the last part of its path.
    pub fn of_url(url: &str) -> Self {
        Self::of_name(last_part(url))
    }

    /// What a Content-Type says, where it says more than a name: RFC 8216 §4 has
    /// a playlist known by either.
    pub fn of_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |types: &[&str]| types.iter().any(|it| essence.eq_ignore_ascii_case(it));
        if is(&[
            "application/vnd.apple.mpegurl",
            "audio/mpegurl",
            "application/x-mpegurl",
            "audio/x-mpegurl",
            "application/mpegurl",
        ]) {
            Some(Kind::Playlist)
        } else if is(&["application/dash+xml", "video/vnd.mpeg.dash.mpd"]) {
            Some(Kind::Manifest)
        } else {
            None
        }
    }

    /// What the first bytes of a body say.
    pub fn of_body(start: &[u8]) -> Option<Self> {
        if Playlist::begins(start) {
            return Some(Kind::Playlist);
        }
        Manifest::begins(start).then_some(Kind::Manifest)
    }

    /// The name in `warren explain`, the log and the zone's `ttl` table.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Playlist => "playlist",
            Kind::Manifest => "manifest",
            Kind::Segment => "segment",
            Kind::Init => "init",
            Kind::Key => "key",
            Kind::Other => "other",
        }
    }

    /// The metric label: playlist, segment, init, key or other.
    pub const fn subsystem(self) -> &'static str {
        match self {
            Kind::Manifest => Kind::Playlist.name(),
            other => other.name(),
        }
    }

    /// A playlist or manifest: its body tells its lifetime.
    pub const fn is_list(self) -> bool {
        matches!(self, Kind::Playlist | Kind::Manifest)
    }

    /// Whether the object never changes under its name.
    pub const fn is_immutable(self) -> bool {
        matches!(self, Kind::Segment | Kind::Init)
    }

    /// The media type to send where the origin names none; `None`: it is not
    /// known here either.
    pub fn content_type(self, path: &CanonicalPath) -> Option<&'static str> {
        match self {
            Kind::Playlist => Some("application/vnd.apple.mpegurl"),
            Kind::Manifest => Some("application/dash+xml"),
            _ => medium(path.extension()?).and_then(|(_, _, mime)| *mime),
        }
    }
}

/// Extensions, what they are to a player, and their media types.
const MEDIA: &[(&[&str], Kind, Option<&str>)] = &[
    (&["m3u8", "m3u"], Kind::Playlist, None),
    (&["mpd"], Kind::Manifest, None),
    (&["key"], Kind::Key, None),
    (&["ts", "m2ts", "mts"], Kind::Segment, Some("video/mp2t")),
    (
        &["m4s", "mp4", "m4v", "m4f", "cmfv"],
        Kind::Segment,
        Some("video/mp4"),
    ),
    (&["m4a", "cmfa"], Kind::Segment, Some("audio/mp4")),
    (&["m4i"], Kind::Init, Some("video/mp4")),
    (&["init"], Kind::Init, None),
    (&["cmft", "cmfm"], Kind::Segment, Some("application/mp4")),
    (&["aac", "adts"], Kind::Segment, Some("audio/aac")),
    (&["ac3"], Kind::Segment, Some("audio/ac3")),
    (&["ec3", "eac3"], Kind::Segment, Some("audio/eac3")),
    (&["ac4"], Kind::Segment, Some("audio/ac4")),
    (&["mp3", "mp2", "mpa"], Kind::Segment, Some("audio/mpeg")),
    (&["flac"], Kind::Segment, Some("audio/flac")),
    (&["ogg", "oga", "opus"], Kind::Segment, Some("audio/ogg")),
    (&["webm"], Kind::Segment, Some("video/webm")),
    (&["vtt", "webvtt"], Kind::Segment, Some("text/vtt")),
    (&["ttml"], Kind::Segment, Some("application/ttml+xml")),
];

fn medium(
    extension: &str,
) -> Option<&'static (&'static [&'static str], Kind, Option<&'static str>)> {
    let is = |known: &&str| extension.eq_ignore_ascii_case(known);
    MEDIA
        .iter()
        .find(|(extensions, ..)| extensions.iter().any(is))
}

fn begins_with(name: &str, start: &str) -> bool {
    let found = name.get(..start.len());
    found.is_some_and(|found| found.eq_ignore_ascii_case(start))
}

fn contains(name: &str, part: &str) -> bool {
    name.contains('(') && name.to_ascii_lowercase().contains(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_extension_of_the_contract_has_a_kind() {
        let table = [
            ("/a/index.m3u8", Kind::Playlist),
            ("/a/INDEX.M3U8", Kind::Playlist),
            ("/a/seg.ts", Kind::Segment),
            ("/a/seg.m4s", Kind::Segment),
            ("/a/part1.2.m4s", Kind::Segment),
            ("/a/movie.mp4", Kind::Segment),
            ("/a/a.m4a", Kind::Segment),
            ("/a/v.m4v", Kind::Segment),
            ("/a/v.cmfv", Kind::Segment),
            ("/a/a.cmfa", Kind::Segment),
            ("/a/a.aac", Kind::Segment),
            ("/a/s.vtt", Kind::Segment),
            ("/a/s.webvtt", Kind::Segment),
            ("/a/init.mp4", Kind::Init),
            ("/a/init_0.m4s", Kind::Init),
            ("/a/enc.key", Kind::Key),
            ("/a/m.mpd", Kind::Manifest),
            ("/a/list.M3U", Kind::Playlist),
            ("/a/x.ism/manifest(format=m3u8-aapl)", Kind::Playlist),
            (
                "/a/x.ism/Manifest(video,Format=mpd-time-csf)",
                Kind::Manifest,
            ),
            ("/a/x.ism/manifest", Kind::Other),
            ("/a/a.mp3", Kind::Segment),
            ("/a/a.ec3", Kind::Segment),
            ("/a/seg.m4f", Kind::Segment),
            ("/a/head.m4i", Kind::Init),
            ("/a/poster.jpg", Kind::Other),
            ("/a.ts/poster", Kind::Other),
            ("/", Kind::Other),
        ];
        for (path, want) in table {
            let path = CanonicalPath::parse(path).expect("a path");
            assert_eq!(Kind::of(&path), want, "{path:?}");
        }
    }

    #[test]
    fn a_type_or_the_first_bytes_tell_where_no_name_does() {
        let types = [
            ("application/vnd.apple.mpegurl", Some(Kind::Playlist)),
            ("Audio/MPEGURL; charset=utf-8", Some(Kind::Playlist)),
            ("application/dash+xml", Some(Kind::Manifest)),
            ("text/plain", None),
            ("", None),
        ];
        for (text, want) in types {
            assert_eq!(Kind::of_type(text), want, "{text}");
        }
        let bodies = [
            ("#EXTM3U\n#EXT", Some(Kind::Playlist)),
            ("\u{feff}#EXTM3U\r\n", Some(Kind::Playlist)),
            ("#EXTM3U8", None),
            ("<?xml version=\"1.0\"?>\n<MPD xmlns", Some(Kind::Manifest)),
            ("<html>", None),
            ("", None),
        ];
        for (text, want) in bodies {
            assert_eq!(Kind::of_body(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_case_of_a_name_changes_nothing(name in "/[a-z0-9]{0,4}\\.(m3u8|ts|m4s|mp4|key|mpd|jpg|vtt|aac)") {
            let of = |text: &str| CanonicalPath::parse(text).map(|path| Kind::of(&path));
            prop_assert_eq!(of(&name), of(&name.to_ascii_uppercase()));
        }
    }
}
