//! The stored objects: one moka cache within the budget, whatever their sizes,
//! and the short memories beside it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::budget::Budget;
use super::key::{Key, RealmId};
use super::lifetime::Bypass;
use super::live::Live;
use super::object::{Name, Object};
use super::purge::{Mode, Purges};
use super::slices::Versions;
use super::vary::{MAX_NAMES, Variation};
use crate::origin::Failure;

/// Of the budget: what moka may hold; the rest is for pulls in flight. moka
/// evicts after an insert, so without that room a full cache could not turn over.
const STORED_PERCENT: u64 = 75;
/// moka counts how often something is asked for up to 15, and lets in what was
/// asked for more often than all together that it would push out: among small
/// bodies that were asked for once each, no film would ever be stored. What was
/// refused so often is stored all the same.
const MOST_REFUSED: u32 = 16;
/// One stand-in for so many bytes: moka then counts for as many objects of twice
/// that.
const STAND_IN_BYTES: u64 = 32 << 10;
const MOST_STAND_INS: u64 = 1 << 20;
/// Refusals are remembered for one key for so many bytes of the budget.
const REFUSED_BYTES: u64 = 64 << 10;
/// Entries of the memories below.
const MEMORY_ENTRIES: u64 = 10_000;
/// A key that may not be shared is pulled by each viewer for this long before
/// it is tried again.
const PASS_FOR: Duration = Duration::from_secs(60);
/// After a failed pull its key is not pulled again for this long: what is stale
/// is served at once, and where there is nothing, the failure.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// Everything that is remembered of objects.
pub struct Store {
    objects: Cache<Key, Entry>,
    /// How often an object was not let in.
    refused: Cache<Key, u32>,
    pub budget: Budget,
    pub purges: Purges,
    /// Keys whose answers may not be shared.
    passing: Cache<Key, Bypass>,
    /// Keys whose answers must be confirmed for each request.
    unshared: Cache<Key, ()>,
    /// Keys whose last pull failed.
    failed: Cache<Key, (Failure, u32)>,
    pub live: Live,
    pub versions: Versions,
    /// What answers were seen to vary by, under `policy = "origin"`.
    variations: Cache<Key, Variation>,
    generations: AtomicU64,
    evictions: Arc<Evictions>,
}

#[derive(Clone)]
enum Entry {
    Object(Arc<Object>),
    /// It weighs nothing yet, and is let in: what is there is then updated,
    /// whatever it weighs.
    Light(Arc<Object>),
    /// See [`size_sketch`]; its weight.
    StandIn(u32),
}

impl Entry {
    fn weight(&self, key: &Key) -> u32 {
        match self {
            Self::Object(object) => object.weight().saturating_add(key.len() as u32),
            Self::Light(_) => 0,
            Self::StandIn(weight) => *weight,
        }
    }

    fn object(self) -> Option<Arc<Object>> {
        match self {
            Self::Object(object) | Self::Light(object) => Some(object),
            Self::StandIn(_) => None,
        }
    }
}

/// moka sizes what it counts requests in once, by the entries that there are when
/// the cache is half full: filled by films first, it would tell songs apart badly
/// for ever. So it is half filled by stand-ins, which are taken out again.
fn size_sketch(objects: &Cache<Key, Entry>, stored: u64) {
    let count = (stored / STAND_IN_BYTES).clamp(1, MOST_STAND_INS);
    let weight = u32::try_from((stored / 2).div_ceil(count)).unwrap_or(u32::MAX);
    let keys = || (0..count).map(Key::of_stand_in);
    for key in keys() {
        objects.insert(key, Entry::StandIn(weight));
    }
    objects.run_pending_tasks();
    for key in keys() {
        objects.invalidate(&key);
    }
    objects.run_pending_tasks();
}

/// Evictions since the start, by cause.
#[derive(Debug, Default)]
pub struct Evictions {
    pub size: AtomicU64,
    pub replaced: AtomicU64,
    pub explicit: AtomicU64,
}

