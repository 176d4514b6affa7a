//! Whether an answer is one that the situation allows.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::faults::Weather;
use crate::viewer::Answer;

/// Shown of what went wrong in one role; all is counted.
const MAX_SHOWN: usize = 4;

pub struct Judge {
    weather: Weather,
    seen: Mutex<Seen>,
}

#[derive(Default)]
pub struct Seen {
    pub requests: u64,
    pub bytes: u64,
    /// Errors and cuts that a trouble of the origin explains.
    pub excused: u64,
    pub statuses: BTreeMap<u16, u64>,
    /// Bytes that are not the object's, or an end before its end that looks like one.
    pub corrupt: u64,
    /// Statuses and cuts that nothing explains.
    pub unexplained: u64,
    /// Requests whose connection ended before any head.
    pub unanswered: u64,
    shown: BTreeMap<&'static str, usize>,
}

/// How an exchange is to be judged.
pub struct Case<'a> {
    pub role: &'static str,
    pub path: &'a str,
    pub asked: Instant,
    pub allowed: &'a [u16],
    /// Of an answer with an allowed status.
    pub right: bool,
}

impl Judge {
    pub fn new(weather: Weather) -> Self {
        Self {
            weather,
            seen: Mutex::default(),
        }
    }

    /// Whether the connection is good for another request.
    pub fn judge(&self, case: &Case<'_>, result: &io::Result<Answer>) -> bool {
        let calm = self.weather.was_calm(case.asked);
        let mut seen = self.seen();
        seen.requests += 1;
        let Ok(answer) = result else {
            let why = result.as_ref().err().map(ToString::to_string);
            seen.unanswered += 1;
            seen.show(case, calm, &why.unwrap_or_default());
            return false;
        };
        seen.bytes += answer.received;
        *seen.statuses.entry(answer.status).or_default() += 1;
        let text = || {
            format!(
                "status {}, {} bytes, whole={}, bytes right={}, {} {}",
                answer.status,
                answer.received,
                answer.whole,
                answer.right,
                answer.header("cdn-cache").unwrap_or_default(),
                answer.header("content-range").unwrap_or_default()
            )
        };
        let allowed = case.allowed.contains(&answer.status);
        if !answer.right || (allowed && answer.whole && !case.right) {
            seen.corrupt += 1;
            seen.show(case, calm, &text());
        } else if allowed && (answer.whole || answer.left) {
        } else if !calm && (!answer.whole || matches!(answer.status, 502..=504)) {
            seen.excused += 1;
        } else {
            seen.unexplained += 1;
            seen.show(case, calm, &text());
        }
        answer.whole && !answer.left && answer.keeps_alive()
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn calm(&self, asked: Instant) -> bool {
        self.weather.was_calm(asked)
    }
}

impl Seen {
    fn show(&mut self, case: &Case<'_>, calm: bool, what: &str) {
        let shown = self.shown.entry(case.role).or_default();
        *shown += 1;
        if *shown <= MAX_SHOWN {
            let weather = if calm { "calm" } else { "in trouble" };
            eprintln!("         {} {}, {weather}: {what}", case.role, case.path);
        }
    }
}
