//! A stored object. A hit clones an `Arc` of it and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pingora::http::ResponseHeader;

use super::body::Body;
use super::budget::Permit;
use super::cache_control::CacheControl;
use super::head::HeadLines;
use super::key::RealmId;
use super::lifetime::{Bypass, Freshness, State};
use super::purge::{Epoch, Mode, Purges};
use super::slices::Part;
use crate::hls::{Kind, Pace};
use crate::origin::Validators;
use crate::path::CanonicalPath;

/// Bytes that an entry costs besides its body: the object, its head in both
/// forms, its key and moka's own records.
pub const ENTRY_OVERHEAD: usize = 2048;

/// One answer of the origin, whole.
pub struct Object {
    pub status: u16,
    /// Built once; only what changes with each response is added.
    pub head: ResponseHeader,
    /// The same as text.
    pub lines: HeadLines,
    pub body: Body,
    /// Of what: the body is a slice of it.
    pub part: Option<Part>,
    /// The same without its coding, where it is stored with one.
    pub decoded: Option<Arc<Object>>,
    pub kind: Kind,
    pub pace: Option<Pace>,
    pub freshness: Freshness,
    pub validators: Validators,
    /// What the origin allowed, for the next 304 that says nothing new.
    pub control: CacheControl,
    /// Tells the key in Cache-Status and logs.
    pub fingerprint: Arc<str>,
    /// `Some`: shared with those who waited for it, and not stored.
    pub bypass: Option<Bypass>,
    /// The budget's share for head and key.
    pub permit: Option<Permit>,
    pub name: Name,
    pub hits: Hits,
    /// The cache has it: it is no reader of it who keeps it in memory.
    pub stored: AtomicBool,
}

/// How often an object was served, about. One hit of [`Hits::WEIGHT`] is
/// counted, for that many: on a busy object every core would wait for a number
/// that each hit changes.
#[derive(Default)]
pub struct Hits(AtomicU64);

impl Hits {
    pub const WEIGHT: u64 = 16;

    /// One more; `drawn` at random, a like chance for each value.
    pub fn count(&self, drawn: u32) {
        if u64::from(drawn) % Self::WEIGHT == 0 {
            self.0.fetch_add(Self::WEIGHT, Relaxed);
        }
    }

    pub fn about(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Of an object that takes this one's place with the same body.
    pub fn carried_over(&self) -> Self {
        Self(AtomicU64::new(self.about()))
    }
}

/// What a purge may name an object by.
pub struct Name {
    pub realm: RealmId,
    pub path: CanonicalPath,
    pub tags: Vec<String>,
    /// The last purge when its pull began.
    pub born: Epoch,
    /// The last purge that it was compared with, and whether one made it stale.
    compared: AtomicU64,
}

/// The lowest bit of [`Name::compared`]; the number stands above it.
const STALE: u64 = 1;

impl Name {
    pub fn new(realm: RealmId, path: CanonicalPath, tags: Vec<String>, born: Epoch) -> Self {
        Self {
            realm,
            path,
            tags,
            born,
            compared: AtomicU64::new(born << 1),
        }
    }
}

impl Object {
    /// What purges have made of it.
    pub fn purged(&self, purges: &Purges) -> Option<Mode> {
        let (name, latest) = (&self.name, purges.latest());
        let compared = name.compared.load(Relaxed);
        if compared >> 1 == latest {
            return (compared & STALE != 0).then_some(Mode::Soft);
        }
        let mode = self.purged_since(purges, name.born);
        if mode != Some(Mode::Hard) {
            let stale = if mode.is_some() { STALE } else { 0 };
            name.compared.store(latest << 1 | stale, Relaxed);
        }
        mode
    }

    /// What of these purges, since that one, names it.
    pub fn purged_since(&self, purges: &Purges, born: Epoch) -> Option<Mode> {
        let Name {
            realm, path, tags, ..
        } = &self.name;
        purges.since(born, *realm, path.as_str(), self.kind, tags)
    }

    /// Bytes for moka's scales: what it takes of the budget.
    pub fn weight(&self) -> u32 {
        let decoded = self.decoded.as_ref().map_or(0, |it| it.body.footprint());
        u32::try_from(self.body.footprint() + decoded)
            .unwrap_or(u32::MAX)
            .saturating_add(ENTRY_OVERHEAD as u32)
    }

    /// What may be done with it now.
    pub fn state(&self, now: Instant) -> State {
        let purged = self.name.compared.load(Relaxed) & STALE != 0;
        match self.freshness.state(now) {
            State::Fresh | State::StaleWhileRevalidate if purged => State::StaleIfError,
            state => state,
        }
    }

    /// Bytes that whoever reads it keeps in memory: those of a body that the
    /// cache does not have, or has no more.
    pub fn pinned(&self) -> usize {
        match self.stored.load(Relaxed) {
            true => 0,
            false => {
                let decoded = self.decoded.as_ref().map_or(0, |it| it.body.len());
                usize::try_from(self.body.len() + decoded).unwrap_or(usize::MAX)
            }
        }
    }

    /// Whether this says that there is no such object.
    pub fn is_negative(&self) -> bool {
        self.status >= 400
    }
}
