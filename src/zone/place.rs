//! Pure: what of a request counts in a zone's cache, and the key that this makes.
//! No other place makes the key of a target.

use http::header::HeaderName;

use super::{Selected, Zone, host_of};
use crate::cache::key::Key;
use crate::hls::Kind;
use crate::path::CanonicalPath;

/// What of a request, besides its target, may keep answers apart.
pub struct Asked<'h, F> {
    /// Over TLS.
    pub https: bool,
    pub host: Option<&'h str>,
    /// The lines of a header that the zone keeps apart, as they are sent on.
    pub lines: F,
}

impl Asked<'_, fn(&HeaderName) -> Vec<&'static [u8]>> {
    /// Without anything besides.
    pub fn plainly() -> Self {
        Self {
            https: false,
            host: None,
            lines: |_| Vec::new(),
        }
    }
}

impl Zone {
    /// What of a query counts.
    pub fn select<'q>(&self, query: Option<&'q str>, kind: Kind) -> Selected<'q> {
        let packager = !self.origin.is_s3();
        self.cache.select(query, kind, packager, self.strips_tokens)
    }

    /// What of a query counts, and the key of a target before anything that its
    /// answers vary by.
    pub fn place<'q, 'l>(
        &self,
        path: &CanonicalPath,
        query: Option<&'q str>,
        kind: Kind,
        asked: &Asked<'_, impl Fn(&HeaderName) -> Vec<&'l [u8]>>,
    ) -> (Selected<'q>, Key) {
        let selected = self.select(query, kind);
        let vary = self.cache.vary.iter();
        let vary = vary.map(|name| (name.as_str(), (asked.lines)(name)));
        let told = |host| self.origin.told_host(host).map(plain_host);
        let told_host = asked.host.and_then(told);
        let told_https = asked.https && self.tells_scheme();
        // No header has such a name.
        let host = told_host.as_ref();
        let host = host.map(|host| (":host", vec![host.as_bytes()]));
        let kept = vary.chain(host);
        let key = Key::new(self.realm, told_https, path, selected.iter(), kept);
        (selected, key)
    }
}

/// As a viewer's host is told: without what says the same.
pub fn plain_host(host: &str) -> String {
    host_of(host).to_ascii_lowercase()
}
