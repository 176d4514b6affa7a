//! Watches a request that goes through: its place at the origin is taken from a
//! viewer who lets it stand. Pingora's filters run only where something moves,
//! so what stands still is ended from outside.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pingora::protocols::SocketDigest;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::pass::{PASS_BUFFER_BYTES, PLACE_LOOKS, PLACE_PATIENCE};
use super::shared::Node;
use super::waits::Lost;
use crate::clock::timer_now;
use crate::origin::Origin;
use crate::standing::Needed;

/// How long an upload may stay below the least rate.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(10);

tokio::task_local! {
    static WATCH: Arc<Watch>;
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The viewer's, who sends a body.
    Upload,
    Origin,
    /// The viewer's, who reads the answer.
    Answer,
}

/// What the viewer has moved, and since when; ahead of now while a token's
/// pace holds it back.
#[derive(Debug, Clone, Copy)]
struct Progress {
    turn: Turn,
    since: Instant,
    bytes: u64,
}

impl Progress {
    /// Whether it is ended. `least`: bytes per second; `is_full`: others may
    /// wait for its place, and then he moves at least one buffer of a passing
    /// answer in the time that one may take.
    fn judge(&mut self, now: Instant, least: u64, is_full: bool) -> Option<Lost> {
        let took = now.saturating_duration_since(self.since);
        if self.turn == Turn::Origin || took < PLACE_PATIENCE {
            return None;
        }
        if is_full && self.bytes < PASS_BUFFER_BYTES as u64 {
            return Some(Lost::Ended(Needed::Pulls));
        }
        // The writes of an answer have a patience of their own.
        if self.turn == Turn::Answer {
            return None;
        }
        if self.bytes as f64 >= least as f64 * took.as_secs_f64() {
            // A burst is no credit for later.
            (self.since, self.bytes) = (now, 0);
            return None;
        }
        (took >= UPLOAD_PATIENCE).then_some(Lost::TooSlow)
    }
}

/// What is watched of one request.
struct Watched {
    progress: Progress,
    origin: Arc<Origin>,
    /// The viewer's, where it is his alone.
    socket: Option<Arc<SocketDigest>>,
}

impl Watched {
    /// Whether all of the answer so far has arrived: the next is the origin's.
    /// Over HTTP/2 what waits for the viewer waits before the socket.
    fn has_arrived(&self) -> bool {
        let info = self.socket.as_ref().and_then(|socket| socket.tcp_info());
        info.is_some_and(|info| info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0)
    }
}

/// A request of Pingora's, which may come to go through.
#[derive(Default)]
pub struct Watch {
    watched: Mutex<Option<Watched>>,
    begun: Notify,
    ended: OnceLock<Lost>,
}

/// Runs one request of Pingora's; `None` where its viewer let it stand, and all
/// that it held is given back.
pub async fn watched<T>(node: &Node, request: impl Future<Output = T>) -> Option<T> {
    let watch = Arc::<Watch>::default();
    let request = WATCH.scope(Arc::clone(&watch), request);
    tokio::select! {
        biased;
        done = request => Some(done),
        () = watch.stands(node) => None,
    }
}

impl Watch {
    /// The one of the request at hand.
    pub fn of_request() -> Option<Arc<Self>> {
        WATCH.try_with(Arc::clone).ok()
    }

    /// A place is held from now on.
    pub fn begin(&self, origin: &Arc<Origin>, socket: Option<Arc<SocketDigest>>) {
        let progress = Progress {
            turn: Turn::Origin,
            since: now(),
            bytes: 0,
        };
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        *watched = Some(Watched {
            progress,
            origin: Arc::clone(origin),
            socket,
        });
        self.begun.notify_one();
    }

    /// The viewer has moved so many bytes of his turn. The next of an upload
    /// count together with them; what he reads, he has time for from `pause` on.
    pub fn moved(&self, turn: Turn, bytes: usize, pause: Duration) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Watched { progress, .. }) = &mut *watched else {
            return;
        };
        if turn == Turn::Upload && progress.turn == turn {
            progress.bytes += bytes as u64;
            return;
        }
        // Whoever still sends is judged by that alone.
        if turn == Turn::Answer && progress.turn == Turn::Upload {
            return;
        }
        *progress = Progress {
            turn,
            since: now() + pause,
            bytes: 0,
        };
    }

    /// Why the request was ended from outside.
    pub fn ended(&self) -> Option<Lost> {
        self.ended.get().copied()
    }

    async fn stands(&self, node: &Node) {
        self.begun.notified().await;
        loop {
            sleep(PLACE_LOOKS).await;
            if let Some(lost) = self.judge(node) {
                if let Lost::Ended(needed) = lost {
                    node.pulls.standing.count(needed);
                }
                let _ = self.ended.set(lost);
                return;
            }
        }
    }

    fn judge(&self, node: &Node) -> Option<Lost> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = watched.as_mut()?;
        let least = node.listen.min_send_rate as u64;
        let is_full = watched.origin.is_full();
        let lost = watched.progress.judge(now(), least, is_full)?;
        let origins = watched.progress.turn == Turn::Answer && watched.has_arrived();
        (!origins).then_some(lost)
    }
}

fn now() -> Instant {
    timer_now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lets_a_place_stand_is_ended_sooner_where_it_is_wanted() {
        let (pulls, slow) = (Some(Lost::Ended(Needed::Pulls)), Some(Lost::TooSlow));
        use Turn::{Answer, Origin, Upload};
        for (case, turn, seconds, bytes, is_full, want) in [
            ("it has just begun", Upload, 2, 0, true, None),
            ("a drip, and others wait", Upload, 3, 2, true, pulls),
            ("a drip, and nobody waits", Upload, 9, 2, false, None),
            ("a drip for long", Upload, 10, 20_479, false, slow),
            ("at the least rate", Upload, 10, 20_480, false, None),
            (
                "the least rate, and others wait",
                Upload,
                3,
                6_144,
                true,
                pulls,
            ),
            ("it moves, and others wait", Upload, 3, 64 << 10, true, None),
            ("the origin takes its time", Origin, 60, 0, true, None),
            ("an answer is not read", Answer, 3, 0, true, pulls),
            ("nor wanted by others", Answer, 60, 0, false, None),
        ] {
            let since = now();
            let mut progress = Progress { turn, since, bytes };
            let then = since + Duration::from_secs(seconds);
            assert_eq!(progress.judge(then, 2_048, is_full), want, "{case}");
        }
    }

    #[test]
    fn a_burst_is_no_credit_for_an_upload_that_stands_still() {
        let since = now();
        let mut progress = Progress {
            turn: Turn::Upload,
            since,
            bytes: 1 << 30,
        };
        let mut after = |seconds| {
            let then = since + Duration::from_secs(seconds);
            progress.judge(then, 2_048, false)
        };
        assert_eq!([after(3), after(13)], [None, Some(Lost::TooSlow)]);
    }
}
