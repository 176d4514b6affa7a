//! Addresses that are let in no more for a while, in one zone or in all, with a
//! reason and an end. They survive a restart.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::state_file::{Indexed, Kept};

/// Blocks of one node.
pub const MAX_BLOCKS: usize = 10_000;

/// One address or network that is let in no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub network: IpNet,
    /// The zone's name; `None`: all.
    pub zone: Option<String>,
    pub reason: String,
    /// Unix seconds; from then on it is let in again.
    pub until: u64,
    /// The access key's name, and when, in Unix seconds.
    pub by: String,
    pub since: u64,
}

impl Kept for Block {
    type Place = (IpNet, Option<String>);

    fn place(&self) -> Self::Place {
        (self.network.trunc(), self.zone.clone())
    }

    fn is_over(&self, now: u64) -> bool {
        self.until <= now
    }
}

/// All of a node's.
pub type Blocks = Indexed<Block, Index>;

/// Found by the lengths of prefix that there are: a few, however many networks.
#[derive(Default)]
pub struct Index {
    lengths: BTreeSet<u8>,
    /// Zone (`None`: all) and end, in Unix seconds.
    networks: HashMap<IpNet, Vec<(Option<String>, u64)>>,
}

impl Index {
    fn of(list: &[Block]) -> Self {
        let mut index = Self::default();
        for block in list {
            let network = block.network.trunc();
            index.lengths.insert(network.prefix_len());
            let ends = index.networks.entry(network).or_default();
            ends.push((block.zone.clone(), block.until));
        }
        index
    }
}

impl Blocks {
    /// Those that an earlier process has kept in `folder`.
    pub fn open(folder: Option<&Path>) -> Result<Self, String> {
        Self::opened(folder, "blocks", MAX_BLOCKS, Index::of)
    }

    /// Whether an address is let in no more now, in Unix seconds.
    pub fn covers(&self, zone: &str, address: IpAddr, now: u64) -> bool {
        let index = self.load();
        let holds = |(of, until): &(Option<String>, u64)| {
            now < *until && of.as_deref().is_none_or(|of| of == zone)
        };
        index.lengths.iter().any(|length| {
            let network = IpNet::new(address, *length).ok();
            let ends = network.and_then(|it| index.networks.get(&it.trunc()));
            ends.is_some_and(|ends| ends.iter().any(holds))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(network: &str, zone: Option<&str>, until: u64) -> Block {
        Block {
            network: network.parse().expect("a network"),
            zone: zone.map(str::to_owned),
            reason: "takes everything".into(),
            until,
            by: "ops".into(),
            since: 1,
        }
    }

    #[test]
    fn an_address_is_blocked_where_and_for_as_long_as_was_said() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let open = || Blocks::open(Some(folder.path())).expect("readable");
        let all = [
            block("203.0.113.7/32", None, 100),
            block("198.51.100.9/24", Some("vod"), 100),
            block("2001:db8:1::/48", None, 100),
        ];
        let blocks = open();
        blocks.add(&all, 1).expect("kept");
        for blocks in [blocks, open()] {
            let table = [
                ("vod", "203.0.113.7", 99, true),
                ("live", "203.0.113.7", 99, true),
                ("vod", "203.0.113.7", 100, false),
                ("vod", "203.0.113.8", 99, false),
                ("vod", "198.51.100.200", 99, true),
                ("live", "198.51.100.200", 99, false),
                ("vod", "2001:db8:1:ffff::1", 99, true),
                ("vod", "2001:db8:2::1", 99, false),
                ("vod", "::ffff:203.0.113.7", 99, false),
            ];
            for (zone, address, now, want) in table {
                let address = address.parse().expect("an address");
                let found = blocks.covers(zone, address, now);
                assert_eq!(found, want, "{zone} {address} {now}");
            }
        }
        let blocks = open();
        let place = block("203.0.113.7/32", None, 0);
        assert_eq!(blocks.lift(std::slice::from_ref(&place), 1), Ok(1));
        assert_eq!(blocks.lift(&[place], 1), Ok(0));
        assert!(!open().covers("vod", [203, 0, 113, 7].into(), 50));
    }
}
