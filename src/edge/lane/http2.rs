//! HTTP/2 connections: Pingora reads them, and this says for how long, and how
//! much of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::Method;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::connection::{Lane, peer_of};
use super::paced::Paced;
use super::stream::Connection;
use crate::edge::shared::REQUESTS_PER_CONNECTION;
use crate::edge::waits::taken;
use crate::edge::watch::watched;

/// An idle connection is closed after this; without it they pile up.
const IDLE: Duration = Duration::from_secs(90);
/// Requests that are none, after which a connection is ended.
const MOST_REJECTED: usize = 32;

/// Streams of a connection that are its own, as a player has them: what they
/// cost is counted with the connection. Others count against
/// `listen.max_streams` while they wait.
const OWN_STREAMS: usize = 4;

/// A head of more bytes is no player's: its stream is never the connection's own.
const OWN_HEAD_BYTES: usize = 4 << 10;

fn is_long(session: &HttpSession) -> bool {
    let lines = session.req_header().headers.iter();
    let bytes = lines.map(|(name, value)| name.as_str().len() + value.len());
    bytes.sum::<usize>() > OWN_HEAD_BYTES
}

/// Requests that run on one connection.
#[derive(Default)]
struct Running {
    count: AtomicUsize,
    ended: Notify,
}

struct Guard(Arc<Running>);

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Relaxed) == 1 {
            self.0.ended.notify_one();
        }
    }
}

impl Running {
    /// One more, and whether it is beyond the connection's own.
    fn begin(self: &Arc<Self>) -> (Guard, bool) {
        let others = self.count.fetch_add(1, Relaxed);
        (Guard(Arc::clone(self)), others >= OWN_STREAMS)
    }

    /// Waits until nothing has run for so long.
    async fn idle(&self) {
        while self.count.load(Relaxed) > 0 {
            self.ended.notified().await;
        }
        tokio::time::sleep(IDLE).await;
    }
}

impl Lane {
    /// Serves a connection to its end.
    pub(super) async fn http2(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: stream.get_timing_digest(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        });
        let (peer, socket) = (peer_of(&stream), stream.id());
        // Who says nothing behind the TLS handshake is as slow as a slow head.
        let paced = Box::new(Paced::new(stream));
        let shaking = handshake(paced, self.proxy.h2_options.clone());
        let Ok(Ok(mut http2)) = timeout(self.node.listen.head_timeout, shaking).await else {
            return;
        };
        let connection = Arc::new(Connection {
            node: Arc::clone(&self.node),
            peer,
            https: digest.ssl_digest.is_some(),
            socket,
            queue: self
                .node
                .pulls
                .standing
                .queue(self.node.limits.holder(peer), Some(taken(socket))),
        });
        let running = Arc::new(Running::default());
        let (mut rejected, mut served) = (0, 0);
        let mut stopping = shutdown.clone();
        let mut ending = false;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopping.changed(), if !ending => {
                    ending = true;
                    http2.graceful_shutdown();
                    continue;
                }
                accepted = HttpSession::from_h2_conn(&mut http2, Arc::clone(&digest)) => accepted,
                () = running.idle() => return,
                _ = connection.queue.ended() => return,
            };
            match accepted {
                Err(_) | Ok(None) => return,
                Ok(Some(H2Accept::Rejected)) => {
                    rejected += 1;
                    if rejected == MOST_REJECTED {
                        return;
                    }
                }
                Ok(Some(H2Accept::Session(session))) => {
                    served += 1;
                    if served == REQUESTS_PER_CONNECTION && !ending {
                        ending = true;
                        http2.graceful_shutdown();
                    }
                    let (guard, beyond) = running.begin();
                    let extra = beyond || is_long(&session);
                    // One place for it, whichever future it goes through.
                    let session = Box::new(session);
                    let proxy = Arc::clone(&self.proxy);
                    let (connection, shutdown) = (Arc::clone(&connection), shutdown.clone());
                    tokio::spawn(async move {
                        let _guard = guard;
                        // A tunnel has no path to walk with: Pingora refuses it.
                        let left = match session.req_header().method {
                            Method::CONNECT => Some(session),
                            _ => connection.serve(session, extra).await,
                        };
                        if let Some(session) = left {
                            let session = ServerSession::new_http2(*session);
                            let request = Box::pin(proxy.process_new_http(session, &shutdown));
                            watched(&connection.node, request).await;
                        }
                    });
                    if extra {
                        // It begins, and may be refused, before another does.
                        yield_now().await;
                    }
                }
            }
        }
    }
}
