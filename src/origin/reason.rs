//! The reason of a refusal, also where the answer has no body to tell it: an
//! answer to HEAD never has one, so the store is asked once more with GET.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::client::Origin;
use super::exchange::Exchange;
use super::s3_error::Words;
use super::{Method, Request};

/// What is asked for where only the reason matters.
const ONE_BYTE: &str = "bytes=0-0";
/// An error's body is waited for so long: the status alone tells enough.
const WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// A reason that may be a missing object's is asked for so often, in one zone:
/// looking for what is not there does not double the requests.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// What was last said of answers without a reason, by their status.
#[derive(Default)]
pub struct Reasons(Mutex<BTreeMap<u16, (Instant, Words)>>);

impl Reasons {
    fn recent(&self, status: u16, now: Instant) -> Option<Words> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, words) = last.get(&status)?;
        let recent = now.saturating_duration_since(*at) < ASK_EVERY;
        recent.then(|| words.clone())
    }

    fn note(&self, status: u16, now: Instant, words: &Words) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(status, (now, words.clone()));
    }
}

impl Origin {
    /// What the origin says of a request that it does not serve; nothing of
    /// one that it does.
    pub(super) async fn words(
        self: &Arc<Self>,
        request: &Request,
        index: usize,
        exchange: &mut Exchange,
    ) -> Words {
        let status = exchange.head.status;
        if status < 300 || status == 304 || (!self.settings.is_s3() && request.shows_errors) {
            return Words::default();
        }
        if !self.settings.is_s3() {
            // Read for the connection's sake: it can be used again.
            if status >= 500 {
                let _ = timeout(WORDS_TIMEOUT, exchange.drain()).await;
            }
            return Words::default();
        }
        let words = read(exchange, request).await;
        let is_head = request.method == Method::Head;
        let unclear = match status {
            300..=399 => is_head && words.region.is_none(),
            400 | 401 | 403 | 404 => true,
            // These say it themselves.
            408 | 429 => false,
            402..=499 | 501 => is_head,
            _ => false,
        };
        if !unclear || !words.is_silent() {
            return words;
        }
        let now = self.clock.monotonic();
        let often = matches!(status, 404 | 410 | 451) || !is_head;
        if let Some(recent) = self.reasons.recent(status, now).filter(|_| often) {
            return with_region(recent, &words);
        }
        let said = Box::pin(self.ask_for_words(request, index)).await;
        self.reasons.note(status, now, &said);
        with_region(said, &words)
    }

    /// Asks for the first byte of the object, to hear why it is not served.
    async fn ask_for_words(self: &Arc<Self>, request: &Request, index: usize) -> Words {
        let again = Request {
            method: Method::Get,
            range: Some(ONE_BYTE.into()),
            if_range: None,
            validators: None,
            ..request.clone()
        };
        match timeout(WORDS_TIMEOUT, self.send(&again, index, false)).await {
            Ok(Ok(mut exchange)) if exchange.head.status >= 300 => {
                read(&mut exchange, &again).await
            }
            Ok(Ok(_) | Err(_)) | Err(_) => Words::default(),
        }
    }
}

async fn read(exchange: &mut Exchange, request: &Request) -> Words {
    let body = timeout(WORDS_TIMEOUT, exchange.drain()).await;
    let key = request.path.as_str().trim_start_matches('/');
    Words::of(&exchange.head, &body.unwrap_or_default(), key)
}

/// The region stands in the head, which was there from the beginning.
fn with_region(said: Words, head: &Words) -> Words {
    let region = said.region.or_else(|| head.region.clone());
    Words { region, ..said }
}
