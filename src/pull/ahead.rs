//! The newest segment of a live stream that is watched is pulled when the
//! playlist lands that names it, and not when the first player asks: where the
//! origin goes away in between, players are told a name that nobody has. One
//! 503 for it ended VLC and Chromium's own player (measured).

use std::sync::Arc;

use super::task::Pull;
use super::{Job, Place};
use crate::cache::demand::Demand;
use crate::cache::key::{Key, NO_HEADERS};
use crate::hls::Kind;
use crate::origin::Request;
use crate::path::CanonicalPath;
use crate::per_address::Guest;
use crate::zone::{CachePolicy, QueryRule};

impl Pull {
    /// `media`: what a live playlist names, the newest last.
    pub(super) fn pull_ahead(&self, media: &[CanonicalPath]) {
        let rules = &self.job.zone.cache;
        // Where the path alone is the key.
        let plain = rules.policy == CachePolicy::Hls
            && rules.query == QueryRule::Ignore
            && rules.vary.is_empty();
        let Some((newest, before)) = media.split_last().filter(|_| plain) else {
            return;
        };
        let is_watched = before.iter().any(|path| self.has(path));
        if Kind::of(newest) != Kind::Segment || !is_watched || self.has(newest) {
            return;
        }
        let (key, realm) = (self.plain_key(newest), self.job.zone.realm);
        let place = Place {
            key: &key,
            base: &key,
            kind: Kind::Segment,
            demand: Demand::default(),
            realm,
            path: newest,
        };
        let job = |born| Job {
            key: key.clone(),
            base: key.clone(),
            kind: Kind::Segment,
            zone: Arc::clone(&self.job.zone),
            origin: Arc::clone(&self.job.origin),
            request: self.request_ahead(newest),
            blocking_reload: false,
            stale: None,
            place: Guest::uncounted(),
            born,
            traces: None,
            ahead: true,
        };
        // Whoever asks meanwhile rides it; nobody has to.
        drop(self.pulls.join(&place, Some(job)));
    }

    fn has(&self, path: &CanonicalPath) -> bool {
        let store = &self.pulls.store;
        store.get(&self.plain_key(path), Kind::of(path)).is_some()
    }

    fn plain_key(&self, path: &CanonicalPath) -> Key {
        Key::new(self.job.zone.realm, false, path, [], NO_HEADERS)
    }

    fn request_ahead(&self, path: &CanonicalPath) -> Request {
        let mut request = self.job.request.clone();
        request.path = path.clone();
        request.query = String::new();
        request.validators = None;
        request.hold = None;
        request.covered = false;
        request.viewer.trace = None;
        request
    }
}
