//! What a pull has brought becomes an object: its lifetime, its head, and what
//! later requests need to know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::SET_COOKIE;
use pingora::http::ResponseHeader;

use super::Pulls;
use super::answer::{self, Good, Told};
use super::flight::{Landing, LiveHead};
use super::news::News;
use super::reading::{Reading, gunzip};
use super::task::Pull;
use crate::cache::body::Body;
use crate::cache::cache_control::{CacheControl, expires_in};
use crate::cache::head::{HeadFacts, HeadLines, update, varies_by_coding, without_coding};
use crate::cache::lifetime::{self, Answer, Bypass, Freshness, Lifetime};
use crate::cache::object::{ENTRY_OVERHEAD, Hits, Name, Object};
use crate::cache::purge::tags;
use crate::hls::{Kind, Pace};
use crate::origin::{Exchange, Failure, Framing, Validators};
use crate::path::CanonicalPath;
use crate::zone::{CachePolicy, Zone};

/// A status of the origin that is not stored is for everybody who asks within
/// this: under `hls` nothing of a viewer has brought it about, and one broken
/// object costs its origin two requests a second.
const STATUS_FOR: Duration = Duration::from_millis(500);

impl Pull {
    /// The head of a body that still arrives.
    pub(super) fn live_head(&self, exchange: &Exchange) -> LiveHead {
        let headers = &exchange.head.headers;
        let lifetime = self.keep(exchange, None).ok();
        let fresh_for = lifetime.unwrap_or_default().fresh;
        let left = fresh_for.saturating_sub(self.age(headers));
        let strict = self.job.zone.cache.policy == CachePolicy::Origin;
        LiveHead {
            fresh_until: strict.then(|| self.pulls.clock.monotonic() + left),
            head: self.viewer_head(exchange, lifetime),
            length: exchange.head.length(),
            part: self.slice_of.clone(),
            validators: self.validators(headers),
            age_on_arrival: self.age(headers),
            fingerprint: self.job.key.fingerprint(),
            replaced: self.job.stale.is_some(),
        }
    }

    /// The body is whole.
    pub(super) async fn land(&mut self, exchange: &Exchange, body: Body) -> Result<(), Failure> {
        let headers = &exchange.head.headers;
        let is_list = self.job.kind.is_list() && exchange.head.status == 200;
        let read = is_list.then(|| Reading::of(headers, &body)).flatten();
        let mut read = read.unwrap_or_default();
        let told = answer::told(self.job.kind, &read);
        // An encoder that begins its playlist anew, or a page that stands in for
        // it: what is known is better.
        let hls = self.job.zone.cache.policy == CachePolicy::Hls;
        if hls && is_list && told.pace.is_none() && self.is_covered() {
            return Err(Failure::NotAPlaylist);
        }
        // A few coded bytes may stand for many: what they are is counted, too.
        let text = read.decoded.take().filter(|_| told.pace.is_some());
        let is_coded = text.is_some();
        let decoded = match text {
            Some(text) => self.counted(&body, text).await,
            None => None,
        };
        let kept = match self.unkept {
            Some(reason) => Err(reason),
            // Without room for what they are, they go as they came.
            None if is_coded && decoded.is_none() => Err(Bypass::Budget),
            None => self.keep(exchange, told.pace),
        };
        if told.pace.is_some() {
            let media = self.news().landed(&told, &read.text);
            if kept.is_ok() && matches!(told.pace, Some(Pace::Live { .. })) {
                self.pull_ahead(&media);
            }
        }
        let mut head = self.viewer_head(exchange, kept.ok());
        if is_coded {
            varies_by_coding(&mut head);
        }
        let decoded = decoded.map(|text| {
            let mut plain = head.clone();
            without_coding(&mut plain);
            let validators = self.validators(headers).weak();
            self.decoded(headers, plain, kept, text, validators)
        });
        let object = Object {
            body,
            decoded,
            pace: told.pace,
            ..self.object(headers, head, kept)
        };
        self.store(object, false);
        Ok(())
    }

