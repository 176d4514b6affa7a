//! Sockets and TLS: where viewers come in, with every limit of a connection in
//! one place.

mod tls;

pub use tls::{CertificateResolver, Certificates, check_certificate};

use std::net::SocketAddr;
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::http_proxy;
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use tokio::net::TcpSocket;

use crate::edge::{Edge, Lane, Node, REQUESTS_PER_CONNECTION};

/// An idle HTTP/2 connection is closed after this; without it they pile up.
const H2_IDLE: Duration = Duration::from_secs(90);
const H2_STREAMS: u32 = 100;
/// Bytes that one HTTP/2 stream may have waiting in the connection.
const H2_SEND_BUFFER_BYTES: usize = 256 << 10;
/// Connections that the kernel may hold before they are accepted.
const BACKLOG: u32 = 65_535;
/// Tries of requests that the proxy carries, before their first byte.
const PROXY_TRIES: usize = 2;

/// Bound sockets, to be served later: if one cannot be bound, nothing is.
#[derive(Default)]
pub struct Sockets {
    pub http: Vec<Bound>,
    pub https: Vec<Bound>,
}

/// A socket and the address that it really has (a port 0 is chosen by now).
pub struct Bound {
    pub address: SocketAddr,
    fd: RawFd,
}

impl Sockets {
    pub fn bind(http: &[SocketAddr], https: &[SocketAddr]) -> Result<Self, String> {
        let all = |addresses: &[SocketAddr]| -> Result<Vec<Bound>, String> {
            addresses.iter().map(|address| bind(*address)).collect()
        };
        Ok(Self {
            http: all(http)?,
            https: all(https)?,
        })
    }
}

fn bind(address: SocketAddr) -> Result<Bound, String> {
    let attempt = || -> std::io::Result<Bound> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        Ok(Bound {
            address: listener.local_addr()?,
            fd: listener.into_raw_fd(),
        })
    };
    attempt().map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// The service that serves viewers on these sockets, and the sockets' table
/// that it takes them from.
pub fn service(
    node: &Arc<Node>,
    sockets: &Sockets,
    resolver: Option<&Arc<CertificateResolver>>,
) -> Result<(Service<Lane>, Fds), String> {
    let conf = ServerConf {
        max_retries: PROXY_TRIES,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), Edge::new(Arc::clone(node)));
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(H2_IDLE);
    proxy.server_options = Some(options);
    proxy.h2_options = Some(h2_options());
    let mut service = Service::new("edge".to_owned(), Lane::new(Arc::clone(node), proxy));
    let mut fds = Fds::new();
    for bound in &sockets.http {
        service.add_listener(listener(bound, &mut fds));
    }
    for bound in &sockets.https {
        let resolver = resolver.ok_or("https needs a certificate")?;
        let mut tls = TlsSettings::intermediate("", "").map_err(|error| error.to_string())?;
        tls.set_cert_resolver(Arc::<CertificateResolver>::clone(resolver));
        tls.enable_h2();
        service.add_listener(listener(bound, &mut fds).tls(tls));
    }
    Ok((service, fds))
}

fn listener(bound: &Bound, fds: &mut Fds) -> ListenerConfig {
    let address = bound.address.to_string();
    fds.add(address.clone(), bound.fd);
    // The lane reads into memory of its own and writes whole responses; a
    // buffer here would hold back the last bytes of a body that still arrives.
    ListenerConfig::tcp(address).l4_buffer(L4BufferSettings::unbuffered())
}

/// From Pingora's bounded defaults: `H2Options::default()` has no bounds.
fn h2_options() -> H2Options {
    let mut options = default_h2_options();
    options.max_concurrent_streams(H2_STREAMS);
    options.max_send_buffer_size(H2_SEND_BUFFER_BYTES);
    options
}
