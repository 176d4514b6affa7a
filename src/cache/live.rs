//! What playlists say of other paths: where live streams are, what is named as
//! something that its name does not tell, and which answers of "there is no such
//! object" they contradict.

use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::key::{Key, RealmId};
use crate::hls::{Kind, Mark, Window};
use crate::path::CanonicalPath;

/// Entries of each memory here.
const MEMORY_ENTRIES: u64 = 10_000;
/// Names that tell less than the playlists that list them.
const MEMORY_NAMES: u64 = 50_000;
/// A live folder or a name is forgotten after this without news.
const NAME_FOR: Duration = Duration::from_secs(3600);
/// No negative answer is fresh for longer ([`super::lifetime`]).
const MISSING_FOR: Duration = Duration::from_secs(60);

type Place = (RealmId, CanonicalPath);

/// What is known of live streams, by realm and path.
pub struct Live {
    folders: Cache<(RealmId, String), Folder>,
    named: Cache<Place, Named>,
    /// Paths with a stored negative answer, and when a playlist last said
    /// otherwise.
    missing: Cache<Place, Option<Instant>>,
    /// Where each playlist stood last.
    windows: Cache<Key, Stood>,
}

/// Where a playlist stood last.
#[derive(Clone, Copy)]
struct Stood {
    window: Window,
    came: Instant,
    /// What was its last segment was the same one when it came again: its names
    /// are not made for each fetch.
    steady: bool,
}

/// A folder with media of a live stream.
#[derive(Clone)]
struct Folder {
    target: Duration,
    /// The last playlist that said so.
    by: CanonicalPath,
}

/// What a playlist says of a path that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Key,
    /// A part that is not there yet.
    HintedPart,
    /// A segment or a part of a live stream.
    LiveMedia,
    LiveInit,
    /// A segment of a stream that has ended.
    Media,
    Init,
    /// By a list of variants, by its type or by its own first bytes.
    Playlist,
    Manifest,
}

impl Named {
    /// `None`: a name tells it already, or nothing here does.
    pub const fn of_list(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Playlist => Some(Self::Playlist),
            Kind::Manifest => Some(Self::Manifest),
            _ => None,
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Key => Kind::Key,
            Self::HintedPart | Self::LiveMedia | Self::Media => Kind::Segment,
            Self::LiveInit | Self::Init => Kind::Init,
            Self::Playlist => Kind::Playlist,
            Self::Manifest => Kind::Manifest,
        }
    }

    /// A live playlist is taken to be what names it.
    const fn is_live(self) -> bool {
        match self {
            Self::Key | Self::HintedPart | Self::LiveMedia | Self::LiveInit => true,
            Self::Media | Self::Init | Self::Playlist | Self::Manifest => false,
        }
    }
}

/// A path beside a live playlist, or named by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// The target duration, or the update period of a manifest.
    pub target: Duration,
    /// A live playlist names this very path.
    pub named: bool,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            folders: memory(NAME_FOR),
            named: memory_of(MEMORY_NAMES, NAME_FOR),
            missing: memory(MISSING_FOR),
            windows: memory(NAME_FOR),
        }
    }
}

fn memory<K, V>(time: Duration) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    memory_of(MEMORY_ENTRIES, time)
}

fn memory_of<K, V>(entries: u64, time: Duration) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let builder = Cache::builder().max_capacity(entries);
    builder.time_to_live(time).build()
}

impl Live {
    /// A live playlist has its media in a folder. True where that is news.
    pub fn note_folder(
        &self,
        realm: RealmId,
        folder: &str,
        target: Duration,
        by: &CanonicalPath,
    ) -> bool {
        let by = by.clone();
        let folder = (realm, folder.to_owned());
        let is_news = !self.folders.contains_key(&folder);
        self.folders.insert(folder, Folder { target, by });
        is_news
    }

