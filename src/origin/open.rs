//! One request to the origin: its tries, and what they come to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{LOCATION, RETRY_AFTER};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::addresses::Addresses;
use super::client::{Origin, is_trouble};
use super::complaints::{Complaint, leads_to};
use super::endpoints::Target;
use super::exchange::Exchange;
use super::failure::Trouble;
use super::health::Ask;
use super::own_xml::is_own_xml;
use super::redirect::{self, is_redirect};
use super::s3_error::Words;
use super::verdict::{Facts, judge};
use super::{Failure, Head, Kind, Method, Request};

/// Tries for one request, all before the first byte of an answer.
const MAX_TRIES: usize = 2;
/// For the body of a redirect, so that its connection can be used again.
const DRAIN: Duration = Duration::from_millis(250);
/// Before the second try at the same endpoint: what passes may have passed, and
/// who failed together does not come again together.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(300);
/// The longest `Retry-After` of the origin that viewers are told.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10);

/// What one try came to.
pub(super) struct Attempt {
    pub(super) answer: Result<Exchange, Failure>,
    /// As the origin said it; `None`: there was no answer.
    pub(super) status: Option<u16>,
    /// What the store says of it, and what the system does.
    pub(super) words: Words,
    pub(super) cause: Option<String>,
    /// The origin's time was learned from the answer.
    pub(super) learned: bool,
    /// When the origin wants to be asked again.
    retry_after: Option<Duration>,
    /// A redirect of the endpoint was followed.
    elsewhere: bool,
}

/// Whether a request is tried once more, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    /// At another endpoint only.
    Elsewhere,
    /// At the same too, after a pause.
    Later,
    /// At the same too, at once.
    Now,
}

impl Origin {
    /// Sends a request and reads the answer's head. What the zone reads as
    /// missing comes back as 404; what is our fault is a failure, whatever its
    /// status; and so is an error of the origin whose page viewers may not see.
    pub async fn open(self: &Arc<Self>, request: &Request) -> Result<Exchange, Failure> {
        self.open_elsewhere(request, None).await
    }

    /// [`Self::open`], at another endpoint than this where one is well.
    pub(super) async fn open_elsewhere(
        self: &Arc<Self>,
        request: &Request,
        avoid: Option<usize>,
    ) -> Result<Exchange, Failure> {
        match self.place().await {
            Ok(place) => self.open_with(place, request, avoid).await,
            Err(failure) => {
                self.tell(failure, request, &Attempt::none(failure), None);
                Err(failure)
            }
        }
    }

    /// [`Self::open`], with a place.
    pub async fn open_at(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        request: &Request,
    ) -> Result<Exchange, Failure> {
        self.open_with(place, request, None).await
    }

    async fn open_with(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        request: &Request,
        avoid: Option<usize>,
    ) -> Result<Exchange, Failure> {
        let (mut attempt, index) = self.try_twice(request, avoid).await;
        if let Some(wait) = attempt.retry_after {
            self.note_retry_after(wait);
        }
        match &mut attempt.answer {
            Ok(exchange) => exchange.hold(place),
            Err(failure) => {
                let failure = *failure;
                self.tell(failure, request, &attempt, index);
            }
        }
        attempt.answer
    }

    /// Tells the operator of a failure, whose it is.
    fn tell(&self, failure: Failure, request: &Request, attempt: &Attempt, index: Option<usize>) {
        self.complain(&Complaint {
            failure,
            path: request.path.as_str(),
            index,
            status: attempt.status,
            words: &attempt.words,
            cause: attempt.cause.as_deref(),
        });
    }

    /// Also says which endpoint was asked last.
    async fn try_twice(
        self: &Arc<Self>,
        request: &Request,
        avoid: Option<usize>,
    ) -> (Attempt, Option<usize>) {
        let began = self.clock.monotonic();
        let mut ask = Ask {
            key: request.object(),
            covered: request.covered,
            tried: avoid,
        };
        let mut last = None;
        let (mut attempt, mut again) = (Attempt::none(Failure::CircuitOpen), Again::Now);
        for _ in 0..MAX_TRIES {
            let now = self.clock.monotonic();
            let index = match (self.endpoints.choose(ask, now), last) {
                (Ok(index), _) => index,
                (Err(why), None) => return (Attempt::none(why), None),
                (Err(_), Some(_)) => break,
            };
            let same = last == Some(index);
            if !again.may_go_on(same) {
                break;
            }
            if same && again == Again::Later {
                let pause = pause(rand::random());
                let waited = now.saturating_duration_since(began);
                if waited + pause >= self.settings.deadlines.answer {
                    break;
                }
                sleep(pause).await;
            }
            attempt = self.try_once(request, index, same).await;
            self.note_attempt(index, request, &attempt);
            again = attempt.again(request);
            (ask.tried, last) = (Some(index), Some(index));
        }
        (attempt, last)
    }

