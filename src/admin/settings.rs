//! Who may call the API, and where.

use std::net::SocketAddr;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// The listener for the operator.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub access_keys: Vec<AccessKey>,
    /// Names that it is called by besides those of this machine, where it
    /// listens to this machine alone.
    pub hosts: Vec<String>,
    /// Where takedowns, revocations and blocks are kept.
    pub state_dir: Option<PathBuf>,
    /// `None`: the node's own log.
    pub audit_log: Option<PathBuf>,
}

#[derive(Clone)]
pub struct AccessKey {
    pub name: String,
    pub secret: Zeroizing<String>,
    pub rights: Rights,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessKey({:?}, {:?})", self.name, self.rights)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    Read,
    Purge,
    Admin,
}
