//! Pure: what a zone demands of a token.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The longest lifetime a token may have from now, unless the zone says else.
pub const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(400 * 86_400);

/// How a token was made. Told apart by the token's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HMAC-SHA256: `HS256-` and 43 characters, or `HS256-1-` with an address.
    Hs256,
    /// SHA-256 over key and message: 43 characters.
    Sha256,
    /// MD5 over key and message: 22 characters.
    Md5,
}

impl Scheme {
    pub const ALL: [Scheme; 3] = [Scheme::Hs256, Scheme::Sha256, Scheme::Md5];

    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Hs256 => "hs256",
            Scheme::Sha256 => "sha256",
            Scheme::Md5 => "md5",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }
}

/// A security key with the name under which it is logged and counted.
#[derive(Clone)]
pub struct Key {
    pub name: String,
    secret: Zeroizing<Vec<u8>>,
    mac: Hmac<Sha256>,
}

impl Key {
    /// Whether its secret begins so, as what stands for an absent one does.
    pub fn begins_with(&self, beginning: &str) -> bool {
        self.secret.starts_with(beginning.as_bytes())
    }

    /// `None` for an empty secret: there is no unsigned fall-back.
    pub fn new(name: impl Into<String>, secret: &[u8]) -> Option<Self> {
        if secret.is_empty() {
            return None;
        }
        let mac = Hmac::new_from_slice(secret).ok()?;
        Some(Self {
            name: name.into(),
            secret: Zeroizing::new(secret.to_vec()),
            mac,
        })
    }

    /// Whether both make the same tokens, whatever they are called.
    pub fn is(&self, other: &Self) -> bool {
        bool::from(subtle::ConstantTimeEq::ct_eq(
            &**self.secret,
            &**other.secret,
        ))
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// An HMAC whose key block is already hashed.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        self.mac.clone()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.name)
    }
}

/// What a zone demands of a token.
#[derive(Debug, Clone)]
pub struct Policy {
    pub keys: Vec<Key>,
    pub schemes: Vec<Scheme>,
    /// Demand that the client's address is signed.
    pub validate_ip: bool,
    pub max_lifetime: Duration,
    /// Read `token_path` as a raw prefix: `/v/s1` then covers `/v/s10`.
    pub raw_prefix: bool,
    /// Let a decoded `&` stand in a signed value.
    pub allow_ampersand: bool,
    /// Take a signature over the path as it is encoded, too.
    pub encoded_path: bool,
}

impl Policy {
    /// The defaults of a zone: HMAC and SHA-256, no address demanded.
    pub fn new(keys: Vec<Key>) -> Self {
        Self {
            keys,
            schemes: vec![Scheme::Hs256, Scheme::Sha256],
            validate_ip: false,
            max_lifetime: DEFAULT_MAX_LIFETIME,
            raw_prefix: false,
            allow_ampersand: false,
            encoded_path: true,
        }
    }
}