    /// A decoded body in the budget. Who waits for room holds nothing of it.
    async fn counted(&self, coded: &Body, text: Bytes) -> Option<Body> {
        let (bytes, budget) = (text.len(), &self.pulls.store.budget);
        if let Ok(body) = Body::counted(text, budget) {
            return Some(body);
        }
        let permit = self.pulls.room(bytes, || budget.take(bytes)).await?;
        Some(Body::with_permit(gunzip(coded)?.into(), permit))
    }

    /// What a viewer has who does not take the coding that an object is stored in.
    fn decoded(
        &self,
        headers: &HeaderMap,
        head: ResponseHeader,
        kept: Result<Lifetime, Bypass>,
        body: Body,
        validators: Validators,
    ) -> Arc<Object> {
        Arc::new(Object {
            body,
            validators,
            ..self.object(headers, head, kept)
        })
    }

    fn news(&self) -> News<'_> {
        News {
            pulls: &self.pulls,
            zone: &self.job.zone,
            path: &self.job.request.path,
            key: &self.job.key,
            kind: self.job.kind,
        }
    }

    /// An object without a body, as far as an answer's head makes it.
    fn object(
        &self,
        headers: &HeaderMap,
        head: ResponseHeader,
        kept: Result<Lifetime, Bypass>,
    ) -> Object {
        let status = head.status.as_u16();
        Object {
            status,
            lines: HeadLines::of(&head),
            head,
            body: Body::default(),
            part: self.slice_of.clone(),
            decoded: None,
            kind: self.job.kind,
            pace: None,
            freshness: Freshness {
                stored_at: self.pulls.clock.monotonic(),
                age_on_arrival: self.age(headers),
                lifetime: kept.unwrap_or_else(|reason| self.unkept(reason, status)),
            },
            validators: self.validators(headers),
            control: CacheControl::of(headers),
            fingerprint: self.job.key.fingerprint(),
            bypass: kept.err(),
            permit: self.pulls.store.budget.take(ENTRY_OVERHEAD),
            name: self.name(headers),
            hits: Hits::default(),
            stored: AtomicBool::new(false),
        }
    }

    /// How long what is not stored is shared all the same.
    fn unkept(&self, reason: Bypass, status: u16) -> Lifetime {
        let hls = self.job.zone.cache.policy == CachePolicy::Hls;
        match reason {
            Bypass::Status if hls && status >= 400 => Lifetime::only_fresh(STATUS_FOR),
            _ => Lifetime::default(),
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
        let control = control_of(&stale, headers);
        let now = self.pulls.clock.wall();
        let kept = self.confirmed(headers);
        if kept.is_ok() {
            let told = Told {
                pace: stale.pace,
                ..Told::default()
            };
            self.news().landed(&told, b"");
        }
        let said = self.job.zone.said_of(self.job.request.path.as_str());
        let for_viewer = HeadFacts {
            status: stale.status,
            origin: headers,
            shared: true,
            kind: stale.kind,
            path: &self.job.request.path,
            lifetime: kept.ok(),
            live_media: self.live_media(),
            as_it_came: self.job.zone.cache.policy == CachePolicy::Origin,
            zone_id: self.job.zone.id,
            said: &said,
            pulled_at: now,
        };
        let mut head = stale.head.clone();
        update(&mut head, &for_viewer);
        let decoded = stale.decoded.as_ref().map(|old| {
            let mut head = old.head.clone();
            update(&mut head, &for_viewer);
            let (body, validators) = (old.body.clone(), old.validators.clone());
            self.decoded(headers, head, kept, body, validators)
        });
        let object = Object {
            body: stale.body.clone(),
            part: stale.part.clone(),
            decoded,
            pace: stale.pace,
            // A 304 confirms those that it was asked with, and brings none: to a
            // date, another state of the same second may be what it speaks of.
            validators: stale.validators.clone(),
            control,
            hits: stale.hits.carried_over(),
            ..self.object(headers, head, kept)
        };
        self.store(object, true);
    }

    /// How long what the origin has confirmed may be kept.
    pub(super) fn confirmed(&self, headers: &HeaderMap) -> Result<Lifetime, Bypass> {
        let stale = self.job.stale.as_ref().ok_or(Bypass::Status)?;
        if let Some(reason) = self.unkept {
            return Err(reason);
        }
        // What it says besides is one viewer's, as with a 200.
        if headers.contains_key(SET_COOKIE) && !self.job.zone.cache.store_set_cookie {
            return Err(Bypass::SetCookie);
        }
        let control = control_of(stale, headers);
        let facts = self.facts(
            stale.status,
            stale.pace,
            control,
            headers,
            &stale.validators,
        );
        answer::keep(&facts, Framing::Length(0), &self.job.zone.cache)
    }

    /// Stores, then lands, then (on drop) leaves the map: in that order there
    /// is no instant with neither an object nor a flight.
    fn store(&mut self, object: Object, revalidated: bool) {
        let object = Arc::new(object);
        let purged = object.purged(&self.pulls.store.purges).is_some();
        let forgotten = self.alone && self.invalidations != self.pulls.invalidations.load(Relaxed);
        let valid = !purged && !forgotten && !self.flight.invalid.load(Relaxed);
        self.linger = valid && object.freshness.lifetime.fresh == STATUS_FOR;
        let is_news = !self.job.ahead || !object.is_negative();
        if object.bypass.is_none() && valid && is_news {
            if matches!(object.status, 404 | 410) {
                let Name { realm, path, .. } = &object.name;
                self.pulls.store.live.note_missing(*realm, path);
            }
            self.pulls.store.insert(&self.job.key, &object);
            self.refresh_later(&object);
            self.linger = !self.pulls.store.holds(&self.job.key, &object);
        }
        self.flight.land(Landing {
            object,
            revalidated,
            replaced: self.job.stale.is_some(),
        });
    }

    /// How long the answer may be kept, as far as is known of it.
    pub(super) fn keep(&self, exchange: &Exchange, pace: Option<Pace>) -> Result<Lifetime, Bypass> {
        let headers = &exchange.head.headers;
        let validators = self.validators(headers);
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
            expires_in: expires_in(headers, self.pulls.clock.wall())
                .filter(|_| !cache_control.targeted),
            age: self.age(headers),
            has_validator: !validators.is_none(),
            blocking_reload: self.job.blocking_reload,
            live: self
                .pulls
                .store
                .live
                .beside(self.job.zone.realm, &self.job.request.path),
            names_return: !self.job.zone.cache.names_never_return,
            path_ttl: self.job.zone.ttl_of(self.job.request.path.as_str()),
        }
    }

    pub(super) fn validators(&self, headers: &HeaderMap) -> Validators {
        Validators::of(headers, self.pulls.clock.wall())
    }

    pub(super) fn age(&self, headers: &HeaderMap) -> Duration {
        answer::age_on_arrival(headers, self.job.zone.cache.policy, self.pulls.clock.wall())
    }

    fn viewer_head(&self, exchange: &Exchange, lifetime: Option<Lifetime>) -> ResponseHeader {
        let now = self.pulls.clock.wall();
        answer::viewer_head(
            &self.job.zone,
            self.job.kind,
            &self.job.request.path,
            &exchange.head,
            Good {
                lifetime,
                live_media: self.live_media(),
                shared: true,
            },
            now,
        )
    }

    fn live_media(&self) -> Option<Duration> {
        let (zone, path) = (&self.job.zone, &self.job.request.path);
        self.pulls.live_media(self.job.kind, zone, path)
    }
}

impl Pulls {
    /// Media of a live stream: how long they are what they are.
    pub fn live_media(&self, kind: Kind, zone: &Zone, path: &CanonicalPath) -> Option<Duration> {
        let live = self.store.live.beside(zone.realm, path);
        lifetime::live_media(kind, live, !zone.cache.names_never_return)
    }
}

/// What a 304 says of caching, and where it is silent what was said before.
fn control_of(stale: &Object, headers: &HeaderMap) -> CacheControl {
    match CacheControl::is_said(headers) {
        true => CacheControl::of(headers),
        false => stale.control,
    }
}
