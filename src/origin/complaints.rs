//! What an operator is told of a failing origin: one line for each reason, with
//! all that store and system said, and not one for each pull.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::LOCATION;

use super::client::Origin;
use super::s3_error::Words;
use super::{Exchange, Failure, Head, Kind};

/// Between two lines of one zone for the same reason; those that were not
/// written are counted in the next one.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// When a reason was last written, and how often it came since.
#[derive(Default)]
pub struct Complaints(Mutex<[Option<(Instant, u64)>; Failure::ALL.len()]>);

/// A failed request, with what is known of it.
pub struct Complaint<'a> {
    pub failure: Failure,
    pub path: &'a str,
    /// The endpoint that was asked.
    pub index: Option<usize>,
    pub status: Option<u16>,
    pub words: &'a Words,
    pub cause: Option<&'a str>,
}

impl Complaints {
    /// How many were passed over, where one is to be written now.
    fn due(&self, failure: Failure, now: Instant) -> Option<u64> {
        let place = Failure::ALL.iter().position(|other| *other == failure)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut all[place] {
            Some((at, passed)) if now.saturating_duration_since(*at) < COMPLAIN_EVERY => {
                *passed += 1;
                None
            }
            last => Some(last.replace((now, 0)).map_or(0, |(_, passed)| passed)),
        }
    }
}

/// Where a redirect leads, without what may be signed.
pub(super) fn leads_to(failure: Failure, head: &Head) -> Option<&str> {
    let location = head.text(LOCATION).filter(|_| failure == Failure::Redirect);
    location.and_then(|place| place.split(['?', '#']).next())
}

impl Origin {
    /// Tells of an answer that is a failure by what its head says.
    pub fn complain_of_answer(&self, failure: Failure, path: &str, exchange: &Exchange) {
        self.complain(&Complaint {
            failure,
            path,
            index: exchange.index(),
            status: Some(exchange.head.status),
            words: &Words::default(),
            cause: leads_to(failure, &exchange.head),
        });
    }

    /// Tells of a failure that came behind an answer's head.
    pub fn complain_of(&self, failure: Failure, path: &str) {
        self.complain(&Complaint {
            failure,
            path,
            index: None,
            status: None,
            words: &Words::default(),
            cause: None,
        });
    }

    pub(super) fn complain(&self, complaint: &Complaint<'_>) {
        let Complaint { failure, words, .. } = complaint;
        let now = self.clock.monotonic();
        if let Some(index) = complaint.index {
            self.endpoints.note_failure(index, *failure, now);
        }
        let Some(passed_over) = self.complaints.due(*failure, now) else {
            return;
        };
        let shut = (*failure == Failure::CircuitOpen).then(|| self.why_shut());
        let cause = complaint.cause.or(shut.as_deref());
        // The same fields at two levels: a level is part of a line's type.
        macro_rules! tell {
            ($level:ident, $text:literal) => {
                tracing::$level!(
                    zone = self.zone,
                    reason = failure.name(),
                    path = complaint.path,
                    endpoint = complaint.index.map(|index| self.endpoints.authority(index)),
                    status = complaint.status,
                    code = words.code,
                    message_of_store = words.message,
                    region_of_store = words.region,
                    endpoint_of_store = words.endpoint,
                    access_key = self.access_key(*failure),
                    cause,
                    cure = failure.cure(),
                    passed_over,
                    $text
                )
            };
        }
        match failure.is_configuration() {
            true => tell!(
                error,
                "the origin cannot serve this zone: no object can be pulled"
            ),
            false => tell!(warn, "pull failed"),
        }
    }

    /// What the endpoints failed with, so that nobody has to look further back.
    fn why_shut(&self) -> String {
        let all = self.endpoints.failures();
        let all = all.map(|(endpoint, why)| format!("{endpoint}: {}", why.name()));
        all.collect::<Vec<_>>().join(", ")
    }

    /// The public half of the key, where the key may be at fault.
    fn access_key(&self, failure: Failure) -> Option<String> {
        match &self.settings.kind {
            Kind::S3 {
                credentials: Some(credentials),
                ..
            } if failure.may_be_the_key() => Some(credentials.shown_id()),
            Kind::S3 { .. } | Kind::Http { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn each_reason_is_told_every_ten_seconds_with_a_count_of_the_others() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let due = |failure, second| complaints.due(failure, start + Duration::from_secs(second));
        assert_eq!(due(Failure::Credential, 0), Some(0));
        assert_eq!(due(Failure::Reset, 1), Some(0));
        for second in 1..=9 {
            assert_eq!(due(Failure::Credential, second), None);
        }
        assert_eq!(due(Failure::Credential, 10), Some(9));
        assert_eq!(due(Failure::Credential, 20), Some(0));
    }
}
