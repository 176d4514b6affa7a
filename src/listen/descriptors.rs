//! Open files: every connection is one, and a process may have so many. Who
//! only connects must not take those that pulls, logs and the operator need.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use async_trait::async_trait;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pingora::listeners::ConnectionFilter;

use crate::edge::{Crowded, Node};

/// Kept from viewers, whatever else there is: 64 connections of the operator,
/// and some thirty of the runtime, the listeners and the logs. Of very few it
/// is half.
const RESERVED: u64 = 100;
/// Pulls keep at most this share of what is left.
const PULLS_SHARE: u64 = 4;

/// Raises the limit of open files as far as this process may by itself, and
/// returns it.
pub fn raise() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    Ok(if raised.is_ok() { hard } else { soft })
}

/// How many viewers may connect at a time where `limit` files may be open: all
/// that are wanted, or what pulls (`pulls`: those of all zones) and
/// the node itself leave.
pub fn viewers(limit: u64, wanted: usize, pulls: usize) -> usize {
    let left = limit - reserved(limit);
    let pulls = (pulls as u64).min(left / PULLS_SHARE);
    let left = usize::try_from(left - pulls).unwrap_or(usize::MAX);
    wanted.min(left).max(1)
}

fn reserved(limit: u64) -> u64 {
    RESERVED.min(limit / 2)
}

/// Says that fewer viewers may connect than was wanted.
pub fn lowered(limit: u64, wanted: usize, pulls: usize) -> Option<String> {
    let may = viewers(limit, wanted, pulls);
    let needed = wanted as u64 + pulls as u64 + RESERVED;
    (may < wanted).then(|| {
        format!(
            "listen.max_connections is {may} and not {wanted}: {limit} files may be open, \
             {needed} are needed (LimitNOFILE=, ulimit -n)"
        )
    })
}

/// Lets no viewer have one of the last open files.
pub struct Gate {
    node: Arc<Node>,
    /// Any file. The number of one more is the lowest that is free.
    spare: File,
    /// The first number that is no viewer's.
    end: i64,
}

impl Gate {
    pub fn new(node: Arc<Node>, limit: u64) -> io::Result<Self> {
        let end = limit - reserved(limit);
        Ok(Self {
            node,
            spare: File::open("/dev/null")?,
            end: i64::try_from(end).unwrap_or(i64::MAX),
        })
    }

    fn has_room(&self) -> bool {
        let one_more = self.spare.try_clone();
        one_more.is_ok_and(|file| i64::from(file.as_raw_fd()) < self.end)
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gate({})", self.end)
    }
}

#[async_trait]
impl ConnectionFilter for Gate {
    /// Before TLS: a handshake that never ends is a file, too.
    async fn should_accept(&self, _peer: Option<&SocketAddr>) -> bool {
        let room = self.has_room();
        if !room {
            self.node.limits.refuse(Crowded::Files);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_get_what_the_rest_of_the_node_leaves() {
        let table = [
            ("enough", 100_000, 65_536, 256, 65_536),
            ("just enough", 65_536 + 256 + 100, 65_536, 256, 65_536),
            ("one too few", 65_536 + 256 + 99, 65_536, 256, 65_535),
            ("a small one", 256, 65_536, 256, 117),
            ("few pulls", 256, 65_536, 16, 140),
            ("fewer wanted", 256, 50, 256, 50),
            ("very few", 64, 65_536, 256, 24),
            ("next to none", 1, 65_536, 256, 1),
            ("no limit", u64::MAX, 65_536, 256, 65_536),
        ];
        for (name, limit, wanted, pulls, may) in table {
            assert_eq!(viewers(limit, wanted, pulls), may, "{name}");
            assert_eq!(
                lowered(limit, wanted, pulls).is_some(),
                may < wanted,
                "{name}"
            );
        }
    }
}
