//! Waits for viewers. Who takes nothing of his answer holds what others need:
//! memory of a body that is stored no more, a stream of HTTP/2 with all that
//! was made for it. Whoever waits is known here, and where something runs short
//! the wait of whoever has most is ended, before anybody else is refused.

mod choose;
mod progress;
mod queue;

pub use choose::STILL;
pub use progress::Taken;
pub use queue::Queue;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use choose::{Extra, Pinned, Way};
use progress::Progress;
use queue::Line;

/// Whose waits count together: an address (its port is 0), or one connection
/// of those that are not counted by address.
pub type Holder = SocketAddr;

/// Bytes that come back when a wait ends, as of now.
pub type Pins = Arc<dyn Fn() -> usize + Send + Sync>;

/// What a wait was ended for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// `cache.memory`.
    Memory,
    /// `listen.max_streams`.
    Streams,
    /// `listen.max_streams_per_ip`.
    StreamsPerIp,
    /// `origin.max_pulls`.
    Pulls,
}

impl Needed {
    pub const ALL: [Needed; 4] = [
        Needed::Memory,
        Needed::Streams,
        Needed::StreamsPerIp,
        Needed::Pulls,
    ];

    /// The metric label: the key whose bound was reached.
    pub const fn limit(self) -> &'static str {
        match self {
            Needed::Memory => "memory",
            Needed::Streams => "max_streams",
            Needed::StreamsPerIp => "max_streams_per_ip",
            Needed::Pulls => "max_pulls",
        }
    }

    /// The log field of an answer that was cut.
    pub const fn name(self) -> &'static str {
        match self {
            Needed::Memory => "standing_memory",
            Needed::Streams => "standing_streams",
            Needed::StreamsPerIp => "standing_streams_per_ip",
            Needed::Pulls => "standing_pulls",
        }
    }
}

/// Waits of streams that a connection has beyond its own.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub of_one: usize,
    pub of_all: usize,
    /// It waits for the viewer, who may be ended for it; else for the origin.
    pub for_viewer: bool,
}

/// A wait that begins.
pub struct Wait {
    pub holder: Holder,
    /// Of a stream beyond its connection's own: it counts against these.
    pub bounds: Option<Bounds>,
    /// Memory that it pins.
    pub pins: Option<Pins>,
    /// What its connection takes, where that is known.
    pub taken: Option<Taken>,
}

/// Everybody who waits for a viewer.
#[derive(Default)]
pub struct Standing {
    waits: Mutex<Waits>,
    next: AtomicU64,
    ended: [AtomicU64; Needed::ALL.len()],
}

#[derive(Default)]
struct Waits {
    all: HashMap<u64, Entry>,
    /// Waits on each connection.
    on: HashMap<i32, usize>,
    /// Waits for viewers, and for the origin.
    extra: Extra,
    aside: Extra,
    queues: HashMap<u64, Arc<Line>>,
}

struct Entry {
    holder: Holder,
    begun: Instant,
    progress: Progress,
    /// It counts against bounds; whether it waits for its viewer.
    extra: Option<bool>,
    pins: Option<Pins>,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    needed: OnceLock<Needed>,
    notify: Notify,
}

impl Signal {
    fn end(&self, needed: Needed) {
        let _ = self.needed.set(needed);
        self.notify.notify_one();
    }

    async fn ended(&self) -> Needed {
        loop {
            if let Some(needed) = self.needed.get() {
                return *needed;
            }
            self.notify.notified().await;
        }
    }
}

impl Standing {
    /// A wait begins; `Err`: it is one too many.
    pub fn enter(self: &Arc<Self>, wait: Wait, now: Instant) -> Result<Stand, Needed> {
        let mut waits = self.waits();
        if let Some(bounds) = wait.bounds {
            let way = waits.way(wait.holder, bounds, now);
            match way {
                Way::Free => {}
                Way::End(id, needed) => self.end(&mut waits, id, needed),
                Way::Refused(needed) => {
                    self.count(needed);
                    return Err(needed);
                }
            }
        }
        let id = self.next.fetch_add(1, Relaxed);
        let signal = Arc::<Signal>::default();
        let entry = Entry {
            holder: wait.holder,
            begun: now,
            progress: Progress::new(wait.taken, now),
            extra: wait.bounds.map(|bounds| bounds.for_viewer),
            pins: wait.pins,
            signal: Arc::clone(&signal),
        };
        waits.add(id, entry);
        Ok(Stand {
            standing: Arc::clone(self),
            id,
            signal,
        })
    }

    /// What one connection of HTTP/2 has queued for its viewer.
    pub fn queue(self: &Arc<Self>, holder: Holder, taken: Option<Taken>) -> Queue {
        let id = self.next.fetch_add(1, Relaxed);
        let (queue, line) = Queue::new(Arc::clone(self), id, holder, taken);
        self.waits().queues.insert(id, line);
        queue
    }

    /// Ends waits so that `needed` bytes of a memory of `limit` come back;
    /// whether that is worth waiting for.
    pub fn relieve(&self, needed: usize, limit: usize, now: Instant) -> bool {
        let mut waits = self.waits();
        let pinned = waits.pinned(now);
        let relief = choose::relief(pinned, needed, limit, now);
        let worth_waiting = relief.later || !relief.end.is_empty();
        for id in relief.end {
            self.end(&mut waits, id, Needed::Memory);
        }
        worth_waiting
    }