    pub(super) async fn try_once(
        self: &Arc<Self>,
        request: &Request,
        index: usize,
        same: bool,
    ) -> Attempt {
        let began = self.clock.monotonic();
        let mut exchange = match self.send(request, index, same).await {
            Ok(exchange) => exchange,
            Err(trouble) => {
                // An answer that did not come took as long as it was waited for.
                if trouble.failure == Failure::FirstByteTimeout {
                    self.note_wait(request, index, began);
                }
                return Attempt::without(trouble);
            }
        };
        self.note_wait(request, index, began);
        let elsewhere = request.follows(&self.settings) && is_redirect(exchange.head.status);
        if elsewhere {
            match Box::pin(self.follow(request, index, exchange)).await {
                Ok(followed) => exchange = followed,
                Err(trouble) => return Attempt::elsewhere(trouble),
            }
        } else {
            exchange.comes_from(index, request.object());
        }
        let status = exchange.head.status;
        let words = self.words(request, index, &mut exchange).await;
        let read = self.read_status(request, &exchange.head, &words);
        let retry_after = read.is_err().then(|| retry_after(&exchange.head)).flatten();
        let skewed = read == Err(Failure::Clock);
        let learned = skewed && self.endpoints.learn_skew(&exchange.head, &self.clock);
        let cause = read
            .err()
            .and_then(|failure| leads_to(failure, &exchange.head));
        let cause = cause.map(str::to_owned);
        Attempt {
            answer: read.map(|status| {
                exchange.head.status = status;
                exchange
            }),
            status: Some(status),
            words,
            cause,
            learned,
            retry_after,
            elsewhere,
        }
    }

    /// What is held back for a playlist tells nothing of the endpoint.
    fn note_wait(&self, request: &Request, index: usize, began: Instant) {
        if request.hold.is_none() {
            let waited = self.clock.monotonic().saturating_duration_since(began);
            // A timer is a little late, and would fall into the next step.
            let waited = waited.min(self.settings.deadlines.first_byte);
            self.endpoints.waited(index, waited);
        }
    }

    /// Goes where a redirect leads, and on from there.
    async fn follow(
        self: &Arc<Self>,
        request: &Request,
        index: usize,
        mut exchange: Exchange,
    ) -> Result<Exchange, Trouble> {
        let Some(endpoint) = self.endpoints.endpoint(index) else {
            return Ok(exchange);
        };
        let (settings, clock) = (&self.settings, &self.clock);
        let host = request.host(settings, endpoint);
        let mut place = request.place(settings, endpoint);
        for _ in 0..redirect::MOST {
            let location = exchange.head.text(LOCATION);
            let next = place.follow(location, &settings.redirects, &host);
            place = next.map_err(redirected)?;
            if !request.may_follow(settings, endpoint, &place) {
                return Err(redirected(
                    "a redirect to what is no object of the bucket".into(),
                ));
            }
            // It is read so that the connection can be used again.
            if timeout(DRAIN, exchange.drain()).await.is_ok() {
                exchange.give_back();
            }
            let (wait, now) = (settings.deadlines.connect, clock.monotonic());
            let addresses = Addresses::default().of(&place.endpoint, wait, now).await?;
            let address = addresses.first().ok_or(Failure::Dns)?;
            let target = Target {
                endpoint: &place.endpoint,
                address: *address,
            };
            let wire = request.to_wire_at(settings, endpoint, &place);
            let patience = settings.deadlines.first_byte;
            exchange = self
                .ask(
                    &target,
                    &wire,
                    request.method,
                    patience,
                    true,
                    request.interims.as_ref(),
                )
                .await?;
            if !is_redirect(exchange.head.status) {
                return Ok(exchange);
            }
        }
        Err(redirected(format!(
            "more than {} redirects",
            redirect::MOST
        )))
    }

    /// Signs a request afresh, sends it and reads the head of its answer.
    pub(super) async fn send(
        self: &Arc<Self>,
        request: &Request,
        index: usize,
        same: bool,
    ) -> Result<Exchange, Trouble> {
        let deadlines = &self.settings.deadlines;
        let (wait, clock) = (deadlines.connect, &self.clock);
        let target = self.endpoints.target(index, same, wait, clock).await?;
        let now = self.endpoints.server_time(clock.wall());
        let wire = request.to_wire(&self.settings, target.endpoint, self.signer.as_ref(), now);
        let patience = request.hold.unwrap_or_default().max(deadlines.first_byte);
        let told = request.interims.as_ref();
        self.ask(&target, &wire, request.method, patience, !same, told)
            .await
    }

