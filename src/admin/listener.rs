//! Connections of the admin listener, each with its deadlines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::door::{Caller, attend};
use super::guests::{Guest, Guests};

/// Connections at a time: sixteen streams of events, and calls beside them.
pub const MAX_CONNECTIONS: usize = 64;
/// From a connection's beginning, or the end of an answer, to the end of the
/// next head: who waits longer is idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a head.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Where nothing can be accepted, it is tried again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until it is dropped; connections then go on to their ends.
pub async fn serve(listener: TcpListener, router: Router, guests: &Arc<Guests>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(%error, "the admin listener cannot accept");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        if let Some(guest) = guests.enter() {
            tokio::spawn(connection(stream, peer.ip(), router.clone(), guest));
        }
    }
}

async fn connection(stream: TcpStream, address: IpAddr, router: Router, guest: Arc<Guest>) {
    let caller = Caller {
        address,
        guest: Arc::clone(&guest),
    };
    let router = router.layer(from_fn_with_state(caller, attend));
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    let served = http1.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::debug!(%error, "a connection of the admin listener ended");
        },
        () = guest.sent_away() => {}
    }
}
