//! Goes on with a body that was cut: an origin that restarts does not break
//! what is being watched.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::timer_now;
use crate::origin::{Exchange, Failure, Origin, Request, resume};

/// Cuts that one body survives; an origin that cuts more often is not serving.
const MAX_RESUMES: u32 = 3;
/// Between two tries while the origin is away, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A body's second chances.
#[derive(Debug, Default)]
pub struct Resumes(u32);

impl Resumes {
    /// The answer from byte `at` on, after `failure` cut it there; that
    /// failure where it cannot be had. An origin that is away is waited for as
    /// long as for a byte (`between_bytes_timeout`).
    pub async fn go_on(
        &mut self,
        cut: Exchange,
        origin: &Arc<Origin>,
        request: &Request,
        at: u64,
        failure: Failure,
    ) -> Result<Exchange, Failure> {
        let may = matches!(failure, Failure::Truncated | Failure::BetweenBytesTimeout);
        let rest = resume::rest(request, &cut.head, at).filter(|_| may && self.0 < MAX_RESUMES);
        let rest = rest.ok_or(failure)?;
        self.0 += 1;
        let head = cut.head.clone();
        // Its place among the pulls is needed for the rest.
        drop(cut);
        let patience = timer_now() + origin.settings().deadlines.between_bytes;
        let mut pause = FIRST_PAUSE;
        loop {
            match origin.open(&rest).await {
                Ok(mut answer) if resume::continues(&head, &answer.head, at) => {
                    answer.go_on_as(head);
                    return Ok(answer);
                }
                Ok(answer) if answer.head.status < 500 => return Err(failure),
                Err(Failure::QueueTimeout) => return Err(failure),
                Ok(_) | Err(_) if timer_now() + pause > patience => return Err(failure),
                Ok(_) | Err(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
