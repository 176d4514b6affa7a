//! What a pull has brought becomes an object: its lifetime, its head, and what
//! later requests need to know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderMap;
use pingora::http::ResponseHeader;

use super::answer::{self, Told};
use super::flight::{Landing, LiveHead};
use super::task::Pull;
use crate::cache::body::Body;
use crate::cache::cache_control::CacheControl;
use crate::cache::head::{HeadFacts, HeadLines, update};
use crate::cache::lifetime::{Answer, Bypass, Freshness, Lifetime};
use crate::cache::object::{ENTRY_OVERHEAD, Hits, Name, Object};
use crate::cache::purge::tags;
use crate::cache::store::Named;
use crate::hls::{Kind, Pace};
use crate::origin::{Exchange, Framing, Validators};
use crate::zone::CachePolicy;

impl Pull {
    /// The head of a body that still arrives.
    pub(super) fn live_head(&self, exchange: &Exchange) -> LiveHead {
        let headers = &exchange.head.headers;
        let lifetime = self.keep(exchange, None).ok();
        LiveHead {
            head: self.viewer_head(exchange, lifetime),
            length: exchange.head.length(),
            validators: answer::validators(headers),
            age_on_arrival: self.age(headers),
            fingerprint: self.job.key.fingerprint(),
            replaced: self.job.stale.is_some(),
        }
    }

    /// The body is whole.
    pub(super) fn land(&mut self, exchange: &Exchange, body: Body) {
        let headers = &exchange.head.headers;
        let told = match (self.job.kind, exchange.head.status) {
            (Kind::Playlist | Kind::Manifest, 200) => {
                let whole: Vec<u8> = body.slices(0..body.len()).flatten().collect();
                answer::told(self.job.kind, headers, &whole)
            }
            _ => Told::default(),
        };
        let kept = self.keep(exchange, told.pace);
        if kept.is_ok() {
            self.remember(&told);
        }
        let head = self.viewer_head(exchange, kept.ok());
        let object = Object {
            body,
            pace: told.pace,
            ..self.object(headers, head, kept)
        };
        self.store(object, false);
    }

    /// An object without a body, as far as an answer's head makes it.
    fn object(
        &self,
        headers: &HeaderMap,
        head: ResponseHeader,
        kept: Result<Lifetime, Bypass>,
    ) -> Object {
        Object {
            status: head.status.as_u16(),
            lines: HeadLines::of(&head),
            head,
            body: Body::default(),
            kind: self.job.kind,
            pace: None,
            freshness: Freshness {
                stored_at: self.pulls.clock.monotonic(),
                age_on_arrival: self.age(headers),
                lifetime: kept.unwrap_or_default(),
            },
            validators: answer::validators(headers),
            control: CacheControl::of(headers),
            fingerprint: self.job.key.fingerprint(),
            bypass: kept.err(),
            permit: self.pulls.store.budget.take(ENTRY_OVERHEAD),
            name: self.name(headers),
            hits: Hits::default(),
            stored: AtomicBool::new(false),
        }
    }

    /// What a purge may name the object by. A 304 that names no tags leaves
    /// those that there are.
    fn name(&self, headers: &HeaderMap) -> Name {
        let mut tags = tags(headers);
        if let Some(stale) = self.job.stale.as_ref().filter(|_| tags.is_empty()) {
            tags.clone_from(&stale.name.tags);
        }
        let path = self.job.request.path.clone();
        Name::new(self.job.zone.realm, path, tags, self.job.born)
    }

