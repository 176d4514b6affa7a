//! So many of something for one address, and no more.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

/// Locks of the counts; viewers of different addresses seldom meet.
const SHARDS: usize = 16;

/// Counts by address. Of IPv6 the /64 counts: it is one customer's.
pub struct PerAddress {
    shards: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    most: usize,
}

impl PerAddress {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: Default::default(),
            most,
        })
    }

    /// `None`: the address has no place left.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let address = customer(address);
        let mut counts = self.shard(address);
        let count = counts.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Guest(Some((Arc::clone(self), address))))
    }

    fn leave(&self, address: IpAddr) {
        let mut counts = self.shard(address);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let byte = match address {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[7],
        };
        self.shards[usize::from(byte) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// As viewers' addresses are compared: IPv4 in IPv6 is IPv4 (RFC 4291 §2.5.5.2).
pub fn canonical(network: IpNet) -> IpNet {
    let plain = match network {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => {
            let bits = v6.prefix_len().checked_sub(96);
            v6.addr().to_ipv4_mapped().zip(bits)
        }
    };
    let plain = plain.and_then(|(address, bits)| IpNet::new(address.into(), bits).ok());
    plain.unwrap_or(network).trunc()
}

/// Whose address it is: of IPv6 the /64.
pub fn customer(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// One of an address's places, given back on drop; `None`: it is not counted.
pub struct Guest(Option<(Arc<PerAddress>, IpAddr)>);

impl Guest {
    pub fn uncounted() -> Self {
        Self(None)
    }

    /// Of what no viewer has asked for.
    pub fn nobodys() -> [Self; 2] {
        [Self::uncounted(), Self::uncounted()]
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some((counts, address)) = self.0.take() {
            counts.leave(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_in_ipv6_is_ipv4_and_a_network_is_its_first_address() {
        let table = [
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("::ffff:203.0.113.7/128", "203.0.113.7/32"),
            ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::1/48", "2001:db8::/48"),
        ];
        for (text, want) in table {
            let network: IpNet = text.parse().expect("a network");
            assert_eq!(canonical(network).to_string(), want);
        }
    }

    #[test]
    fn an_address_has_so_many_places_and_a_network_of_a_customer_counts_as_one() {
        let counts = PerAddress::new(2);
        let enter = |text: &str| counts.enter(text.parse().expect("an address"));
        let one = enter("2001:db8:1:2::1");
        let two = enter("2001:db8:1:2::2");
        assert!(one.is_some() && two.is_some());
        assert!(enter("2001:db8:1:2:3::").is_none());
        assert!(enter("2001:db8:1:3::").is_some());
        assert!(enter("192.0.2.1").is_some());
        drop(one);
        assert!(enter("2001:db8:1:2::9").is_some());
        drop(two);
        let left = counts
            .shards
            .iter()
            .map(|shard| shard.lock().map_or(9, |it| it.len()));
        assert_eq!(left.sum::<usize>(), 0, "who has left is forgotten");
    }
}
