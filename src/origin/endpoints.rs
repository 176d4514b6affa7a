//! The origin's addresses and its clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Endpoint, Failure, Head};
use crate::clock::{Clock, unix_seconds};

/// A name is looked up again after this: long enough not to ask for each
/// pull, short enough to follow a moved origin.
const ADDRESS_FRESH: Duration = Duration::from_secs(10);

/// The endpoints of one origin.
pub struct Endpoints {
    list: Vec<Known>,
    /// Seconds that the origin's clock is ahead of ours.
    skew: AtomicI64,
}

struct Known {
    endpoint: Endpoint,
    addresses: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Endpoints {
    pub fn new(endpoints: &[Endpoint]) -> Self {
        let known = |endpoint: &Endpoint| Known {
            endpoint: endpoint.clone(),
            addresses: Mutex::default(),
        };
        Self {
            list: endpoints.iter().map(known).collect(),
            skew: AtomicI64::new(0),
        }
    }

    /// The endpoint and address for a try: the first of the list, for a second
    /// try the next one.
    pub async fn pick(
        &self,
        index: usize,
        wait: Duration,
        clock: &Clock,
    ) -> Result<(&Endpoint, SocketAddr), Failure> {
        let count = self.list.len();
        let known = self
            .list
            .get(index.checked_rem(count).unwrap_or_default())
            .ok_or(Failure::Dns)?;
        let addresses = known.resolve(wait, clock.monotonic()).await?;
        let address = addresses
            .get(index / count % addresses.len().max(1))
            .ok_or(Failure::Dns)?;
        Ok((&known.endpoint, *address))
    }

    /// Our wall time as the origin's clock shows it.
    pub fn server_time(&self, now: SystemTime) -> SystemTime {
        let skew = self.skew.load(Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 { now - by } else { now + by }
    }

    /// Takes the origin's time from an answer's Date; false where it has none.
    pub fn learn_skew(&self, head: &Head, clock: &Clock) -> bool {
        let date = head
            .text(http::header::DATE)
            .and_then(|text| httpdate::parse_http_date(text).ok());
        let Some(date) = date else {
            return false;
        };
        let (theirs, ours) = (unix_seconds(date), clock.unix_seconds());
        let skew =
            i64::try_from(theirs).unwrap_or_default() - i64::try_from(ours).unwrap_or_default();
        tracing::warn!(
            seconds = skew,
            "the origin's clock differs from ours; signing with its time"
        );
        self.skew.store(skew, Relaxed);
        true
    }
}

impl Known {
    async fn resolve(&self, wait: Duration, now: Instant) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(ip) = self.endpoint.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.endpoint.port)]);
        }
        let cached = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < ADDRESS_FRESH;
        if let Some((_, addresses)) = cached.as_ref().filter(|(at, _)| fresh(at)) {
            return Ok(addresses.clone());
        }
        let looked_up = timeout(
            wait,
            lookup_host((self.endpoint.host.as_str(), self.endpoint.port)),
        )
        .await;
        let found: Vec<SocketAddr> = match looked_up {
            Ok(Ok(addresses)) => addresses.collect(),
            // A name server in trouble does not change where the origin is.
            _ => return cached.map(|(_, addresses)| addresses).ok_or(Failure::Dns),
        };
        if found.is_empty() {
            return Err(Failure::Dns);
        }
        *self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((now, found.clone()));
        Ok(found)
    }
}
