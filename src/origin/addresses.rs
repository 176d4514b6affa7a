//! The addresses of an endpoint's name.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::failure::Trouble;
use super::{Endpoint, Failure};

/// A name is looked up again after this: long enough not to ask for each
/// pull, short enough to follow a moved origin.
const ADDRESS_FRESH: Duration = Duration::from_secs(10);

/// What was last looked up, and when.
#[derive(Default)]
pub struct Addresses(Mutex<Option<(Instant, Vec<SocketAddr>)>>);

impl Addresses {
    /// Those of an endpoint, looked up where that is some while ago.
    pub async fn of(
        &self,
        endpoint: &Endpoint,
        wait: Duration,
        now: Instant,
    ) -> Result<Vec<SocketAddr>, Trouble> {
        if let Ok(ip) = endpoint.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, endpoint.port)]);
        }
        if let Some(addresses) = self.remembered(now) {
            return Ok(addresses);
        }
        let lookup = lookup_host((endpoint.host.as_str(), endpoint.port));
        let (found, cause) = match timeout(wait, lookup).await {
            Ok(Ok(found)) => (found.collect(), None),
            Ok(Err(error)) => (Vec::new(), Some(error.to_string())),
            Err(_) => (Vec::new(), Some("no answer of the name server".into())),
        };
        self.learn(found, now)
            .map_err(|failure| Trouble { failure, cause })
    }

    /// The addresses that were looked up a short while ago.
    fn remembered(&self, now: Instant) -> Option<Vec<SocketAddr>> {
        let known = self.known();
        let fresh = |at: Instant| now.saturating_duration_since(at) < ADDRESS_FRESH;
        known
            .as_ref()
            .filter(|(at, _)| fresh(*at))
            .map(|(_, addresses)| addresses.clone())
    }

    /// What a look-up has found. Where that is nothing the last ones stay: a
    /// name server in trouble does not change where the origin is.
    fn learn(&self, found: Vec<SocketAddr>, now: Instant) -> Result<Vec<SocketAddr>, Failure> {
        let mut known = self.known();
        if !found.is_empty() {
            *known = Some((now, found));
        }
        let addresses = known.as_ref().map(|(_, addresses)| addresses.clone());
        addresses.ok_or(Failure::Dns)
    }

    fn known(&self) -> MutexGuard<'_, Option<(Instant, Vec<SocketAddr>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_moved_origin_is_followed_and_a_silent_name_server_moves_nothing() {
        let known = Addresses::default();
        let address = |last| vec![SocketAddr::from(([192, 0, 2, last], 9000))];
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(known.remembered(start), None);
        assert_eq!(known.learn(Vec::new(), start), Err(Failure::Dns));
        assert_eq!(known.learn(address(1), start), Ok(address(1)));
        assert_eq!(known.remembered(after(9)), Some(address(1)));
        assert_eq!(known.remembered(after(10)), None);
        assert_eq!(known.learn(address(2), after(10)), Ok(address(2)));
        assert_eq!(known.remembered(after(11)), Some(address(2)));
        assert_eq!(known.learn(Vec::new(), after(30)), Ok(address(2)));
    }
}
