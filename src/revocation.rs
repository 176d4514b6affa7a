//! Which tokens are let in no more, though they are signed and have not
//! expired. They survive a restart, and are forgotten when no token needs them.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::path_index::name_of;
use crate::state_file::{Indexed, Kept};
use crate::token::{Fingerprint, Revoked};

/// Revocations of one node.
pub const MAX_REVOCATIONS: usize = 10_000;

/// Tokens that are let in no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The zone's name.
    pub zone: String,
    #[serde(flatten)]
    pub what: What,
    /// Of a prefix or key: the tokens that expire before it, in Unix seconds;
    /// absent: all.
    pub expires_before: Option<u64>,
    pub reason: String,
    /// The access key's name, and when, in Unix seconds.
    pub by: String,
    pub since: u64,
    /// When the last such token has expired, where that is known.
    pub forget_at: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "lowercase")]
pub enum What {
    Token(Fingerprint),
    /// Whatever a token is good for: it is not for paths that begin so.
    Prefix(String),
    /// A security key, by its name.
    Key(String),
}

impl Kept for Revocation {
    type Place = (String, What);

    /// However its path is spelled.
    fn place(&self) -> Self::Place {
        let what = match &self.what {
            What::Prefix(prefix) => What::Prefix(name_of(prefix, true).into_owned()),
            What::Token(_) | What::Key(_) => self.what.clone(),
        };
        (self.zone.clone(), what)
    }

    fn is_over(&self, now: u64) -> bool {
        self.forget_at.is_some_and(|at| at < now)
    }
}

/// By the zones' names.
pub type ByZone = HashMap<String, Revoked>;

/// All of a node's.
pub type Revocations = Indexed<Revocation, ByZone>;

impl Revocations {
    /// Those that an earlier process has kept in `folder`.
    pub fn open(folder: Option<&Path>) -> Result<Self, String> {
        Self::opened(folder, "revocations", MAX_REVOCATIONS, index)
    }
}

fn index(list: &[Revocation]) -> ByZone {
    let mut zones = ByZone::new();
    for revocation in list {
        let zone = zones.entry(revocation.zone.clone()).or_default();
        let before = revocation.expires_before.unwrap_or(u64::MAX);
        match &revocation.what {
            What::Token(fingerprint) => zone.token(*fingerprint),
            What::Prefix(prefix) => zone.prefix(prefix, before),
            What::Key(name) => zone.key(name, before),
        }
    }
    zones
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_kept_until_no_token_needs_it() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let open = || Revocations::open(Some(folder.path())).expect("readable");
        let one = |what: What, forget_at| Revocation {
            zone: "vod".into(),
            what,
            expires_before: forget_at,
            reason: "leaked".into(),
            by: "ops".into(),
            since: 1,
            forget_at,
        };
        let key = |name: &str| What::Key(name.to_owned());
        let all = [one(key("old"), Some(100)), one(key("leaked"), None)];
        open().add(&all, 50).expect("kept");
        assert_eq!(*open().list(), all);
        assert!(open().load()["vod"].covers(&token(), "old", "/a", 99));
        assert!(!open().load()["vod"].covers(&token(), "old", "/a", 100));
        let revocations = open();
        revocations
            .add(&[one(What::Prefix("/v/".into()), None)], 101)
            .expect("kept");
        assert_eq!(revocations.list().len(), 2, "of the old key none is left");
        assert_eq!(revocations.lift(&all, 101), Ok(1));
        let text = std::fs::read_to_string(folder.path().join("revocations.json"));
        let text = text.expect("a file");
        assert!(text.contains("\"kind\": \"prefix\"") && text.contains("\"value\": \"/v/\""));
        assert_eq!(open().list(), revocations.list());
    }

    fn token() -> crate::token::Token {
        crate::token::Token::parse(&"A".repeat(43)).expect("a token")
    }
}
