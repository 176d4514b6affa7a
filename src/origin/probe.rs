//! An endpoint that takes no connections is asked for one beside the requests,
//! so that it is back as soon as it can be, and no viewer has to find out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Origin;

/// Between two connections that are tried: an origin is back within a second.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Tries an endpoint that was shut until a connection comes about, or somebody
/// has been answered, for as long as the origin is in use.
pub fn probe(origin: &Arc<Origin>, index: usize) {
    if !origin.endpoints.begin_probe(index) {
        return;
    }
    let origin = Arc::downgrade(origin);
    tokio::spawn(async move {
        let mut tick = interval(PROBE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is over at once.
        tick.tick().await;
        loop {
            tick.tick().await;
            let Some(origin) = origin.upgrade() else {
                return;
            };
            if !origin.endpoints.is_shut(index) || origin.takes_connections(index).await {
                let now = origin.clock.monotonic();
                origin.endpoints.end_probe(index);
                origin.endpoints.connected(index, now);
                return;
            }
        }
    });
}