    /// A playlist has ended: its folder is no live one any more, unless another
    /// playlist goes on saying so.
    pub fn end_folder(&self, realm: RealmId, playlist: &CanonicalPath) {
        let folder = (realm, playlist.folder().to_owned());
        let own = self
            .folders
            .get(&folder)
            .is_some_and(|it| it.by == *playlist);
        if own {
            self.folders.invalidate(&folder);
        }
    }

    /// The target duration of the live playlist in a path's folder.
    pub fn folder(&self, realm: RealmId, path: &CanonicalPath) -> Option<Duration> {
        let folder = (realm, path.folder().to_owned());
        self.folders.get(&folder).map(|it| it.target)
    }

    pub fn beside(&self, realm: RealmId, path: &CanonicalPath) -> Option<Beside> {
        let target = self.folder(realm, path)?;
        let named = self.named.get(&(realm, path.clone()));
        Some(Beside {
            target,
            named: named.is_some_and(Named::is_live),
        })
    }

    pub fn note_name(&self, realm: RealmId, path: CanonicalPath, named: Named) {
        self.named.insert((realm, path), named);
    }

    pub fn is_named(&self, realm: RealmId, path: &CanonicalPath, named: Named) -> bool {
        self.named.get(&(realm, path.clone())) == Some(named)
    }

    /// What a path is, where its name does not tell.
    pub fn kind(&self, realm: RealmId, path: &CanonicalPath) -> Option<Kind> {
        self.named.get(&(realm, path.clone())).map(Named::kind)
    }

    /// A negative answer of a path has been stored.
    pub fn note_missing(&self, realm: RealmId, path: &CanonicalPath) {
        let place = (realm, path.clone());
        // What was said before counts for what was stored before.
        self.missing.entry(place).or_insert(None);
    }

    /// Whether any negative answer is stored.
    pub fn has_missing(&self) -> bool {
        self.missing.run_pending_tasks();
        self.missing.entry_count() > 0
    }

    /// A playlist says that there is such an object: what is stored of it so far
    /// and denies that is good for nothing.
    pub fn end_missing(&self, realm: RealmId, path: &CanonicalPath, now: Instant) {
        let place = (realm, path.clone());
        if self.missing.contains_key(&place) {
            self.missing.insert(place, Some(now));
        }
    }

    /// Whether a playlist has contradicted a negative answer of that time.
    pub fn contradicts(&self, realm: RealmId, path: &CanonicalPath, stored_at: Instant) -> bool {
        let ended = self.missing.get(&(realm, path.clone())).flatten();
        ended.is_some_and(|ended| ended >= stored_at)
    }

    /// Notes where a playlist stands. True where it stands before where it stood,
    /// or what was its last segment is another one (`mark` is that of a number):
    /// another broadcast under the names of the one before. Of one key alone: its
    /// pulls follow each other, while those of several delivery directives overtake.
    pub fn begins_anew(
        &self,
        key: &Key,
        window: Window,
        mark: impl Fn(u64) -> Option<Mark>,
        now: Instant,
    ) -> bool {
        let before = self.windows.get(key);
        let other = |before: &Stood| window.contradicts(&before.window, &mark);
        let contradicts = before.as_ref().map(other);
        let stood = Stood {
            window,
            came: now,
            steady: contradicts == Some(Some(false)),
        };
        self.windows.insert(key.clone(), stood);
        before.is_some_and(|before| {
            let other = before.steady && contradicts == Some(Some(true));
            window.is_behind(&before.window) || other
        })
    }

