//! Waiting for a viewer: no longer than a viewer of the least rate would take,
//! and not where others need what the wait keeps from them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pingora::protocols::l4::ext::get_tcp_info;
use tokio::time::timeout;

use super::request::Entry;

use super::shared::Node;
use crate::cache::object::Object;
use crate::clock::timer_now;
use crate::standing::{Bounds, Needed, Pins, Stand, Taken, Wait};

/// What a viewer's machine has taken of a connection, as the kernel counts. A
/// write tells less: with a send buffer of megabytes a socket takes the next
/// only when a third of it is free, seconds later for a viewer who reads on.
pub fn taken(socket: i32) -> Taken {
    let read = |socket| get_tcp_info(socket).map_or(0, |info| info.tcpi_bytes_acked);
    Taken { socket, read }
}

/// Whose bytes an answer is made of.
pub enum Source {
    /// Nobody else's.
    Own,
    Object(Arc<Object>),
    Ride(Pins),
}

impl Source {
    fn pins(&self) -> Option<Pins> {
        match self {
            Source::Own => None,
            Source::Object(object) => {
                let object = Arc::clone(object);
                Some(Arc::new(move || object.pinned()))
            }
            Source::Ride(pins) => Some(Arc::clone(pins)),
        }
    }
}

/// The viewer is gone, or too slow to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    Gone,
    TooSlow,
    /// He took nothing for a while, and others needed what he kept from them.
    Ended(Needed),
}

impl Lost {
    pub const fn name(self) -> &'static str {
        match self {
            Lost::Gone => "client_gone",
            Lost::TooSlow => "client_too_slow",
            Lost::Ended(needed) => needed.name(),
        }
    }
}

/// The waits of one answer.
pub struct Waits<'s> {
    node: &'s Node,
    entry: Entry,
    /// It has one of the streams that a connection has beyond its own.
    extra: bool,
    pub source: Source,
    /// It had to wait.
    pub slow: bool,
}

impl<'s> Waits<'s> {
    pub fn new(node: &'s Node, entry: Entry, extra: bool, source: Source) -> Self {
        Self {
            node,
            entry,
            extra,
            source,
            slow: false,
        }
    }

    /// Gives a write to the viewer so much time.
    pub async fn within<T, E>(
        &mut self,
        patience: Duration,
        write: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Lost> {
        let mut write = pin!(write);
        // Most are taken at once.
        if let Some(done) = write.as_mut().now_or_never() {
            return done.map_err(|_| Lost::Gone);
        }
        self.slow = true;
        let stand = self.stand(true)?;
        tokio::select! {
            biased;
            done = timeout(patience, write) => match done {
                Ok(done) => done.map_err(|_| Lost::Gone),
                Err(_) => Err(Lost::TooSlow),
            },
            needed = stand.ended() => Err(Lost::Ended(needed)),
        }
    }

    /// Waits for something else than the viewer, who is as little to be kept
    /// for it where he has many such waits.
    pub async fn aside<T>(&self, coming: impl Future<Output = T>) -> Result<T, Lost> {
        let mut coming = pin!(coming);
        if !self.extra {
            return Ok(coming.await);
        }
        if let Some(done) = coming.as_mut().now_or_never() {
            return Ok(done);
        }
        let stand = self.stand(false)?;
        tokio::select! {
            biased;
            done = coming => Ok(done),
            needed = stand.ended() => Err(Lost::Ended(needed)),
        }
    }

    fn stand(&self, for_viewer: bool) -> Result<Stand, Lost> {
        let listen = &self.node.listen;
        let bounds = Bounds {
            of_one: listen.max_streams_per_ip,
            of_all: listen.max_streams,
            for_viewer,
        };
        let holder = self.node.limits.holder(self.entry.peer);
        // Who has a port is not counted by his address: a proxy that is trusted,
        // or this machine. HTTP/2 bounds his streams.
        let is_counted = holder.port() == 0;
        let wait = Wait {
            holder,
            bounds: (self.extra && is_counted).then_some(bounds),
            pins: self.source.pins(),
            taken: self.entry.socket.map(taken),
        };
        let standing = &self.node.pulls.standing;
        let stand = standing.enter(wait, timer_now().into_std());
        stand.map_err(Lost::Ended)
    }
}

/// What a wait was ended for, where its answer had not begun.
pub const fn refusal(needed: Needed) -> super::refused::Refused {
    use super::refused::Refused;
    match needed {
        Needed::StreamsPerIp => Refused::TooManyStreamsPerIp,
        Needed::Streams | Needed::Memory | Needed::Pulls => Refused::TooManyStreams,
    }
}
