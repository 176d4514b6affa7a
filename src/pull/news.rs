//! What a playlist tells of other paths, whether it is stored or passes: where
//! live media are, which broadcast begins anew, what is there by now.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Pulls;
use super::answer::{self, Told};
use super::reading::Reading;
use super::reference::References;
use crate::cache::key::Key;
use crate::cache::live::Named;
use crate::cache::purge::{Mode, Purge};
use crate::hls::{Kind, Mark, Pace, Window, files, folders, lines, uris};
use crate::path::CanonicalPath;
use crate::zone::Zone;

/// Folders of media that one playlist may name.
const MAX_FOLDERS: usize = 64;
/// Names that one playlist may tell the kinds of, where they do not themselves.
const MAX_NAMES: usize = 4096;

/// A playlist that has come.
pub struct News<'p> {
    pub pulls: &'p Arc<Pulls>,
    pub zone: &'p Zone,
    pub path: &'p CanonicalPath,
    pub key: &'p Key,
    pub kind: Kind,
}

impl News<'_> {
    /// Reads one that passed by to its end.
    pub fn passed(&self, body: &Reading, asked_at: Instant) {
        let told = answer::told(self.kind, body);
        let (live, now) = (&self.pulls.store.live, self.pulls.clock.monotonic());
        let jumps = |window| live.jumps_backwards(self.key, window, asked_at, now);
        if told.pace.is_some() {
            let begins_anew = told.window.is_some_and(jumps);
            self.take(&told, &body.text, begins_anew);
        }
    }

    /// Reads one that has landed; the media that it names, newest last.
    pub(super) fn landed(&self, told: &Told, body: &[u8]) -> Vec<CanonicalPath> {
        let (live, now) = (&self.pulls.store.live, self.pulls.clock.monotonic());
        let anew = |window: Window| {
            let mark = |number| match self.kind {
                Kind::Manifest => window.last,
                _ => Mark::of_segment(body, window.first, number),
            };
            live.begins_anew(self.key, window, mark, now)
        };
        let begins_anew = told.window.is_some_and(anew);
        self.take(told, body, begins_anew)
    }

    /// Remembers what later requests need to know.
    fn take(&self, told: &Told, body: &[u8], begins_anew: bool) -> Vec<CanonicalPath> {
        let (realm, live) = (self.zone.realm, &self.pulls.store.live);
        let references = References::new(self.zone, self.path, body);
        let media = told.newest.iter().filter_map(|uri| references.path(uri));
        let media: Vec<_> = media.collect();
        match told.pace {
            Some(Pace::Live { target } | Pace::LowLatency { target }) => {
                if begins_anew {
                    self.tell(told);
                }
                let folders = self.folders(&references, body);
                self.note_folders(folders, told.target.unwrap_or(target), begins_anew);
                self.note_kinds(&references, lines(body), Named::LiveMedia);
                for path in &media {
                    self.note(path.clone(), Named::LiveMedia);
                }
            }
            Some(Pace::Ended) => {
                live.end_folder(realm, self.path);
                match self.kind {
                    Kind::Manifest => self.note_kinds(&references, files(body), Named::Media),
                    _ => self.note_kinds(&references, lines(body), Named::Media),
                }
            }
            Some(Pace::Multivariant) => {
                self.note_kinds(&references, uris(body), Named::Playlist);
            }
            None => {}
        }
        // It was known by its type or its body, and is by its name from now on.
        if let Some(named) = Named::of_list(self.kind) {
            self.note_kind(self.path.clone(), named);
        }
        let keys = told.keys.iter().map(|uri| (uri, Named::Key));
        let hints = told.hints.iter().map(|uri| (uri, Named::HintedPart));
        let init = match told.pace {
            Some(Pace::Ended) => Named::Init,
            _ => Named::LiveInit,
        };
        let maps = told.maps.iter().map(|uri| (uri, init));
        for (uri, named) in keys.chain(hints).chain(maps) {
            if let Some(path) = references.path(uri) {
                self.note(path, named);
            }
        }
        self.contradict(&references, body);
        media
    }

    /// What names are that do not tell it themselves.
    fn note_kinds<'b>(
        &self,
        references: &References<'_>,
        uris: impl Iterator<Item = &'b str>,
        named: Named,
    ) {
        // Most tell it, and need no path.
        let silent = uris.filter(|uri| Kind::of_url(uri) == Kind::Other);
        for path in silent
            .filter_map(|uri| references.path(uri))
            .take(MAX_NAMES)
        {
            self.note_kind(path, named);
        }
    }

    fn note_kind(&self, path: CanonicalPath, named: Named) {
        if Kind::of(&path) == Kind::Other {
            self.note(path, named);
        }
    }

    fn note(&self, path: CanonicalPath, named: Named) {
        let live = &self.pulls.store.live;
        live.note_name(self.zone.realm, path, named);
    }

    fn tell(&self, told: &Told) {
        self.pulls.counts.live_restarts.fetch_add(1, Relaxed);
        let (zone, path) = (self.zone.name.as_str(), self.path.as_str());
        let at = told.window.map(|window| window.first);
        let done = match self.zone.cache.names_never_return {
            true => "its media stay, as names_never_return says",
            false => "its media are confirmed anew",
        };
        tracing::warn!(
            zone,
            path,
            at,
            "another broadcast has begun under the names of a live one: {done}"
        );
    }

    /// Where the media of a live playlist are. What was stored there before it
    /// was known to be live, and what is of the broadcast before one that begins
    /// anew, is confirmed before it is served.
    fn note_folders(&self, folders: Vec<String>, target: Duration, begins_anew: bool) {
        let store = &self.pulls.store;
        for folder in folders {
            let is_news = store
                .live
                .note_folder(self.zone.realm, &folder, target, self.path);
            if (is_news || begins_anew) && !self.zone.cache.names_never_return {
                let media = Purge::Media(folder);
                store.purges.add(self.zone.realm, &media, Mode::Soft);
            }
        }
    }

    fn folders(&self, references: &References<'_>, body: &[u8]) -> Vec<String> {
        let mut found = vec![self.path.folder().to_owned()];
        let put = |reference| references.put(reference);
        for folder in folders(self.kind, body, MAX_FOLDERS, put) {
            // Any name in it does.
            let inside = references.path(&format!("{folder}x"));
            let folder = inside.map(|path| path.folder().to_owned());
            found.extend(folder.filter(|folder| !found.contains(folder)));
        }
        found
    }

    /// A playlist has come, and what it names is there: whoever was told that it
    /// is not may ask again.
    fn contradict(&self, references: &References<'_>, body: &[u8]) {
        let live = &self.pulls.store.live;
        if !live.has_missing() {
            return;
        }
        let now = self.pulls.clock.monotonic();
        let named = uris(body).filter_map(|uri| references.path(uri));
        for path in named.chain([self.path.clone()]) {
            live.end_missing(self.zone.realm, &path, now);
        }
    }
}
