//! A body without an end, such as that of a radio station: who comes later hears
//! what comes later, and nobody keeps what has been.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::task::Pull;
use crate::cache::body::BodyWriter;
use crate::cache::lifetime::Bypass;
use crate::origin::Framing;

/// A body that ends with its connection is never stored: after this it is taken
/// for a stream.
const CLOSE_AFTER: Duration = Duration::from_secs(2);
/// One in chunks may be a large file of a slow origin.
const CHUNKED_AFTER: Duration = Duration::from_secs(30);
/// Chunks of it that riders may be behind: 4 MiB.
const KEPT_CHUNKS: usize = 16;

/// After how long a body of that framing that still comes has no end.
const fn endless_after(framing: Framing) -> Option<Duration> {
    match framing {
        Framing::Close => Some(CLOSE_AFTER),
        Framing::Chunked => Some(CHUNKED_AFTER),
        Framing::Length(_) => None,
    }
}

impl Pull {
    /// Looks whether the body, which began to come at `came`, has an end. From the
    /// moment when it has none it has no limit of time, each who comes has a
    /// request of his own, and what lies far behind is forgotten. True where
    /// nobody listens any more.
    pub(super) fn is_left_alone(
        &mut self,
        framing: Framing,
        came: Instant,
        writer: &mut BodyWriter,
    ) -> bool {
        let now = || self.pulls.clock.monotonic();
        let is_endless = |after| now().saturating_duration_since(came) >= after;
        if !endless_after(framing).is_some_and(is_endless) {
            return false;
        }
        if !self.flight.endless.swap(true, Relaxed) {
            self.unkept = Some(Bypass::Endless);
            self.pulls.store.pass(&self.job.key, Bypass::Endless);
            self.pulls.leave(&self.job.key, &self.flight, false);
        }
        let gone = writer.forget_but(KEPT_CHUNKS);
        self.flight.forget(gone);
        self.flight.riders() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_with_a_length_has_an_end_and_others_have_one_if_it_comes_soon() {
        let table = [
            (Framing::Length(1 << 40), 3600, false),
            (Framing::Close, 1, false),
            (Framing::Close, 2, true),
            (Framing::Chunked, 29, false),
            (Framing::Chunked, 30, true),
        ];
        for (framing, seconds, want) in table {
            let comes_for = Duration::from_secs(seconds);
            let found = endless_after(framing).is_some_and(|after| comes_for >= after);
            assert_eq!(found, want, "{framing:?} {seconds}");
        }
    }
}
