//! Two moka caches within one budget: small objects (playlists, keys, init
//! sections) and large ones. In one cache a 2 MB segment would have to be asked
//! for as often as all the playlists together that it would push out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::budget::Budget;
use super::key::Key;
use super::lifetime::Bypass;
use super::object::{Name, Object};
use super::purge::{Mode, Purges};
use super::vary::{MAX_NAMES, Variation};
use crate::hls::Kind;
use crate::origin::Failure;
use crate::path::CanonicalPath;

/// Bodies up to this go to the small cache.
pub const SMALL_BYTES: u64 = 64 << 10;
/// Of the budget: what moka may hold; the rest is for pulls in flight. moka
/// evicts after an insert, so without that room a full cache could not turn over.
const STORED_PERCENT: u64 = 80;
/// Of what moka may hold: the small cache's part.
const SMALL_PERCENT: u64 = 15;
/// Entries of the memories below.
const MEMORY_ENTRIES: u64 = 10_000;
/// A key that may not be shared is pulled by each viewer for this long before
/// it is tried again.
const PASS_FOR: Duration = Duration::from_secs(60);
/// After a failed refresh a stale object is served at once for this long.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// A live folder or a key's name is forgotten after this without news.
const NAME_FOR: Duration = Duration::from_secs(3600);

/// Everything that is remembered of objects.
pub struct Store {
    small: Cache<Key, Arc<Object>>,
    large: Cache<Key, Arc<Object>>,
    pub budget: Budget,
    pub purges: Purges,
    /// Keys whose answers may not be shared.
    passing: Cache<Key, Bypass>,
    /// Keys whose last refresh failed.
    failed: Cache<Key, Failure>,
    /// Folders with a live playlist, and its target duration.
    live_folders: Cache<(u32, String), Duration>,
    /// Paths that a playlist names as something that their names do not tell.
    named: Cache<(u32, CanonicalPath), Named>,
    /// What answers were seen to vary by, under `policy = "origin"`.
    variations: Cache<Key, Variation>,
    generations: AtomicU64,
    evictions: Arc<Evictions>,
}

/// What a playlist says of a path that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Key,
    /// A part that is not there yet.
    HintedPart,
}

/// Evictions since the start, by cause.
#[derive(Debug, Default)]
pub struct Evictions {
    pub size: AtomicU64,
    pub replaced: AtomicU64,
    pub explicit: AtomicU64,
}

impl Evictions {
    fn count(&self, object: &Object, cause: RemovalCause) {
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
        let small = stored * SMALL_PERCENT / 100;
        let evictions = Arc::new(Evictions::default());
        let objects = |capacity: u64| {
            let evictions = Arc::clone(&evictions);
            Cache::builder()
                .max_capacity(capacity)
                .weigher(|key: &Key, object: &Arc<Object>| {
                    object.weight().saturating_add(key.len() as u32)
                })
                .eviction_listener(move |_, object, cause| evictions.count(&object, cause))
                .build()
        };
        Self {
            small: objects(small),
            large: objects(stored - small),
            budget,
            purges: Purges::default(),
            passing: Cache::builder()
                .max_capacity(MEMORY_ENTRIES)
                .time_to_live(PASS_FOR)
                .build(),
            failed: Cache::builder()
                .max_capacity(MEMORY_ENTRIES)
                .time_to_live(FAILED_FOR)
                .build(),
            live_folders: Cache::builder()
                .max_capacity(MEMORY_ENTRIES)
                .time_to_live(NAME_FOR)
                .build(),
            named: Cache::builder()
                .max_capacity(MEMORY_ENTRIES)
                .time_to_live(NAME_FOR)
                .build(),
            variations: Cache::builder().max_capacity(MEMORY_ENTRIES).build(),
            generations: AtomicU64::new(0),
            evictions,
        }
    }