    /// Waits that were ended, or not begun, for want of something.
    pub fn ended(&self) -> impl Iterator<Item = (Needed, u64)> + '_ {
        let counts = self.ended.iter().map(|count| count.load(Relaxed));
        Needed::ALL.into_iter().zip(counts)
    }

    /// One more that was ended.
    pub fn count(&self, needed: Needed) {
        self.ended[needed as usize].fetch_add(1, Relaxed);
    }

    fn end(&self, waits: &mut Waits, id: u64, needed: Needed) {
        if let Some(entry) = waits.remove(id) {
            self.count(needed);
            entry.signal.end(needed);
        } else if let Some(line) = waits.queues.remove(&id) {
            self.count(needed);
            line.signal.end(needed);
        }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits {
    fn add(&mut self, id: u64, entry: Entry) {
        if let Some(for_viewer) = entry.extra {
            let own = self.counted(for_viewer).entry(entry.holder).or_default();
            own.insert((entry.begun, id));
        }
        if let Some(socket) = entry.progress.socket() {
            *self.on.entry(socket).or_default() += 1;
        }
        self.all.insert(id, entry);
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.all.remove(&id)?;
        if let Some(socket) = entry.progress.socket()
            && let Some(waits) = self.on.get_mut(&socket)
        {
            *waits -= 1;
            if *waits == 0 {
                self.on.remove(&socket);
            }
        }
        if let Some(for_viewer) = entry.extra {
            let counted = self.counted(for_viewer);
            if let Some(own) = counted.get_mut(&entry.holder) {
                own.remove(&(entry.begun, id));
                if own.is_empty() {
                    counted.remove(&entry.holder);
                }
            }
        }
        Some(entry)
    }

    fn counted(&mut self, for_viewer: bool) -> &mut Extra {
        match for_viewer {
            true => &mut self.extra,
            false => &mut self.aside,
        }
    }

    fn way(&mut self, holder: Holder, bounds: Bounds, now: Instant) -> Way {
        if !bounds.for_viewer {
            // The origin keeps these: nobody is ended for another's.
            return choose::way(&self.aside, holder, bounds, now, |_| true);
        }
        let (extra, all, on) = (&self.extra, &mut self.all, &self.on);
        let moves = |id: u64| all.get_mut(&id).is_some_and(|entry| entry.moves(on, now));
        choose::way(extra, holder, bounds, now, moves)
    }

    /// Every wait that pins memory.
    fn pinned(&mut self, now: Instant) -> Vec<Pinned> {
        let (waits, on) = (self.all.iter_mut(), &self.on);
        let waits = waits.filter_map(|(id, entry)| entry.pinned(*id, on, now));
        let queues = self.queues.iter();
        let queued = queues.filter_map(|(id, line)| line.pinned(*id, now));
        waits.chain(queued).collect()
    }
}

impl Entry {
    /// Whether its viewer takes bytes, however long that one write is. `on`:
    /// waits on each connection.
    fn moves(&mut self, on: &HashMap<i32, usize>, now: Instant) -> bool {
        let socket = self.progress.socket();
        let waits = socket.and_then(|socket| on.get(&socket).copied());
        self.progress.moves(waits.unwrap_or(1), now)
    }

    fn pinned(&mut self, id: u64, on: &HashMap<i32, usize>, now: Instant) -> Option<Pinned> {
        let bytes = self.pins.as_ref().map_or(0, |pins| pins());
        let moves = bytes > 0 && self.moves(on, now);
        (bytes > 0).then(|| Pinned {
            id,
            holder: self.holder,
            since: self.progress.since(),
            moves,
            bytes,
        })
    }
}

/// A wait, until it is dropped.
pub struct Stand {
    standing: Arc<Standing>,
    id: u64,
    signal: Arc<Signal>,
}

impl Stand {
    /// Resolves where it is ended for something that others need.
    pub async fn ended(&self) -> Needed {
        self.signal.ended().await
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let gone = self.standing.waits().remove(self.id);
        // What it pinned is dropped behind the lock.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timer_now;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn an_ended_wait_knows_for_what_and_leaves_nothing_behind() {
        let (standing, now) = (Arc::<Standing>::default(), timer_now().into_std());
        let wait = |port: u16, pins: Option<usize>| Wait {
            holder: ([127, 0, 0, 1], port).into(),
            bounds: pins.is_none().then_some(Bounds {
                of_one: 2,
                of_all: 2,
                for_viewer: true,
            }),
            taken: None,
            pins: pins.map(|bytes| Arc::new(move || bytes) as Pins),
        };
        let enter = |port, pins| standing.enter(wait(port, pins), now);
        let room = |entered: Result<Stand, Needed>| match entered {
            Ok(stand) => stand,
            Err(needed) => panic!("no room: {needed:?}"),
        };
        let one = room(enter(1, None));
        let two = room(enter(1, None));
        assert_eq!(enter(1, None).err(), Some(Needed::Streams));
        let three = room(enter(2, None));
        assert_eq!(one.ended().await, Needed::Streams);
        let pinning = room(enter(3, Some(100)));
        assert!(!standing.relieve(50, 1 << 20, now), "within its share");
        let later = now + STILL;
        assert!(standing.relieve(50, 160, later));
        assert_eq!(pinning.ended().now_or_never(), Some(Needed::Memory));
        assert_eq!(two.ended().now_or_never(), None);
        drop((one, two, three, pinning));
        let left = standing.waits();
        assert!(left.all.is_empty() && left.extra.is_empty());
        let counts: Vec<_> = standing.ended().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 0, 0]);
    }
}
