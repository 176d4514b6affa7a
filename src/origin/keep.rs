//! When a connection may carry another request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::client::Origin;
use super::response::Framing;

/// Nothing that an answer without a body is not to have comes later than this.
const REST: Duration = Duration::from_millis(200);
/// Connections of an origin that rest; more are closed.
const MOST_RESTING: usize = 256;

/// What its last answer says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// The answer's own bytes have told where it ends.
    Now,
    /// It has no body, by its status or by a length of 0. A server that sends one
    /// all the same sends it behind the head, and it would be read as the next
    /// answer.
    AfterRest,
    /// To HEAD a body is sent by servers that know no better, and it is what a
    /// viewer may have uploaded: an answer of his own making.
    Never,
}

impl Keep {
    pub fn of(framing: Framing, to_head_request: bool) -> Self {
        match (to_head_request, framing) {
            (true, _) => Keep::Never,
            (false, Framing::Length(0)) => Keep::AfterRest,
            (false, _) => Keep::Now,
        }
    }
}

/// The connections of one origin that rest.
#[derive(Default)]
pub(super) struct Resting(Mutex<Vec<oneshot::Sender<()>>>);

impl Resting {
    fn begin(&self) -> Option<oneshot::Receiver<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| !one.is_closed());
        let (end, ended) = oneshot::channel();
        (all.len() < MOST_RESTING).then(|| all.push(end))?;
        Some(ended)
    }

    /// Closes one of them, before another connection is made: a server may have no
    /// more workers than connections, and one that rests keeps one from working.
    pub fn make_room(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(one) = all.pop() {
            if one.send(()).is_ok() {
                return;
            }
        }
    }
}

/// Watches a connection for a while; only one on which nothing came is kept.
pub(super) fn rest(origin: &Arc<Origin>, mut stream: Stream, peer: HttpPeer) {
    let (Some(ended), Ok(runtime)) = (origin.resting.begin(), Handle::try_current()) else {
        return;
    };
    let origin = Arc::clone(origin);
    runtime.spawn(async move {
        let mut byte = [0; 1];
        let quiet = tokio::select! {
            // Its end is no good sign, either.
            came = timeout(REST, stream.read(&mut byte)) => came.is_err(),
            _ = ended => false,
        };
        if quiet {
            origin.release(stream, &peer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_rests_is_ended_for_each_that_is_made_and_no_more_rest_than_may() {
        let resting = Resting::default();
        let mut first = resting.begin().expect("room");
        let mut second = resting.begin().expect("room");
        resting.make_room();
        let ended = [&mut first, &mut second].map(|one| one.try_recv().is_ok());
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
        drop((first, second));
        let all: Vec<_> = (0..MOST_RESTING + 1).map(|_| resting.begin()).collect();
        assert_eq!(all.iter().flatten().count(), MOST_RESTING);
    }
}
