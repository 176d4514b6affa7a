//! An origin that is in trouble for some seconds, and then well for some.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::origin::{DevOrigin, Fault};
use crate::report::Report;

const TROUBLE: Duration = Duration::from_secs(3);
const CALM: Duration = Duration::from_secs(7);
/// So long behind a trouble its traces are excused: pulls that began in it may
/// wait for their deadlines, and a circuit that it opened for its next try.
const TRACES: Duration = Duration::from_secs(5);
/// Bytes behind which bodies are cut.
const CUT_AT: u64 = 100_000;
const AWAY: Duration = Duration::from_secs(1);

/// Since when the origin is well; `None` while it is not.
#[derive(Clone)]
pub struct Weather(Arc<Mutex<Option<Instant>>>);

impl Weather {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    /// Whether no trouble can have touched a request that was asked then and
    /// ends now.
    pub fn was_calm(&self, asked: Instant) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since + TRACES <= asked)
    }

    fn turn(&self, calm: bool) {
        let since = calm.then(Instant::now);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

enum Trouble {
    Fault(Fault),
    Restart,
}

fn troubles() -> Vec<(&'static str, Trouble)> {
    let status = |status| Fault::Status { status, code: None };
    let faults = [
        ("500", status(500)),
        ("503", status(503)),
        ("resets before the head", Fault::ResetBeforeHead),
        ("closes before the head", Fault::CloseBeforeHead),
        ("resets in mid-body", Fault::ResetAfter { bytes: CUT_AT }),
        ("cuts bodies", Fault::CloseAfter { bytes: CUT_AT }),
        ("says nothing", Fault::Silence),
        ("slow heads", Fault::DelayHead { ms: 700 }),
        (
            "slow bodies",
            Fault::Drip {
                bytes_per_second: 1_000_000,
            },
        ),
        ("promises too much", Fault::ContentLengthLarger { by: 10 }),
        (
            "promises too little",
            Fault::ContentLengthSmaller { by: 10 },
        ),
        ("sends too much", Fault::BodyLonger { by: 10 }),
        ("chunked", Fault::Chunked),
        ("chunks cut", Fault::ChunkedCut),
        ("no length", Fault::NoContentLength),
        ("no HTTP", Fault::Garbage),
    ];
    let mut all: Vec<_> = faults
        .into_iter()
        .map(|(name, fault)| (name, Trouble::Fault(fault)))
        .collect();
    all.insert(4, ("restarts", Trouble::Restart));
    all
}

/// One trouble after the other until `end`; returns how many there were.
pub async fn run(origin: &mut DevOrigin, weather: Weather, end: Instant, report: &Report) -> usize {
    let mut count = 0;
    for (name, trouble) in troubles().iter().cycle() {
        sleep(CALM).await;
        // What was asked is not looked at, and there is much of it.
        origin.clear();
        if Instant::now() + TROUBLE >= end {
            return count;
        }
        count += 1;
        report.say(&format!("the origin: {name}"));
        weather.turn(false);
        match trouble {
            Trouble::Fault(fault) => {
                origin.fault("", fault.clone());
                sleep(TROUBLE).await;
                origin.clear_faults();
            }
            Trouble::Restart => {
                origin.stop().await;
                sleep(AWAY).await;
                origin.restart().await.expect("the same port");
            }
        }
        weather.turn(true);
    }
    count
}
