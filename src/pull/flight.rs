//! One pull in flight, and those who ride it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora::http::ResponseHeader;
use tokio::sync::watch;

use crate::cache::body::slice_at;
use crate::cache::budget::CHUNK_BYTES;
use crate::cache::lifetime::Bypass;
use crate::cache::object::Object;
use crate::cache::slices::Part;
use crate::origin::{Exchange, Failure, Interims, Validators};

/// A pull that any number of viewers ride and none drives.
pub struct Flight {
    state: Mutex<State>,
    /// Changes whenever `state` does; riders sleep on it.
    changed: watch::Sender<u64>,
    /// What it brings was made invalid meanwhile: it is not to be stored.
    pub(super) invalid: AtomicBool,
    /// What it brings has no end.
    pub(super) endless: AtomicBool,
    /// Where interim answers are heard of.
    interims: OnceLock<Interims>,
}

struct State {
    phase: Phase,
    /// Full pieces, then the one that still grows.
    pieces: Vec<Bytes>,
    available: u64,
    /// Pieces at the beginning that nobody has any more.
    forgotten: usize,
    /// How often the flight has moved to another key.
    moves: u32,
}

enum Phase {
    Waiting,
    Streaming(Arc<LiveHead>),
    Landed(Landing),
    /// May not be shared: the open answer is for the one whose request it answers.
    Handed(Bypass, Option<Box<Exchange>>),
    Failed(Failure),
}

/// How a pull ended well.
#[derive(Clone)]
pub struct Landing {
    pub object: Arc<Object>,
    /// The origin confirmed what was stored (304).
    pub revalidated: bool,
    /// Something was stored under the key before.
    pub replaced: bool,
}

/// The head of an answer whose body is still arriving.
pub struct LiveHead {
    pub head: ResponseHeader,
    pub length: Option<u64>,
    /// Of what: the body is a slice of it.
    pub part: Option<Part>,
    pub validators: Validators,
    pub age_on_arrival: Duration,
    pub fingerprint: Arc<str>,
    pub replaced: bool,
    /// Until when others may board; `None`: as long as it streams.
    pub fresh_until: Option<Instant>,
}

/// What a rider finds when the answer's head is there.
pub enum Arrival {
    Landed(Landing),
    Streaming(Arc<LiveHead>),
    /// It is for other requests than this one: look again.
    Parted,
    /// Each viewer pulls for himself; who began the pull has the open answer.
    Handed(Bypass, Option<Box<Exchange>>),
    Failed(Failure),
}

impl Flight {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            phase: Phase::Waiting,
            pieces: Vec::new(),
            available: 0,
            forgotten: 0,
            moves: 0,
        };
        let flight = Self {
            state: Mutex::new(state),
            changed: watch::channel(0).0,
            invalid: AtomicBool::new(false),
            endless: AtomicBool::new(false),
            interims: OnceLock::new(),
        };
        Arc::new(flight)
    }

    pub(super) fn tells(&self, interims: Option<Interims>) {
        if let Some(interims) = interims {
            let _ = self.interims.set(interims);
        }
    }

    pub(super) fn board(self: &Arc<Self>, starter: bool) -> Rider {
        Rider {
            flight: Arc::clone(self),
            news: self.changed.subscribe(),
            starter,
            moves: self.state().moves,
        }
    }

    /// Viewers who ride it.
    pub(super) fn riders(&self) -> usize {
        self.changed.receiver_count()
    }

    /// Waits until nobody rides it.
    pub(super) async fn deserted(&self) {
        self.changed.closed().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn enter(&self, phase: Phase) {
        self.state().phase = phase;
        self.wake();
    }

    /// The answer turned out to be for requests like the starter's only: who
    /// boarded before must look again.
    pub(super) fn part(&self) {
        self.state().moves += 1;
        self.wake();
    }

    pub(super) fn stream(&self, head: LiveHead) {
        self.enter(Phase::Streaming(Arc::new(head)));
    }

    /// Publishes the body so far; `tip` is the piece that still grows.
    pub(super) fn publish(&self, sealed: &[Bytes], tip: Option<Bytes>, available: u64) {
        {
            let mut state = self.state();
            // Full pieces never change: only those behind them are replaced.
            let same = state.pieces.len().saturating_sub(1).min(sealed.len());
            state.pieces.truncate(same);
            state.pieces.extend_from_slice(&sealed[same..]);
            state.pieces.extend(tip);
            state.available = available;
        }
        self.wake();
    }

    /// Forgets so many pieces at the beginning.
    pub(super) fn forget(&self, count: usize) {
        let mut state = self.state();
        let from = state.forgotten;
        for piece in state.pieces.iter_mut().take(count).skip(from) {
            *piece = Bytes::new();
        }
        state.forgotten = count.max(from);
    }

    pub(super) fn land(&self, landing: Landing) {
        self.enter(Phase::Landed(landing));
    }

    pub(super) fn hand_over(&self, reason: Bypass, exchange: Exchange) {
        self.enter(Phase::Handed(reason, Some(Box::new(exchange))));
    }

    pub(super) fn fail(&self, failure: Failure) {
        self.enter(Phase::Failed(failure));
    }

    /// Whether the pull is over, well or not.
    pub(super) fn is_over(&self) -> bool {
        matches!(
            self.state().phase,
            Phase::Landed(_) | Phase::Handed(..) | Phase::Failed(_)
        )
    }

    pub(super) fn landed(&self) -> Option<Landing> {
        match &self.state().phase {
            Phase::Landed(landing) => Some(landing.clone()),
            _ => None,
        }
    }

    /// Whether one more request may have what it brings, as far as is known;
    /// `good`: whether a stored object would do.
    pub(super) fn may_board(&self, now: Instant, good: impl Fn(&Object) -> bool) -> bool {
        match &self.state().phase {
            Phase::Landed(landing) => good(&landing.object),
            Phase::Streaming(head) => head.fresh_until.is_none_or(|until| now < until),
            Phase::Waiting | Phase::Handed(..) | Phase::Failed(_) => true,
        }
    }
}

