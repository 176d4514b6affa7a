//! Sockets and TLS: where viewers come in, with every limit of a connection in
//! one place.

mod descriptors;
mod inherited;
mod tls;

pub use descriptors::{lowered, raise, viewers};
pub use inherited::Inherited;
pub use tls::{
    Certificate, CertificateResolver, Certificates, check_authorities, check_certificate,
};

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::http_proxy;
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use tokio::net::TcpSocket;

use crate::edge::{Edge, Lane, Listen, Node, ProxyProtocol, REQUESTS_PER_CONNECTION};
use descriptors::Gate;

const H2_STREAMS: u32 = 100;
/// A header list by RFC 9113 §6.5.2, 32 bytes for each line included: a signed
/// URL of 8 KiB and what players send fit twice.
const H2_HEADER_LIST_BYTES: u32 = 16 << 10;
/// Streams of one connection that the edge had to reset for what its viewer did
/// (CVE-2025-8671), and streams that were reset before they were taken up
/// (CVE-2023-44487): one more ends the connection. The first is h2's own number
/// of today, and so is the second.
const H2_RESETS: usize = 1024;
const H2_PENDING_RESETS: usize = 20;
/// Bytes that one HTTP/2 stream may have waiting in the connection.
const H2_SEND_BUFFER_BYTES: usize = 256 << 10;
/// Connections that the kernel may hold before they are accepted.
const BACKLOG: u32 = 65_535;
/// Tries of requests that the proxy carries, before their first byte.
const PROXY_TRIES: usize = 2;

/// Bound sockets, to be served later: if one cannot be bound, nothing is.
pub struct Sockets {
    pub http: Vec<Bound>,
    pub https: Vec<Bound>,
    pub admin: Bound,
}

/// A socket and the address that it really has (a port 0 is chosen by now).
pub struct Bound {
    pub address: SocketAddr,
    socket: TcpListener,
}

impl Sockets {
    /// Takes what there is of them from `inherited`, and binds the others.
    pub fn bind(
        listen: &Listen,
        admin: SocketAddr,
        mut inherited: Inherited,
    ) -> Result<Self, String> {
        let mut all = |addresses: &[SocketAddr]| -> Result<Vec<Bound>, String> {
            let bound = addresses.iter().map(|at| Bound::at(*at, &mut inherited));
            bound.collect()
        };
        Ok(Self {
            http: all(&listen.http)?,
            https: all(&listen.https)?,
            admin: Bound::at(admin, &mut inherited)
                .map_err(|error| format!("the admin listener: {error}"))?,
        })
    }

    /// All of them once more, to be handed on.
    pub fn duplicate(&self) -> io::Result<Vec<OwnedFd>> {
        let all = self.http.iter().chain(&self.https).chain([&self.admin]);
        all.map(|bound| Ok(bound.socket.try_clone()?.into()))
            .collect()
    }
}

impl Bound {
    fn at(address: SocketAddr, inherited: &mut Inherited) -> Result<Self, String> {
        let socket = match inherited.take(address) {
            Some(socket) => Ok(socket),
            None => listen_on(address),
        };
        let bound = socket.and_then(|socket| {
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok(Self { address, socket })
        });
        bound.map_err(|error| format!("cannot listen on {address}: {error}"))
    }

    /// The socket for the runtime.
    pub fn listener(&self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.socket.try_clone()?)
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// The service that serves viewers on these sockets, and the sockets' table
/// that it takes them from. `max_files`: that the process may have open.
pub fn service(
    node: &Arc<Node>,
    sockets: &Sockets,
    resolver: Option<&Arc<CertificateResolver>>,
    max_files: u64,
) -> Result<(Service<Lane>, Fds), String> {
    let conf = ServerConf {
        max_retries: PROXY_TRIES,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), Edge::new(Arc::clone(node)));
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    proxy.server_options = Some(options);
    proxy.h2_options = Some(h2_options());
    let mut service = Service::new("edge".to_owned(), Lane::new(Arc::clone(node), proxy));
    let mut fds = Fds::new();
    for bound in &sockets.http {
        service.add_listener(listener(bound, &mut fds)?);
    }
    for bound in &sockets.https {
        let resolver = resolver.ok_or("https needs a certificate")?;
        let mut tls = TlsSettings::intermediate("", "").map_err(|error| error.to_string())?;
        tls.set_cert_resolver(Arc::<CertificateResolver>::clone(resolver));
        tls.enable_h2();
        service.add_listener(listener(bound, &mut fds)?.tls(tls));
    }
    if !node.listen.proxy_protocol.is_empty() {
        let callback = Arc::new(ProxyProtocol(Arc::clone(node)));
        service.endpoints().set_pre_tls_callback(callback);
    }
    let gate = Gate::new(Arc::clone(node), max_files).map_err(|error| error.to_string())?;
    service.set_connection_filter(Arc::new(gate));
    Ok((service, fds))
}

fn listener(bound: &Bound, fds: &mut Fds) -> Result<ListenerConfig, String> {
    let address = bound.address.to_string();
    // Pingora closes its own: the socket is given up when both are.
    let own = bound
        .socket
        .try_clone()
        .map_err(|error| error.to_string())?;
    fds.add(address.clone(), own.into_raw_fd());
    // The lane reads into memory of its own and writes whole responses; a
    // buffer here would hold back the last bytes of a body that still arrives.
    Ok(ListenerConfig::tcp(address).l4_buffer(L4BufferSettings::unbuffered()))
}

/// From Pingora's bounded defaults: `H2Options::default()` has no bounds.
fn h2_options() -> H2Options {
    let mut options = default_h2_options();
    options.max_concurrent_streams(H2_STREAMS);
    options.max_send_buffer_size(H2_SEND_BUFFER_BYTES);
    options.max_header_list_size(H2_HEADER_LIST_BYTES);
    options.max_local_error_reset_streams(Some(H2_RESETS));
    options.max_pending_accept_reset_streams(H2_PENDING_RESETS);
    options
}