impl Evictions {
    fn count(&self, entry: &Entry, cause: RemovalCause) {
        let Entry::Object(object) = entry else {
            return;
        };
        object.stored.store(false, Relaxed);
        let counter = match cause {
            RemovalCause::Size | RemovalCause::Expired => &self.size,
            RemovalCause::Replaced => &self.replaced,
            RemovalCause::Explicit => &self.explicit,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl Store {
    pub fn new(budget: Budget) -> Self {
        let stored = budget.limit() as u64 * STORED_PERCENT / 100;
        let evictions = Arc::new(Evictions::default());
        let counts = Arc::clone(&evictions);
        let objects = Cache::builder()
            .max_capacity(stored)
            .weigher(|key: &Key, entry: &Entry| entry.weight(key))
            .eviction_listener(move |_, entry, cause| counts.count(&entry, cause))
            .build();
        size_sketch(&objects, stored);
        Self {
            objects,
            refused: Cache::new(stored / REFUSED_BYTES),
            budget,
            purges: Purges::default(),
            passing: Cache::builder()
                .max_capacity(MEMORY_ENTRIES)
                .time_to_live(PASS_FOR)
                .build(),
            unshared: Cache::builder()
                .max_capacity(MEMORY_ENTRIES)
                .time_to_live(PASS_FOR)
                .build(),
            failed: Cache::builder()
                .max_capacity(MEMORY_ENTRIES)
                .time_to_live(FAILED_FOR)
                .build(),
            live: Live::default(),
            versions: Versions::default(),
            variations: Cache::builder().max_capacity(MEMORY_ENTRIES).build(),
            generations: AtomicU64::new(0),
            evictions,
        }
    }

    /// The object under a key, fresh or not; not one that was purged, or denies
    /// what is there by now.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        let object = self.objects.get(key)?.object()?;
        if object.purged(&self.purges) == Some(Mode::Hard) || self.is_contradicted(&object) {
            self.objects.invalidate(key);
            return None;
        }
        Some(object)
    }

    fn all(&self) -> impl Iterator<Item = Arc<Object>> + '_ {
        self.objects.iter().filter_map(|(_, entry)| entry.object())
    }

    /// How many stored objects these purges would end; those that are gone
    /// already do not count.
    pub fn count(&self, wanted: &Purges) -> usize {
        let names = |object: &Object| {
            object.purged_since(wanted, 0).is_some()
                && object.purged(&self.purges) != Some(Mode::Hard)
        };
        self.all().filter(|object| names(object)).count()
    }

    /// Gives back at once what purges have ended: until it is asked for it would
    /// hold its memory, and keep others out by its old fame.
    pub fn sweep(&self) {
        for (key, entry) in &self.objects {
            let ended = |object: Arc<Object>| object.purged(&self.purges) == Some(Mode::Hard);
            if entry.object().is_some_and(ended) {
                self.objects.invalidate(&*key);
            }
        }
        self.make_room();
    }

    /// The objects of a realm whose paths begin so.
    pub fn under(&self, realm: RealmId, prefix: &str) -> Vec<Arc<Object>> {
        let is_there = |object: &Arc<Object>| {
            let name = &object.name;
            name.realm == realm
                && name.path.as_str().starts_with(prefix)
                && object.purged(&self.purges) != Some(Mode::Hard)
        };
        self.all().filter(is_there).collect()
    }

    /// The objects that were served most, most first.
    pub fn most_served(&self, count: usize) -> Vec<Arc<Object>> {
        let mut objects: Vec<Arc<Object>> = self.all().collect();
        objects.retain(|object| object.hits.about() > 0);
        objects.sort_by_cached_key(|object| std::cmp::Reverse(object.hits.about()));
        objects.truncate(count);
        objects
    }

    pub fn insert(&self, key: &Key, object: &Arc<Object>) {
        self.failed.invalidate(key);
        if self.put(key, object, false) {
            return;
        }
        let before = self.refused.get(key).unwrap_or_default();
        if before + 1 < MOST_REFUSED {
            self.refused.insert(key.clone(), before + 1);
            return;
        }
        self.refused.invalidate(key);
        if self.put(key, object, true) {
            self.put(key, object, false);
        }
    }

    /// Whether it is let in. Admission and eviction happen here, not some inserts
    /// later: the next pull may need the memory.
    fn put(&self, key: &Key, object: &Arc<Object>, light: bool) -> bool {
        object.stored.store(true, Relaxed);
        let entry = match light {
            true => Entry::Light(Arc::clone(object)),
            false => Entry::Object(Arc::clone(object)),
        };
        self.objects.insert(key.clone(), entry);
        self.objects.run_pending_tasks();
        self.objects.contains_key(key)
    }

    /// Forgets what is stored under a key, whatever it varies by.
    pub fn remove(&self, base: &Key) {
        self.variations.invalidate(base);
        self.versions.forget(base);
        self.objects.invalidate(base);
    }

    pub fn variation(&self, base: &Key) -> Option<Variation> {
        self.variations.get(base)
    }

    /// What is known to vary together with these names; `None`: by too much.
    pub fn vary(&self, base: &Key, names: &BTreeSet<String>) -> Option<Variation> {
        let known = self.variation(base);
        let next = || self.generations.fetch_add(1, Relaxed);
        let all = match known {
            None => Variation::new(names.clone(), next()),
            Some(known) => known.with(names, next()).unwrap_or(known),
        };
        (all.names() <= MAX_NAMES).then_some(all)
    }

    pub fn note_variation(&self, base: &Key, variation: Variation) {
        self.variations.insert(base.clone(), variation);
    }

    /// Whether the object under a key is still this one: TinyLFU may refuse
    /// one that was asked for too seldom.
    pub fn holds(&self, key: &Key, object: &Arc<Object>) -> bool {
        self.get(key)
            .is_some_and(|stored| Arc::ptr_eq(&stored, object))
    }

    /// Evicts what is due, so that its memory comes back to the budget.
    pub fn make_room(&self) {
        self.objects.run_pending_tasks();
    }

    pub fn pass(&self, key: &Key, reason: Bypass) {
        self.passing.insert(key.clone(), reason);
    }

    /// It may be shared by now.
    pub fn no_longer_passes(&self, key: &Key) {
        self.passing.invalidate(key);
    }

    pub fn passes(&self, key: &Key) -> Option<Bypass> {
        self.passing.get(key)
    }

    pub fn note_unshared(&self, key: &Key) {
        self.unshared.insert(key.clone(), ());
    }

    pub fn is_unshared(&self, key: &Key) -> bool {
        self.unshared.contains_key(key)
    }

    pub fn note_failure(&self, key: &Key, failure: Failure) {
        let before = self.failed.get(key).map_or(0, |(_, times)| times);
        self.failed.insert(key.clone(), (failure, before + 1));
    }

    pub fn recent_failure(&self, key: &Key) -> Option<Failure> {
        self.failed.get(key).map(|(failure, _)| failure)
    }

    /// A failure that tells of the key: pulling it again would bring the same.
    pub fn failure_of(&self, key: &Key) -> Option<Failure> {
        let (failure, times) = self.failed.get(key)?;
        failure.is_of_the_key(times).then_some(failure)
    }

    /// Whether a playlist has said that there is what this object denies.
    pub fn is_contradicted(&self, object: &Object) -> bool {
        let Name { realm, path, .. } = &object.name;
        let stored_at = object.freshness.stored_at;
        object.is_negative() && self.live.contradicts(*realm, path, stored_at)
    }

    /// Stored objects and their bytes, as moka counts them.
    pub fn totals(&self) -> (u64, u64) {
        (self.objects.entry_count(), self.objects.weighted_size())
    }

    pub fn evictions(&self) -> &Evictions {
        &self.evictions
    }
}
