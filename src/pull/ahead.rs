//! What is asked for before a viewer does, of a live stream that is watched:
//! where the origin goes away, its viewers have what it made until then.
//!
//! - The newest segment, when the playlist lands that names it: players are told
//!   no name that nobody has. One 503 for it ended VLC and Chromium's own player
//!   (measured).
//! - The playlist itself, once more, when its target duration is over and no
//!   viewer was faster. Chromium's own player asks each one to two target
//!   durations: what the edge had was as old, and its buffer ran empty
//!   (measured).

use std::sync::Arc;

use tokio::time::sleep;

use super::task::Pull;
use super::{Job, Place};
use crate::cache::demand::Demand;
use crate::cache::key::Key;
use crate::cache::object::Object;
use crate::hls::{Kind, Pace};
use crate::origin::Request;
use crate::path::CanonicalPath;
use crate::per_address::Guest;
use crate::zone::{Asked, CachePolicy, QueryRule};

impl Pull {
    /// `media`: what a live playlist names, the newest last.
    pub(super) fn pull_ahead(&self, media: &[CanonicalPath]) {
        let rules = &self.job.zone.cache;
        // Where the path alone is the key.
        let plain = rules.policy == CachePolicy::Hls
            && rules.query == QueryRule::Ignore
            && rules.vary.is_empty()
            && !self.job.zone.origin.forward_host;
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
        let job = Job {
            key: key.clone(),
            base: key.clone(),
            kind: Kind::Segment,
            request: self.request_ahead(newest),
            stale: None,
            ..self.job_ahead()
        };
        let job = |born| Job { born, ..job };
        // Whoever asks meanwhile rides it; nobody has to.
        drop(self.pulls.join(&place, Some(job)));
    }

    /// Once for each time that a viewer has asked, so that a stream whose last
    /// viewer has left is left, too.
    pub(super) fn refresh_later(&self, object: &Arc<Object>) {
        let Job {
            ahead,
            blocking_reload,
            zone,
            ..
        } = &self.job;
        let goes_on = zone.cache.policy == CachePolicy::Hls && !ahead && !blocking_reload;
        let Some(Pace::Live { target }) = object.pace.filter(|_| goes_on) else {
            return;
        };
        let wait = target.max(object.freshness.lifetime.fresh);
        let (pulls, job) = (Arc::clone(&self.pulls), self.job_ahead());
        // Its memory is not held for that.
        let known = Arc::downgrade(object);
        tokio::spawn(async move {
            sleep(wait).await;
            let stored = pulls.store.get(&job.key);
            let Some(stored) = stored.filter(|it| Arc::as_ptr(it) == known.as_ptr()) else {
                return;
            };
            let (key, base, path) = (job.key.clone(), job.base.clone(), job.request.path.clone());
            let place = Place {
                key: &key,
                base: &base,
                kind: job.kind,
                demand: Demand::default(),
                realm: job.zone.realm,
                path: &path,
            };
            let stale = Some(stored);
            let job = |born| Job { stale, born, ..job };
            drop(pulls.join(&place, Some(job)));
        });
    }

    /// The same again, for no viewer.
    fn job_ahead(&self) -> Job {
        let job = &self.job;
        Job {
            key: job.key.clone(),
            base: job.base.clone(),
            kind: job.kind,
            zone: Arc::clone(&job.zone),
            origin: Arc::clone(&job.origin),
            request: self.request_again(),
            blocking_reload: false,
            slice: None,
            stale: None,
            place: Guest::nobodys(),
            born: job.born,
            traces: None,
            ahead: true,
        }
    }

    fn has(&self, path: &CanonicalPath) -> bool {
        let store = &self.pulls.store;
        store.get(&self.plain_key(path)).is_some()
    }

    fn plain_key(&self, path: &CanonicalPath) -> Key {
        let (_, key) = self
            .job
            .zone
            .place(path, None, Kind::of(path), &Asked::plainly());
        key
    }

    fn request_ahead(&self, path: &CanonicalPath) -> Request {
        let mut request = self.request_again();
        request.path = path.clone();
        request.query = String::new();
        request
    }

    fn request_again(&self) -> Request {
        let mut request = self.job.request.clone();
        request.validators = None;
        request.hold = None;
        request.covered = false;
        request.viewer.trace = None;
        request
    }
}