    /// The status to go on with, or what the answer means that is none.
    fn read_status(&self, request: &Request, head: &Head, words: &Words) -> Result<u16, Failure> {
        let missing_as = &self.settings.missing_as;
        let status = head.status;
        match &self.settings.kind {
            Kind::S3 { .. } if (200..300).contains(&status) && is_own_xml(&head.headers) => {
                Err(Failure::NotAnObject)
            }
            // A 404 with a text that is no store's: something before it, which may
            // be gone in a moment, while what is stored covers.
            Kind::S3 { .. }
                if status == 404
                    && request.covered
                    && words.code.is_none()
                    && head.length() != Some(0)
                    && request.method == Method::Get =>
            {
                Err(Failure::BadResponse)
            }
            Kind::S3 { region, .. } => judge(Facts {
                status,
                words,
                missing_as,
                signed_for: self.signer.as_ref().map(|_| region.as_str()),
                ranged: request.range.is_some(),
                skewed: self.signer.is_some() && self.endpoints.skew(head, &self.clock).is_some(),
            }),
            Kind::Http { .. } if missing_as.contains(&status) => Ok(404),
            Kind::Http { .. } if request.shows_errors => Ok(status),
            Kind::Http { .. } => match status {
                408 | 429 => Err(Failure::Throttled),
                500.. => Err(Failure::ServerError),
                _ => Ok(status),
            },
        }
    }

    /// What an answer, or none, says of the endpoint.
    fn note_attempt(self: &Arc<Self>, index: usize, request: &Request, attempt: &Attempt) {
        let key = Some(request.object());
        if attempt.elsewhere {
            return self.endpoints.answered(index);
        }
        match (attempt.status, &attempt.answer) {
            (Some(status), _) => self.note(index, key, Ok(status)),
            // Who holds an answer back for a playlist that does not come is
            // not in trouble.
            (None, Err(Failure::FirstByteTimeout)) if request.hold.is_some() => {}
            (None, Ok(_)) => {}
            (None, Err(failure)) => self.note(index, key, Err(*failure)),
        }
    }
}

impl Attempt {
    fn none(failure: Failure) -> Self {
        Self::without(failure.into())
    }

    /// Where a redirect has led: nothing that it says is the endpoint's.
    fn elsewhere(trouble: Trouble) -> Self {
        Self {
            elsewhere: true,
            ..Self::without(trouble)
        }
    }

    fn without(trouble: Trouble) -> Self {
        Self {
            elsewhere: false,
            answer: Err(trouble.failure),
            status: None,
            words: Words::default(),
            cause: trouble.cause,
            learned: false,
            retry_after: None,
        }
    }

    /// Whether, and where, the request is tried once more. Where error pages
    /// are the viewers', the first one is theirs too, unless another endpoint
    /// has the object.
    fn again(&self, request: &Request) -> Again {
        match &self.answer {
            Err(Failure::Clock) if self.learned => Again::Now,
            Err(failure) if failure.may_retry() => Again::Later,
            // Another endpoint may speak HTTP, this one would do it again.
            Err(Failure::BadResponse) => Again::Elsewhere,
            // Another endpoint may be quick; this one is just slow.
            Err(Failure::FirstByteTimeout) if request.hold.is_none() => Again::Elsewhere,
            Ok(exchange) if request.shows_errors && is_trouble(exchange.head.status) => {
                Again::Elsewhere
            }
            Ok(_) | Err(_) => Again::No,
        }
    }
}

impl Again {
    fn may_go_on(self, same: bool) -> bool {
        match self {
            Again::No => false,
            Again::Elsewhere => !same,
            Again::Later | Again::Now => true,
        }
    }
}

/// A redirect that leads nowhere, and why.
fn redirected(cause: String) -> Trouble {
    Trouble {
        failure: Failure::Redirect,
        cause: Some(cause),
    }
}

/// What an answer asks for, in seconds; where that is longer than a player
/// should wait, it is not passed on.
fn retry_after(head: &Head) -> Option<Duration> {
    let text = head.text(RETRY_AFTER)?.trim();
    let wait = Duration::from_secs(text.parse().ok()?);
    (Duration::from_secs(1)..=LONGEST_RETRY_AFTER)
        .contains(&wait)
        .then_some(wait)
}

/// How long to wait before the second try; `chance` is between 0 and 1.
fn pause(chance: f64) -> Duration {
    SHORTEST_PAUSE + (LONGEST_PAUSE - SHORTEST_PAUSE).mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_before_a_second_try_is_between_its_limits() {
        for (chance, milliseconds) in [(0.0, 100), (0.5, 200), (1.0, 300), (-1.0, 100), (9.0, 300)]
        {
            assert_eq!(pause(chance), Duration::from_millis(milliseconds));
        }
    }
}
