//! When a connection may carry another request.

use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::client::Origin;

/// Nothing that an answer without a body is not to have comes later than this.
const REST: Duration = Duration::from_millis(500);
/// Connections of an origin that rest; more are closed.
pub(super) const MOST_RESTING: usize = 256;

/// What its last answer says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// The answer has told where it ends.
    Now,
    /// It has no body whatever its head says (204, 304). A server that sends one
    /// all the same sends it behind the head, and it would be read as the next
    /// answer.
    AfterRest,
    /// To HEAD a body is sent by servers that know no better, and it is what a
    /// viewer may have uploaded: an answer of his own making.
    Never,
}

impl Keep {
    pub fn of(status: u16, to_head_request: bool) -> Self {
        match (to_head_request, status) {
            (true, _) => Keep::Never,
            (false, 204 | 304) => Keep::AfterRest,
            (false, _) => Keep::Now,
        }
    }
}

/// Watches a connection for a while; only one on which nothing came is kept.
pub(super) fn rest(origin: &Arc<Origin>, mut stream: Stream, peer: HttpPeer) {
    let (Ok(place), Ok(runtime)) = (
        Arc::clone(&origin.resting).try_acquire_owned(),
        Handle::try_current(),
    ) else {
        return;
    };
    let origin = Arc::clone(origin);
    runtime.spawn(async move {
        // Its end is no good sign, either.
        let quiet = timeout(REST, stream.read(&mut [0; 1])).await.is_err();
        drop(place);
        if quiet {
            origin.release(stream, &peer);
        }
    });
}
