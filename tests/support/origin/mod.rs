//! A small S3-shaped origin for tests and the demo, on its own raw HTTP/1.1 wire so that every
//! fault is exact.
//!
//! [`DevOrigin`] is the running server, [`OriginState`] what it holds and has seen. State survives
//! [`DevOrigin::stop`] and [`DevOrigin::start_on`]. Not for production: objects live in memory,
//! limits are generous.

#![allow(
    dead_code,
    unused_imports,
    reason = "shared by tests and the demo; neither uses all of it"
)]

mod answer;
mod clock;
mod conditional;
mod control;
mod distort;
mod exchange;
mod fault;
mod gate;
mod object;
mod record;
mod respond;
mod s3_error;
mod send;
mod shelf;
mod sigv4;
mod sigv4_canonical;
mod state;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

pub use answer::{Handler, Reply};
pub use fault::{Fault, FaultRule};
pub use gate::Gate;
pub use object::{Body, Object, content_type_of, generated_byte_block};
pub use record::SeenRequest;
pub use sigv4::{Credential, Session};
pub use state::OriginState;

/// What the origin pretends to be. All but `port` can be changed later by
/// [`OriginState::configure`].
#[derive(Clone, Debug)]
pub struct DevOriginOptions {
    /// `true`: buckets, SigV4 and S3 errors. `false`: a plain web server, where the path is the
    /// key.
    pub s3: bool,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Who may sign. A request is checked against the one whose access key it names.
    pub credentials: Vec<Credential>,
    pub region: String,
    /// Buckets that are there also where nothing was put into them.
    pub buckets: Vec<String>,
    /// Buckets that also answer requests without a signature. A signature that is sent must hold
    /// all the same.
    pub anonymous_buckets: Vec<String>,
    /// Without `s3:ListBucket` a missing key is 403 AccessDenied instead of 404 NoSuchKey.
    pub list_bucket_allowed: bool,
    /// Answers SignatureDoesNotMatch when `range` is among the signed headers, as some MinIO
    /// versions do. boto3 signs it: switch this off for that client.
    pub refuse_signed_range: bool,
    /// Seconds the origin's clock is ahead of the machine's; negative is behind. Shows in `Date`
    /// and in the skew check.
    pub clock_offset: i64,
    /// Opens `/_dev/faults` and `/_dev/requests`.
    pub control: bool,
}

impl Default for DevOriginOptions {
    fn default() -> Self {
        Self {
            s3: true,
            port: 0,
            credentials: vec![Credential::new("dev-access-key", "dev-secret-key")],
            region: "us-east-1".to_owned(),
            buckets: vec!["media".to_owned()],
            anonymous_buckets: Vec::new(),
            list_bucket_allowed: true,
            refuse_signed_range: true,
            clock_offset: 0,
            control: false,
        }
    }
}

impl DevOriginOptions {
    /// A plain web server: no buckets, no signatures.
    pub fn plain() -> Self {
        Self {
            s3: false,
            ..Self::default()
        }
    }
}

/// A running origin. Dropping it closes the listener and every connection.
pub struct DevOrigin {
    state: OriginState,
    addr: SocketAddr,
    server: Option<Server>,
}

/// The accepting task; it ends, and its connections with it, when `stopping` is dropped.
struct Server {
    stopping: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    fn spawn(listener: TcpListener, state: OriginState) -> Self {
        let (stopping, stopped) = oneshot::channel();
        Self {
            stopping,
            task: tokio::spawn(accept(listener, state, stopped)),
        }
    }
}

impl DevOrigin {
    /// Binds 127.0.0.1 and serves until stopped; connections are accepted from the moment this
    /// returns.
    pub async fn start(options: DevOriginOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let addr = listener.local_addr()?;
        let state = OriginState::new(options);
        let server = Server::spawn(listener, state.clone());
        Ok(Self {
            state,
            addr,
            server: Some(server),
        })
    }

    /// The address last listened on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:port`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A clone shares everything with the server: objects, faults, gates, records.
    pub fn state(&self) -> OriginState {
        self.state.clone()
    }

    /// Closes the listener and all connections; the port refuses connections when this returns.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            drop(server.stopping);
            // An error is a panic of the accepting task, and then it has stopped as well.
            let _ = server.task.await;
        }
    }

    /// Serves the same state again on `port`, stopping first if it still runs.
    pub async fn start_on(&mut self, port: u16) -> io::Result<()> {
        self.stop().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        self.addr = listener.local_addr()?;
        self.server = Some(Server::spawn(listener, self.state.clone()));
        Ok(())
    }

    /// Serves the same state again on the same port.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.start_on(self.addr.port()).await
    }
}

impl Deref for DevOrigin {
    type Target = OriginState;

    fn deref(&self) -> &OriginState {
        &self.state
    }
}

/// Owns every connection; returns when all are closed.
async fn accept(listener: TcpListener, state: OriginState, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(exchange::serve(state.clone(), stream));
                }
            }
            Some(_) = connections.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}
