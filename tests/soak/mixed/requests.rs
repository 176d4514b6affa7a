//! What each viewer of the mixed load asks for, and what is right for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rand::Rng;
use tokio::time::Instant;

use super::crowd::{Asked, Member};
use super::world::{self, Named};
use crate::edge::signed;
use crate::viewer::{Answer, Request};

const SLOW_BYTES_PER_SECOND: u64 = 150_000;
/// Seconds that a live playlist may lag behind the origin's: T/2 fresh and T
/// stale (docs/reference/caching.md) for T = 1 s, the viewer's own time, and a second for
/// the machine.
const MOST_LAG: u64 = 4;

impl Member {
    pub fn segment(&mut self) -> Named {
        world::segment(world::popular(&mut self.random, world::SEGMENTS))
    }

    pub async fn whole(&mut self, role: &'static str, named: &Named) {
        let target = sign(&named.path);
        let request = Request::get(&target, Some(&named.body));
        self.plain(role, &named.path, request, &[200]).await;
    }

    pub async fn leave(&mut self) {
        let named = self.segment();
        let target = sign(&named.path);
        let request = Request {
            leave_after: Some(self.random.random_range(1..named.body.len())),
            ..Request::get(&target, Some(&named.body))
        };
        self.plain("leaver", &named.path, request, &[200]).await;
    }

    pub async fn read_slowly(&mut self) {
        let named = self.segment();
        let target = sign(&named.path);
        let request = Request {
            bytes_per_second: Some(SLOW_BYTES_PER_SECOND),
            ..Request::get(&target, Some(&named.body))
        };
        self.plain("slow", &named.path, request, &[200]).await;
    }

    pub async fn range(&mut self, role: &'static str, named: &Named, allowed: &[u16]) {
        let len = named.body.len();
        let first = self.random.random_range(0..len);
        let last = self.random.random_range(first..len.min(first + 300_000));
        let header = format!("bytes={first}-{last}");
        let target = sign(&named.path);
        let request = Request {
            headers: &[("Range", &header)],
            ..Request::get(&target, Some(&named.body))
        };
        let now = Instant::now();
        let judge = Arc::clone(&self.scene.judge);
        let right = |answer: &Answer| match answer.range() {
            None => answer.status == 200,
            Some(told) if judge.calm(now) => told == (first, last, len),
            // An origin may lie about the whole length; what came must be what
            // was asked for all the same.
            Some((from, to, _)) => from == first && to <= last && answer.received == to - from + 1,
        };
        let asked = Asked {
            role,
            path: &named.path,
            request,
            allowed,
            right: &right,
        };
        self.exchange(asked).await;
    }

    pub async fn head(&mut self) {
        let named = self.segment();
        let target = sign(&named.path);
        let request = Request {
            method: "HEAD",
            ..Request::get(&target, Some(&named.body))
        };
        let now = Instant::now();
        let judge = Arc::clone(&self.scene.judge);
        let length = named.body.len().to_string();
        // An origin may lie to a HEAD, and nothing tells.
        let right =
            |answer: &Answer| answer.header("content-length") == Some(&length) || !judge.calm(now);
        let asked = Asked {
            role: "head",
            path: &named.path,
            request,
            allowed: &[200],
            right: &right,
        };
        self.exchange(asked).await;
    }

    pub async fn condition(&mut self) {
        let named = self.segment();
        let target = sign(&named.path);
        let same = self.random.random();
        let etag = if same {
            named.etag()
        } else {
            "\"another\"".to_owned()
        };
        let request = Request {
            headers: &[("If-None-Match", &etag)],
            ..Request::get(&target, Some(&named.body))
        };
        // What passes through is not compared by the edge.
        let allowed: &[u16] = if same { &[304, 200] } else { &[200] };
        self.plain("condition", &named.path, request, allowed).await;
    }

    pub async fn missing(&mut self) {
        let path = format!("/none/{}.ts", self.random.random_range(0..1_000));
        let target = sign(&path);
        self.plain("missing", &path, Request::get(&target, None), &[404])
            .await;
    }

    pub async fn forge(&mut self) {
        let named = self.segment();
        // A token, but of another path.
        let target = sign("/vod/other.ts").replace("/vod/other.ts", &named.path);
        let request = Request::get(&target, None);
        self.plain("forger", &named.path, request, &[403]).await;
    }

    pub async fn playlist(&mut self) {
        let number = self.random.random_range(0..world::PLAYLISTS);
        let (path, text) = world::playlist(number);
        let target = sign(&path);
        let right = |answer: &Answer| answer.text == text.as_bytes();
        let asked = Asked {
            role: "playlist",
            path: &path,
            request: Request::get(&target, None),
            allowed: &[200],
            right: &right,
        };
        self.exchange(asked).await;
    }

    /// A playlist that is not too old, and the newest segment that it names.
    pub async fn live(&mut self) {
        let channel = self.random.random_range(0..world::CHANNELS);
        let path = world::live_path(channel);
        let target = sign(&path);
        let newest = self.scene.sequence.load(Relaxed);
        let right = |answer: &Answer| {
            world::sequence_of(&answer.text).is_some_and(|seen| seen + MOST_LAG >= newest)
        };
        let asked = Asked {
            role: "live playlist",
            path: &path,
            request: Request::get(&target, None),
            allowed: &[200],
            right: &right,
        };
        let answer = self.exchange(asked).await;
        if let Some(sequence) = answer.and_then(|answer| world::sequence_of(&answer.text)) {
            let named = world::live_segment(channel, sequence + 5);
            self.whole("live segment", &named).await;
        }
    }

    async fn plain(
        &mut self,
        role: &'static str,
        path: &str,
        request: Request<'_>,
        allowed: &[u16],
    ) {
        let asked = Asked {
            role,
            path,
            request,
            allowed,
            right: &any,
        };
        self.exchange(asked).await;
    }
}

fn any(_: &Answer) -> bool {
    true
}

fn sign(path: &str) -> String {
    signed(&warren::clock::Clock::default(), path)
}