    /// The same of playlists that pass to their viewers, one beside the other, and
    /// may name other segments to each: one that was asked for behind the last is
    /// newer; of another, which may end behind a newer one, a whole window tells.
    pub fn jumps_backwards(
        &self,
        key: &Key,
        window: Window,
        asked_at: Instant,
        now: Instant,
    ) -> bool {
        let before = self.windows.get(key);
        let jumps = before.is_some_and(|before| match asked_at > before.came {
            true => window.is_behind(&before.window),
            false => window.next <= before.window.first,
        });
        let is_newer = |before: Stood| asked_at > before.came || window.first > before.window.first;
        if jumps || before.is_none_or(is_newer) {
            let stood = Stood {
                window,
                came: now,
                steady: false,
            };
            self.windows.insert(key.clone(), stood);
        }
        jumps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::NO_HEADERS;
    use crate::clock::Clock;

    fn path(text: &str) -> CanonicalPath {
        CanonicalPath::parse(text).expect("a path")
    }

    fn window(first: u64, next: u64) -> Window {
        Window {
            first,
            next,
            ..Window::default()
        }
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_negative_answer_is_contradicted_by_later_news_alone() {
        let (live, now, second) = (Live::default(), start(), Duration::from_secs(1));
        let (gone, other) = (path("/v/7.ts"), path("/v/8.ts"));
        live.end_missing(1, &gone, now);
        live.note_missing(1, &gone);
        assert!(live.has_missing());
        assert!(!live.contradicts(1, &gone, now), "that was before");
        live.end_missing(1, &gone, now + second);
        live.note_missing(1, &gone);
        let table = [
            ("stored before", 1, &gone, now, true),
            ("stored in that instant", 1, &gone, now + second, true),
            ("stored since", 1, &gone, now + second * 2, false),
            ("another path", 1, &other, now, false),
            ("another zone", 2, &gone, now, false),
        ];
        for (name, realm, path, stored_at, want) in table {
            assert_eq!(live.contradicts(realm, path, stored_at), want, "{name}");
        }
    }

    #[test]
    fn a_folder_stays_live_while_another_playlist_says_so() {
        let live = Live::default();
        let (now, ended) = (path("/v/live.m3u8"), path("/v/old.m3u8"));
        let target = Duration::from_secs(6);
        assert!(live.note_folder(1, "/v/", target, &now));
        assert!(!live.note_folder(1, "/v/", target, &now));
        live.end_folder(1, &ended);
        assert_eq!(live.folder(1, &path("/v/1.ts")), Some(target));
        live.end_folder(1, &now);
        assert_eq!(live.folder(1, &path("/v/1.ts")), None);
    }

    #[test]
    fn a_playlist_that_goes_backwards_is_told_once() {
        let (live, now) = (Live::default(), Clock::default().monotonic());
        let key = |text| Key::new(1, false, &path(text), [], NO_HEADERS);
        let back =
            |first, next| live.begins_anew(&key("/v/a.m3u8"), window(first, next), |_| None, now);
        let sliding = [(3, 6), (4, 7), (4, 7), (0, 1), (1, 4)];
        let said = sliding.map(|(first, next)| back(first, next));
        assert_eq!(said, [false, false, false, true, false]);
        // One that only grows begins at 0 each time.
        let growing = [(1, 90), (1, 3), (1, 4)];
        let said = growing.map(|(first, next)| back(first, next));
        assert_eq!(said, [false, true, false]);
        let other = window(0, 1);
        assert!(
            !live.begins_anew(&key("/v/b.m3u8"), other, |_| None, now),
            "another playlist"
        );
    }

    #[test]
    fn of_playlists_that_pass_one_asked_for_later_is_newer() {
        let (live, start) = (Live::default(), Clock::default().monotonic());
        let key = Key::new(1, false, &path("/v/a.m3u8"), [], NO_HEADERS);
        let at = |seconds| start + Duration::from_secs(seconds);
        // First and next segment, asked for at, came at, goes backwards.
        let table = [
            (3, 8, 0, 1, false),
            (3, 7, 0, 2, false),
            (0, 4, 5, 6, true),
            (0, 5, 7, 8, false),
            (20, 25, 9, 10, false),
            (0, 5, 9, 11, true),
        ];
        for (first, next, asked, came, want) in table {
            let window = window(first, next);
            let found = live.jumps_backwards(&key, window, at(asked), at(came));
            assert_eq!(found, want, "{window:?}");
        }
    }
}