    /// The object under a key, fresh or not; not one that was purged.
    pub fn get(&self, key: &Key, kind: Kind) -> Option<Arc<Object>> {
        let (first, second) = match kind {
            Kind::Segment | Kind::Other => (&self.large, &self.small),
            _ => (&self.small, &self.large),
        };
        let object = first.get(key).or_else(|| second.get(key))?;
        if object.name.purged(&self.purges) == Some(Mode::Hard) {
            self.small.invalidate(key);
            self.large.invalidate(key);
            return None;
        }
        Some(object)
    }

    /// How many stored objects these purges would end; those that are gone
    /// already do not count.
    pub fn count(&self, wanted: &Purges) -> usize {
        let all = self.small.iter().chain(self.large.iter());
        let names = |name: &Name| {
            let found = wanted.since(0, name.realm, name.path.as_str(), &name.tags);
            found.is_some() && name.purged(&self.purges) != Some(Mode::Hard)
        };
        all.filter(|(_, object)| names(&object.name)).count()
    }

    /// The objects that were served most, most first.
    pub fn most_served(&self, count: usize) -> Vec<Arc<Object>> {
        let all = self.small.iter().chain(self.large.iter());
        let mut objects: Vec<Arc<Object>> = all.map(|(_, object)| object).collect();
        objects.retain(|object| object.hits.about() > 0);
        objects.sort_by_cached_key(|object| std::cmp::Reverse(object.hits.about()));
        objects.truncate(count);
        objects
    }

    pub fn insert(&self, key: &Key, object: Arc<Object>) {
        self.failed.invalidate(key);
        object.stored.store(true, Relaxed);
        if object.body.len() <= SMALL_BYTES {
            self.large.invalidate(key);
            self.small.insert(key.clone(), object);
        } else {
            self.small.invalidate(key);
            self.large.insert(key.clone(), object);
            // Admission and eviction happen here, not some inserts later: the
            // next pull may need the memory.
            self.large.run_pending_tasks();
        }
    }

    /// Forgets what is stored under a key, whatever it varies by.
    pub fn remove(&self, base: &Key) {
        self.variations.invalidate(base);
        self.small.invalidate(base);
        self.large.invalidate(base);
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
    pub fn holds(&self, key: &Key, kind: Kind, object: &Arc<Object>) -> bool {
        self.get(key, kind)
            .is_some_and(|stored| Arc::ptr_eq(&stored, object))
    }

    /// Evicts what is due, so that its memory comes back to the budget.
    pub fn make_room(&self) {
        self.small.run_pending_tasks();
        self.large.run_pending_tasks();
    }

    pub fn pass(&self, key: &Key, reason: Bypass) {
        self.passing.insert(key.clone(), reason);
    }

    pub fn passes(&self, key: &Key) -> Option<Bypass> {
        self.passing.get(key)
    }

    pub fn note_failure(&self, key: &Key, failure: Failure) {
        self.failed.insert(key.clone(), failure);
    }

    pub fn recent_failure(&self, key: &Key) -> Option<Failure> {
        self.failed.get(key)
    }

    /// Remembers (or forgets) that a live playlist stands in a folder.
    pub fn note_folder(&self, realm: u32, path: &CanonicalPath, live: Option<Duration>) {
        let folder = (realm, path.folder().to_owned());
        match live {
            Some(target) => self.live_folders.insert(folder, target),
            None => self.live_folders.invalidate(&folder),
        }
    }

    pub fn live_folder(&self, realm: u32, path: &CanonicalPath) -> Option<Duration> {
        self.live_folders.get(&(realm, path.folder().to_owned()))
    }

    pub fn note_name(&self, realm: u32, path: CanonicalPath, named: Named) {
        self.named.insert((realm, path), named);
    }

    pub fn is_named(&self, realm: u32, path: &CanonicalPath, named: Named) -> bool {
        self.named.get(&(realm, path.clone())) == Some(named)
    }

    /// Stored objects and their bytes, as moka counts them.
    pub fn totals(&self) -> (u64, u64) {
        (
            self.small.entry_count() + self.large.entry_count(),
            self.small.weighted_size() + self.large.weighted_size(),
        )
    }

    pub fn evictions(&self) -> &Evictions {
        &self.evictions
    }
}
