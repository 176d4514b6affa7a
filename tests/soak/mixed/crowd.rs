//! The viewers of the mixed load: each has a role and keeps to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::judge::{Case, Judge};
use super::world::{self, Named};
use crate::edge::signed;
use crate::viewer::{Answer, Request, Viewer};

#[derive(Clone, Copy)]
enum Role {
    Segments,
    Films,
    Playlists,
    Live,
    Ranges,
    FilmRanges,
    Heads,
    Conditions,
    Missing,
    Forgers,
    Leavers,
    SlowReaders,
}

/// How many there are of each, and how long they pause between two requests.
const CROWD: [(Role, usize, u64); 12] = [
    (Role::Segments, 12, 20),
    (Role::Films, 2, 500),
    (Role::Playlists, 3, 50),
    (Role::Live, 6, 100),
    (Role::Ranges, 4, 30),
    (Role::FilmRanges, 2, 100),
    (Role::Heads, 2, 50),
    (Role::Conditions, 3, 50),
    (Role::Missing, 2, 50),
    (Role::Forgers, 2, 50),
    (Role::Leavers, 4, 50),
    (Role::SlowReaders, 4, 100),
];
const SLOW_BYTES_PER_SECOND: u64 = 150_000;
/// Seconds that a live playlist may lag behind the origin's: T/2 fresh and T
/// stale (docs/caching.md) for T = 1 s, the viewer's own time, and a second for
/// the machine.
const MOST_LAG: u64 = 4;

/// What every viewer knows.
#[derive(Clone)]
pub struct Scene {
    pub address: SocketAddr,
    pub judge: Arc<Judge>,
    /// Of the live playlists at the origin.
    pub sequence: Arc<AtomicU64>,
    pub end: Instant,
}

/// How many viewers there are.
pub fn size() -> usize {
    CROWD.iter().map(|(_, count, _)| count).sum()
}

pub fn gather(scene: &Scene) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for (role, count, pause) in CROWD {
        for _ in 0..count {
            let member = Member {
                scene: scene.clone(),
                random: StdRng::seed_from_u64(crowd.len() as u64),
                connection: None,
            };
            crowd.spawn(member.play(role, Duration::from_millis(pause)));
        }
    }
    crowd
}

struct Member {
    scene: Scene,
    random: StdRng,
    connection: Option<Viewer>,
}

/// A request, and what is right for it.
struct Asked<'a> {
    role: &'static str,
    path: &'a str,
    request: Request<'a>,
    allowed: &'a [u16],
    /// Judges an answer of an allowed status, besides its bytes.
    right: &'a (dyn Fn(&Answer) -> bool + Sync),
}

fn any(_: &Answer) -> bool {
    true
}

impl Member {
    async fn play(mut self, role: Role, pause: Duration) {
        while Instant::now() < self.scene.end {
            match role {
                Role::Segments => {
                    let named = self.segment();
                    self.whole("segment", &named).await;
                }
                Role::Films => {
                    let number = self.random.random_range(0..world::FILMS);
                    self.whole("film", &world::film(number)).await;
                }
                Role::Playlists => self.playlist().await,
                Role::Live => self.live().await,
                Role::Ranges => {
                    let named = self.segment();
                    // While a body arrives whose length nobody knows, all of it serves.
                    self.range("range", &named, &[206, 200]).await;
                }
                Role::FilmRanges => {
                    let number = self.random.random_range(0..world::FILMS);
                    self.range("film range", &world::film(number), &[206]).await;
                }
                Role::Heads => self.head().await,
                Role::Conditions => self.condition().await,
                Role::Missing => self.missing().await,
                Role::Forgers => self.forge().await,
                Role::Leavers => self.leave().await,
                Role::SlowReaders => self.read_slowly().await,
            }
            let share = self.random.random_range(0.5..1.5);
            sleep(pause.mul_f64(share)).await;
        }
    }

    fn segment(&mut self) -> Named {
        world::segment(world::popular(&mut self.random, world::SEGMENTS))
    }

    async fn whole(&mut self, role: &'static str, named: &Named) {
        let target = sign(&named.path);
        let request = Request::get(&target, Some(&named.body));
        self.plain(role, &named.path, request, &[200]).await;
    }

    async fn leave(&mut self) {
        let named = self.segment();
        let target = sign(&named.path);
        let request = Request {
            leave_after: Some(self.random.random_range(1..named.body.len())),
            ..Request::get(&target, Some(&named.body))
        };
        self.plain("leaver", &named.path, request, &[200]).await;
    }

    async fn read_slowly(&mut self) {
        let named = self.segment();
        let target = sign(&named.path);
        let request = Request {
            bytes_per_second: Some(SLOW_BYTES_PER_SECOND),
            ..Request::get(&target, Some(&named.body))
        };
        self.plain("slow", &named.path, request, &[200]).await;
    }

    async fn range(&mut self, role: &'static str, named: &Named, allowed: &[u16]) {
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

    async fn head(&mut self) {
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

    async fn condition(&mut self) {
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

    async fn missing(&mut self) {
        let path = format!("/none/{}.ts", self.random.random_range(0..1_000));
        let target = sign(&path);
        self.plain("missing", &path, Request::get(&target, None), &[404])
            .await;
    }

    async fn forge(&mut self) {
        let named = self.segment();
        // A token, but of another path.
        let target = sign("/vod/other.ts").replace("/vod/other.ts", &named.path);
        let request = Request::get(&target, None);
        self.plain("forger", &named.path, request, &[403]).await;
    }

    async fn playlist(&mut self) {
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
    async fn live(&mut self) {
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

    /// Asks on the connection that there is, and has the answer judged.
    async fn exchange(&mut self, asked: Asked<'_>) -> Option<Answer> {
        let began = Instant::now();
        let result = match self.connection.take() {
            Some(viewer) => Ok(viewer),
            None => Viewer::open(self.scene.address).await,
        };
        let (viewer, result) = match result {
            Ok(mut viewer) => {
                let result = viewer.exchange(&asked.request).await;
                (Some(viewer), result)
            }
            Err(error) => (None, Err(error)),
        };
        let right = result.as_ref().is_ok_and(asked.right);
        let case = Case {
            role: asked.role,
            path: asked.path,
            asked: began,
            allowed: asked.allowed,
            right,
        };
        if self.scene.judge.judge(&case, &result) {
            self.connection = viewer;
        }
        result.ok()
    }
}

fn sign(path: &str) -> String {
    signed(&warren::clock::Clock::default(), path)
}
