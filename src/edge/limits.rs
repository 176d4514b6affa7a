//! How much of the node one viewer may take, and all of them together.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::listen::Listen;
use crate::origin::Origin;
use crate::per_address::{Guest, PerAddress, customer};
use crate::standing::Holder;
use crate::zone::contains;

/// Why a connection is closed before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// `listen.max_connections`.
    Node,
    /// `listen.max_connections_per_ip`.
    Address,
    /// The process has almost as many files open as it may.
    Files,
    /// A peer of `listen.proxy_protocol` has not said for whom it comes.
    ProxyHeader,
}

impl Crowded {
    pub const ALL: [Crowded; 4] = [
        Crowded::Node,
        Crowded::Address,
        Crowded::Files,
        Crowded::ProxyHeader,
    ];

    /// The metric label and the row of `docs/reference/limits.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Crowded::Node => "max_connections",
            Crowded::Address => "max_connections_per_ip",
            Crowded::Files => "open_files",
            Crowded::ProxyHeader => "proxy_header",
        }
    }
}

/// The node's counts against its limits.
pub struct Limits {
    connections: Arc<AtomicUsize>,
    max_connections: usize,
    per_address: Arc<PerAddress>,
    /// Heads that have begun to arrive and are not whole.
    heads: Arc<AtomicUsize>,
    max_heads: usize,
    /// Pulls that the origin may hold back, by the viewer who began them.
    held: Arc<PerAddress>,
    /// Answers that are not stored, by the viewer they are for.
    passes: Arc<PerAddress>,
    /// Proxies of the operator: many viewers behind one address.
    trusted: ArcSwap<Vec<IpNet>>,
    refused: [AtomicU64; Crowded::ALL.len()],
}

impl Limits {
    pub fn new(listen: &Listen) -> Self {
        Self {
            connections: Arc::default(),
            max_connections: listen.max_connections,
            per_address: PerAddress::new(listen.max_connections_per_ip),
            heads: Arc::default(),
            max_heads: listen.max_heads,
            held: PerAddress::new(listen.max_held_per_ip),
            passes: PerAddress::new(listen.max_passes_per_ip),
            trusted: ArcSwap::default(),
            refused: Default::default(),
        }
    }

    /// Addresses that the limits for one address do not count, besides loopback.
    pub fn trust(&self, networks: Vec<IpNet>) {
        self.trusted.store(Arc::new(networks));
    }

    /// Connections that viewers hold open.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Connections that were closed before their first request.
    pub fn refused(&self) -> impl Iterator<Item = (Crowded, u64)> + '_ {
        let counts = self.refused.iter().map(|count| count.load(Relaxed));
        Crowded::ALL.into_iter().zip(counts)
    }

    /// A connection's place, for as long as it is open.
    pub fn connect(&self, peer: IpAddr) -> Result<(Place, Guest), Crowded> {
        let place = Place::take(&self.connections, self.max_connections);
        let place = place.ok_or_else(|| self.refuse(Crowded::Node))?;
        let guest = self.guest(&self.per_address, peer);
        let guest = guest.ok_or_else(|| self.refuse(Crowded::Address))?;
        Ok((place, guest))
    }

    /// A place for a head that does not come in one piece.
    pub fn begin_head(&self) -> Option<Place> {
        Place::take(&self.heads, self.max_heads)
    }

    /// A viewer's place for one more pull that the origin may hold back.
    pub fn hold(&self, viewer: IpAddr) -> Option<Guest> {
        self.guest(&self.held, viewer)
    }

    /// A viewer's place for one more answer that is not stored.
    pub fn pass(&self, viewer: IpAddr) -> Option<Guest> {
        self.guest(&self.passes, viewer)
    }

    /// Whose waits count together with those of this connection.
    pub fn holder(&self, peer: SocketAddr) -> Holder {
        match self.counted(peer.ip()) {
            Some(address) => (customer(address), 0).into(),
            None => peer,
        }
    }

    fn guest(&self, counts: &Arc<PerAddress>, address: IpAddr) -> Option<Guest> {
        match self.counted(address) {
            Some(address) => counts.enter(address),
            None => Some(Guest::uncounted()),
        }
    }

    /// A viewer's place for one more request to an origin.
    pub fn pull(&self, viewer: IpAddr, origin: &Origin) -> Option<Guest> {
        match self.counted(viewer) {
            Some(address) => origin.guest(address),
            None => Some(Guest::uncounted()),
        }
    }

    /// An address that the limits for one address count.
    fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        let exempt = address.is_loopback() || contains(&self.trusted.load(), address);
        (!exempt).then_some(address)
    }

    /// Counts a connection that is not taken.
    pub fn refuse(&self, crowded: Crowded) -> Crowded {
        self.refused[crowded as usize].fetch_add(1, Relaxed);
        crowded
    }
}

/// One of so many places, given back on drop.
pub struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = (count.fetch_add(1, Relaxed) < most).then(|| Self(Arc::clone(count)));
        if place.is_none() {
            count.fetch_sub(1, Relaxed);
        }
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let count = Arc::default();
        let places: Vec<_> = (0..3).map(|_| Place::take(&count, 2)).collect();
        let taken: Vec<_> = places.iter().map(Option::is_some).collect();
        assert_eq!(taken, [true, true, false]);
        drop(places);
        assert_eq!(count.load(Relaxed), 0);
    }
}
