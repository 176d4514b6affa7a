//! Pure: which path of its own zone a playlist names by a reference, as players
//! read it.

use std::borrow::Cow;

use crate::hls::Variables;
use crate::path::{CanonicalPath, encode_unsafe};
use crate::token::Target;
use crate::token::target::BLOCK;
use crate::zone::{Zone, host_of};

/// The references of one playlist.
pub struct References<'p> {
    zone: &'p Zone,
    playlist: &'p CanonicalPath,
    variables: Variables<'p>,
}

impl<'p> References<'p> {
    pub fn new(zone: &'p Zone, playlist: &'p CanonicalPath, body: &'p [u8]) -> Self {
        let lines = body.split(|byte| *byte == b'\n');
        Self {
            zone,
            playlist,
            // The objects of all viewers: no query of one of them is theirs.
            variables: Variables::of(lines, ""),
        }
    }

    /// A reference with the values of variables put in.
    pub fn put<'r>(&self, reference: &'r str) -> Cow<'r, str> {
        self.variables.put(reference)
    }

    /// `None` for another host, another scheme or a bad path.
    pub fn path(&self, reference: &str) -> Option<CanonicalPath> {
        let whole = self.put(reference);
        let reference = encode_unsafe(self.without_host(&whole)?);
        if reference.starts_with(BLOCK) {
            return Target::parse_with(&reference, self.zone.empty_segments)
                .ok()
                .map(|target| target.path);
        }
        self.playlist.join(&reference)
    }

    /// Absolute ones where the host is one of the zone's own.
    fn without_host<'r>(&self, reference: &'r str) -> Option<&'r str> {
        let rest = reference.strip_prefix("//").or_else(|| {
            let (scheme, rest) = reference.split_once("://")?;
            let known = ["http", "https"];
            let is_known = known.iter().any(|it| scheme.eq_ignore_ascii_case(it));
            is_known.then_some(rest)
        });
        let Some(rest) = rest else {
            return Some(reference);
        };
        let at = rest.find('/').unwrap_or(rest.len());
        let host = host_of(&rest[..at]);
        let own = |name: &String| name == "*" || host_of(name).eq_ignore_ascii_case(host);
        self.zone.hostnames.iter().any(own).then(|| &rest[at..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};
    use std::path::Path;

    const ZONE: &str = "[listen]\nhttp = [\"127.0.0.1:0\"]\n[[zone]]\nname = \"a\"\nhostnames = [\"cdn.test\"]\n\
         [zone.token]\nrequired = false\n[zone.origin]\nkind = \"http\"\nendpoints = [\"http://127.0.0.1:1\"]\n";

    #[test]
    fn a_reference_is_a_path_of_this_zone_however_it_is_written() {
        let config = Config::parse("test", ZONE, Path::new("."), &Environment::from([]));
        let zone = config.expect("a configuration").zones.remove(0);
        let playlist = CanonicalPath::parse("/l/i.m3u8").expect("a path");
        let body = b"#EXTM3U\n#EXT-X-DEFINE:NAME=\"b\",VALUE=\"/m\"\r\n";
        let references = References::new(&zone, &playlist, body);
        let table = [
            ("1.ts", Some("/l/1.ts")),
            ("../m/1.ts?x=1", Some("/m/1.ts")),
            ("/m/1.ts", Some("/m/1.ts")),
            ("http://cdn.test/m/1.ts", Some("/m/1.ts")),
            ("HTTPS://CDN.test:443/m/1.ts", Some("/m/1.ts")),
            ("//cdn.test./m/1.ts", Some("/m/1.ts")),
            ("http://other.test/m/1.ts", None),
            ("{$b}/1.ts", Some("/m/1.ts")),
            ("{$c}/1.ts", Some("/l/{$c}/1.ts")),
            ("a é.ts", Some("/l/a é.ts")),
            (
                "/bcdn_token=T&expires=1&token_path=%2Fm%2F/m/1.ts",
                Some("/m/1.ts"),
            ),
            ("skd://key", None),
            ("data:text/plain,x", None),
        ];
        for (reference, want) in table {
            let found = references.path(reference);
            assert_eq!(
                found.as_ref().map(CanonicalPath::as_str),
                want,
                "{reference}"
            );
        }
    }
}