    /// The origin said 304: the stored body lives on with a new lifetime.
    pub(super) fn confirm(&mut self, headers: &HeaderMap) {
        let Some(stale) = self.job.stale.clone() else {
            return;
        };
        let control = match CacheControl::is_said(headers) {
            true => CacheControl::of(headers),
            false => stale.control,
        };
        let now = self.pulls.clock.wall();
        let validators = answer::merge(answer::validators(headers), &stale.validators);
        let facts = self.facts(stale.status, stale.pace, control, headers, &validators);
        let kept = answer::keep(&facts, Framing::Length(0), &self.job.zone.cache);
        if kept.is_ok() {
            self.remember(&Told {
                pace: stale.pace,
                ..Told::default()
            });
        }
        let for_viewer = HeadFacts {
            status: stale.status,
            origin: headers,
            shared: true,
            kind: stale.kind,
            path: &self.job.request.path,
            lifetime: kept.ok(),
            as_it_came: self.job.zone.cache.policy == CachePolicy::Origin,
            zone_id: self.job.zone.id,
            cors: self.job.zone.cors,
            pulled_at: now,
        };
        let mut head = stale.head.clone();
        update(&mut head, &for_viewer);
        let object = Object {
            body: stale.body.clone(),
            pace: stale.pace,
            validators,
            control,
            hits: stale.hits.carried_over(),
            ..self.object(headers, head, kept)
        };
        self.store(object, true);
    }

    /// Stores, then lands, then (on drop) leaves the map: in that order there
    /// is no instant with neither an object nor a flight.
    fn store(&mut self, object: Object, revalidated: bool) {
        let object = Arc::new(object);
        let purged = object.name.purged(&self.pulls.store.purges).is_some();
        let valid = !purged && !self.flight.invalid.load(Relaxed);
        if object.bypass.is_none() && valid {
            self.pulls.store.insert(&self.job.key, Arc::clone(&object));
            self.linger = !self
                .pulls
                .store
                .holds(&self.job.key, self.job.kind, &object);
        }
        self.flight.land(Landing {
            object,
            revalidated,
            replaced: self.job.stale.is_some(),
        });
    }

    /// What later requests of this folder need to know of a playlist.
    fn remember(&self, told: &Told) {
        let (zone, path) = (self.job.zone.realm, &self.job.request.path);
        match told.pace {
            Some(Pace::Live { target } | Pace::LowLatency { target }) => {
                self.pulls.store.note_folder(zone, path, Some(target));
            }
            Some(Pace::Ended) => self.pulls.store.note_folder(zone, path, None),
            Some(Pace::Multivariant) | None => {}
        }
        let keys = told.keys.iter().map(|uri| (uri, Named::Key));
        let hints = told.hints.iter().map(|uri| (uri, Named::HintedPart));
        for (uri, named) in keys.chain(hints) {
            if let Some(path) = path.join(uri) {
                self.pulls.store.note_name(zone, path, named);
            }
        }
    }

    /// How long the answer may be kept, as far as is known of it.
    pub(super) fn keep(&self, exchange: &Exchange, pace: Option<Pace>) -> Result<Lifetime, Bypass> {
        let headers = &exchange.head.headers;
        let validators = answer::validators(headers);
        let facts = self.facts(
            exchange.head.status,
            pace,
            CacheControl::of(headers),
            headers,
            &validators,
        );
        answer::keep(&facts, exchange.head.framing, &self.job.zone.cache)
    }

    fn facts(
        &self,
        status: u16,
        pace: Option<Pace>,
        cache_control: CacheControl,
        headers: &HeaderMap,
        validators: &Validators,
    ) -> Answer {
        Answer {
            status,
            kind: self.job.kind,
            pace,
            cache_control,
            expires_in: answer::expires_in(headers, self.pulls.clock.wall())
                .filter(|_| !cache_control.targeted),
            age: self.age(headers),
            has_validator: validators.etag.is_some() || validators.last_modified.is_some(),
            blocking_reload: self.job.blocking_reload,
            live_folder: self
                .pulls
                .store
                .live_folder(self.job.zone.realm, &self.job.request.path),
        }
    }

    fn age(&self, headers: &HeaderMap) -> Duration {
        answer::age_on_arrival(headers, self.job.zone.cache.policy, self.pulls.clock.wall())
    }

    fn viewer_head(&self, exchange: &Exchange, lifetime: Option<Lifetime>) -> ResponseHeader {
        let now = self.pulls.clock.wall();
        answer::viewer_head(
            &self.job.zone,
            self.job.kind,
            &self.job.request.path,
            &exchange.head,
            lifetime,
            true,
            now,
        )
    }
}
