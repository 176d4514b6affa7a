//! The viewers of the mixed load: each has a role and keeps to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::judge::{Case, Judge};
use super::world;
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

pub struct Member {
    pub scene: Scene,
    pub random: StdRng,
    connection: Option<Viewer>,
}

/// A request, and what is right for it.
pub struct Asked<'a> {
    pub role: &'static str,
    pub path: &'a str,
    pub request: Request<'a>,
    pub allowed: &'a [u16],
    /// Judges an answer of an allowed status, besides its bytes.
    pub right: &'a (dyn Fn(&Answer) -> bool + Sync),
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

    /// Asks on the connection that there is, and has the answer judged.
    pub async fn exchange(&mut self, asked: Asked<'_>) -> Option<Answer> {
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