/// A viewer's seat in a pull.
pub struct Rider {
    flight: Arc<Flight>,
    news: watch::Receiver<u64>,
    /// This request began the pull: the origin saw its headers and no other's.
    pub starter: bool,
    moves: u32,
}

impl Rider {
    /// Waits for the answer's head; with `whole` for its end, which tells the
    /// length of a body whose head does not.
    pub async fn arrival(&mut self, whole: bool) -> Arrival {
        loop {
            self.news.mark_unchanged();
            if let Some(arrival) = self.look(whole) {
                return arrival;
            }
            if self.news.changed().await.is_err() {
                return Arrival::Failed(Failure::Reset);
            }
        }
    }

    /// Waits for the pull's end; never [`Arrival::Streaming`].
    pub async fn end(&mut self) -> Arrival {
        loop {
            self.news.mark_unchanged();
            match self.look(true) {
                Some(Arrival::Streaming(_)) | None => {}
                Some(arrival) => return arrival,
            }
            if self.news.changed().await.is_err() {
                return Arrival::Failed(Failure::Reset);
            }
        }
    }

    /// Where interim answers are heard of: by whom they answer. That they are for
    /// others too is known with the final one.
    pub fn interims(&self) -> Option<Interims> {
        let interims = self.flight.interims.get();
        interims.filter(|_| self.starter).cloned()
    }

    /// What tells how many bytes this rider keeps in memory: none as long as
    /// they arrive, for the pull has them.
    pub fn pins(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let flight = Arc::clone(&self.flight);
        move || flight.landed().map_or(0, |it| it.object.pinned())
    }

    fn look(&self, whole: bool) -> Option<Arrival> {
        let mut state = self.flight.state();
        if self.moves < state.moves && !self.starter {
            return Some(Arrival::Parted);
        }
        match &mut state.phase {
            Phase::Waiting => None,
            Phase::Streaming(head) if whole && head.length.is_none() => None,
            Phase::Streaming(head) => Some(Arrival::Streaming(Arc::clone(head))),
            Phase::Landed(landing) => Some(Arrival::Landed(landing.clone())),
            Phase::Handed(reason, exchange) => {
                let open = if self.starter { exchange.take() } else { None };
                Some(Arrival::Handed(*reason, open))
            }
            Phase::Failed(failure) => Some(Arrival::Failed(*failure)),
        }
    }

    /// Bytes of the body that have arrived.
    pub fn available(&self) -> u64 {
        self.flight.state().available
    }

    /// The next bytes of `at..end` as soon as there are any; `None` at the end
    /// of the body. A failed pull is never an end.
    pub async fn next(&mut self, at: u64, end: u64) -> Result<Option<Bytes>, Failure> {
        loop {
            self.news.mark_unchanged();
            {
                let state = self.flight.state();
                match &state.phase {
                    Phase::Failed(failure) => return Err(*failure),
                    // Of a body without an end it is too far behind.
                    _ if at < (state.forgotten * CHUNK_BYTES) as u64 => {
                        return Err(Failure::TooLarge);
                    }
                    Phase::Landed(landing) => {
                        return Ok(landing.object.body.slices(at..end).next());
                    }
                    _ if at >= end => return Ok(None),
                    _ => {
                        if let Some(bytes) = slice_at(&state.pieces, at, end.min(state.available)) {
                            return Ok(Some(bytes));
                        }
                    }
                }
            }
            if self.news.changed().await.is_err() {
                return Err(Failure::Reset);
            }
        }
    }
}
