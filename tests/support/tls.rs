//! Certificates of the tests' own, and a TLS client that says which protocol it
//! speaks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

/// Writes a new certificate for a name and its key; returns the entry of the
/// configuration and the certificate.
pub fn certify(folder: &Path, name: &str) -> (String, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let stem = name.replace('*', "any");
    let write = |suffix: &str, text: String| {
        let path = folder.join(format!("{stem}.{suffix}"));
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let pem = write("pem", cert.pem());
    let key = write("key", signing_key.serialize_pem());
    (
        format!("{{ cert = {pem:?}, key = {key:?} }}"),
        cert.der().clone(),
    )
}

pub async fn connect(
    address: SocketAddr,
    roots: &RootCertStore,
    name: &str,
    alpn: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("the edge accepts");
    over(stream, roots, name, alpn, versions).await
}

/// TLS over a connection that there is.
pub async fn over(
    stream: TcpStream,
    roots: &RootCertStore,
    name: &str,
    alpn: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions");
    let mut config = builder
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    // What a test writes in pieces shall come in pieces.
    stream.set_nodelay(true).expect("a TCP option");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .expect("a handshake")
}
