//! Pure: the kind of an object, by its path.

use crate::path::CanonicalPath;

/// What an object is to a player. The metric label `subsystem` groups them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `.m3u8`
    Playlist,
    /// `.mpd`
    Manifest,
    /// A media segment or part.
    Segment,
    /// An initialisation section (`init*.mp4` and the like).
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

    /// The kind by extension, without regard to case.
    pub fn of(path: &CanonicalPath) -> Self {
        let extension = path.extension().unwrap_or_default();
        let is = |list: &[&str]| list.iter().any(|e| extension.eq_ignore_ascii_case(e));
        if is(&[
            "ts", "m4s", "aac", "vtt", "webvtt", "cmfv", "cmfa", "mp4", "m4a", "m4v",
        ]) {
            let name = path.file_name();
            let init = name
                .get(..4)
                .is_some_and(|start| start.eq_ignore_ascii_case("init"));
            return if init { Kind::Init } else { Kind::Segment };
        }
        if is(&["m3u8"]) {
            Kind::Playlist
        } else if is(&["key"]) {
            Kind::Key
        } else if is(&["mpd"]) {
            Kind::Manifest
        } else {
            Kind::Other
        }
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

    /// Whether the object never changes under its name.
    pub const fn is_immutable(self) -> bool {
        matches!(self, Kind::Segment | Kind::Init)
    }

    /// The media type to send where the origin names none.
    pub fn content_type(self, path: &CanonicalPath) -> &'static str {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match (self, extension.as_str()) {
            (Kind::Playlist, _) => "application/vnd.apple.mpegurl",
            (Kind::Manifest, _) => "application/dash+xml",
            (_, "ts") => "video/mp2t",
            (_, "aac") => "audio/aac",
            (_, "m4a" | "cmfa") => "audio/mp4",
            (_, "vtt" | "webvtt") => "text/vtt",
            (_, "m4s" | "mp4" | "m4v" | "cmfv") => "video/mp4",
            _ => "application/octet-stream",
        }
    }
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
            ("/a/poster.jpg", Kind::Other),
            ("/a.ts/poster", Kind::Other),
            ("/", Kind::Other),
        ];
        for (path, want) in table {
            let path = CanonicalPath::parse(path).expect("a path");
            assert_eq!(Kind::of(&path), want, "{path:?}");
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
