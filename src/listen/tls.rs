//! Certificates, chosen by the name that a client asks for (SNI).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// One certificate chain with its key, both PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A certificate that ends within this is soon too old: renewals come at a third
/// of 90 days.
const SOON: i64 = 14 * 86_400;

/// All certificates of the node by host name. The first one is for clients
/// that name no host or an unknown one.
#[derive(Debug)]
pub struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
    /// Each file with its leaf's last second, in Unix time.
    pub expiries: Vec<(String, i64)>,
}

impl Certificates {
    /// `None` for an empty list; an error says which file and why.
    pub fn load(certificates: &[Certificate]) -> Result<Option<Self>, String> {
        let (mut by_name, mut expiries) = (HashMap::new(), Vec::new());
        let mut first = None;
        for certificate in certificates {
            let key = Arc::new(load_pair(&certificate.cert, &certificate.key)?);
            let leaf = Leaf::of(&key)?;
            expiries.push((certificate.cert.display().to_string(), leaf.expires));
            for name in leaf.names {
                by_name.entry(name).or_insert_with(|| Arc::clone(&key));
            }
            first.get_or_insert(key);
        }
        Ok(first.map(|first| Self {
            by_name,
            first,
            expiries,
        }))
    }

    /// What is doubtful of them at a time (Unix seconds), beside the zones' names.
    pub fn doubts<'n>(&self, names: impl Iterator<Item = &'n str>, now: i64) -> Vec<String> {
        let mut doubts = Vec::new();
        for (file, expires) in &self.expiries {
            let days = (expires - now) / 86_400;
            if *expires <= now {
                doubts.push(format!(
                    "tls.certificates: {file} has ended {} days ago",
                    -days
                ));
            } else if *expires - now < SOON {
                doubts.push(format!("tls.certificates: {file} ends in {days} days"));
            }
        }
        let named = names.filter(|name| *name != "*" && !name.starts_with('['));
        for name in named.filter(|name| self.find(name).is_none()) {
            doubts.push(format!("tls.certificates: none is for {name}"));
        }
        doubts
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(wildcard)
    }
}

/// The certificates in force; a handshake takes those of its moment.
#[derive(Debug)]
pub struct CertificateResolver(ArcSwap<Certificates>);

impl CertificateResolver {
    pub fn new(certificates: Certificates) -> Self {
        Self(ArcSwap::from_pointee(certificates))
    }

    pub fn replace(&self, certificates: Certificates) {
        self.0.store(Arc::new(certificates));
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.load();
        let named = hello.server_name().and_then(|name| certificates.find(name));
        Some(Arc::clone(named.unwrap_or(&certificates.first)))
    }
}

/// Whether a chain and a key can be loaded and belong together.
pub fn check_certificate(cert: &Path, key: &Path) -> Result<(), String> {
    let pair = load_pair(cert, key)?;
    Leaf::of(&pair).map(|_| ())
}

/// Whether a file holds certificates of authorities.
pub fn check_authorities(path: &Path) -> Result<(), String> {
    load_chain(path).and_then(|chain| match chain.is_empty() {
        true => Err(format!("{}: no certificate", path.display())),
        false => Ok(()),
    })
}

fn load_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    certificates.map_err(|error| format!("{}: {error}", path.display()))
}

fn load_pair(cert: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain = load_chain(cert)?;
    let leaf = chain
        .first()
        .ok_or_else(|| format!("{}: no certificate", cert.display()))?;
    ParsedCertificate::try_from(leaf).map_err(|error| format!("{}: {error}", cert.display()))?;
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let signer =
        any_supported_type(&secret).map_err(|error| format!("{}: {error}", key.display()))?;
    let pair = CertifiedKey::new(chain, signer);
    pair.keys_match()
        .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))?;
    Ok(pair)
}

/// What a leaf says of itself.
struct Leaf {
    /// DNS names, lower case.
    names: Vec<String>,
    expires: i64,
}

impl Leaf {
    fn of(pair: &CertifiedKey) -> Result<Self, String> {
        let leaf = pair.end_entity_cert().map_err(|error| error.to_string())?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let alternative = leaf
            .subject_alternative_name()
            .map_err(|error| error.to_string())?;
        let general = alternative
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let dns = general.iter().filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some(dns.to_ascii_lowercase()),
            _ => None,
        });
        Ok(Self {
            names: dns.collect(),
            expires: leaf.validity().not_after.timestamp(),
        })
    }
}
