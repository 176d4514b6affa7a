//! Goes on with a body that was cut: an origin that restarts does not break
//! what is being watched.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::sleep;

use super::Counts;
use crate::clock::timer_now;
use crate::origin::{Exchange, Failure, Request, resume};

/// Cuts that one body survives; an origin that cuts more often is not serving.
const MAX_RESUMES: u32 = 3;
/// Between two tries while the origin is away, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Reads a body, with its second chances.
pub struct Steady<'p> {
    counts: &'p Counts,
    /// Bytes so far.
    at: u64,
    resumes: u32,
}

impl<'p> Steady<'p> {
    pub fn new(counts: &'p Counts) -> Self {
        Self {
            counts,
            at: 0,
            resumes: 0,
        }
    }

    /// As [`Exchange::read`], beyond cuts; `asked` is what the body answers.
    pub async fn read(
        &mut self,
        exchange: &mut Exchange,
        buffer: &mut [u8],
        asked: impl Fn() -> Request,
    ) -> Result<usize, Failure> {
        loop {
            match exchange.read(buffer).await {
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(failure) => Box::pin(self.go_on(exchange, &asked(), failure)).await?,
            }
        }
    }

    /// Brings the answer from this byte on, after `failure` cut it here; that
    /// failure where it cannot be had. An origin that is away is waited for as
    /// long as for a byte (`between_bytes_timeout`).
    async fn go_on(
        &mut self,
        exchange: &mut Exchange,
        asked: &Request,
        failure: Failure,
    ) -> Result<(), Failure> {
        let may = matches!(failure, Failure::Truncated | Failure::BetweenBytesTimeout);
        let may = may && self.resumes < MAX_RESUMES;
        let rest = resume::rest(asked, &exchange.head, self.at).filter(|_| may);
        let rest = rest.ok_or(failure)?;
        self.resumes += 1;
        let patience = timer_now() + exchange.patience();
        let mut pause = FIRST_PAUSE;
        loop {
            match Box::pin(exchange.ask_again(&rest)).await {
                Ok(answer) if resume::continues(&exchange.head, &answer.head, self.at) => {
                    exchange.go_on_with(answer);
                    self.counts.resumed.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Ok(answer) if answer.head.status < 500 => return Err(failure),
                Err(Failure::QueueTimeout) => return Err(failure),
                Err(why) if !why.heals() => return Err(failure),
                Ok(_) | Err(_) if timer_now() + pause > patience => return Err(failure),
                Ok(_) | Err(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
