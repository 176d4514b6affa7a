//! Pure: how a pull can fail. The name is the log field, the metric label and a
//! row of `docs/reference/origin.md`; the origin's own words never reach a viewer.

/// Why there is no (whole) answer of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The endpoint's name has no address.
    Dns,
    ConnectFailed,
    /// Nobody listens at the port.
    ConnectRefused,
    ConnectTimeout,
    /// The endpoint's certificate is not trusted, or not for its name.
    Certificate,
    /// The connection ended before the answer's head.
    Reset,
    FirstByteTimeout,
    BetweenBytesTimeout,
    TotalTimeout,
    /// The answer is no HTTP, or contradicts itself.
    BadResponse,
    /// The body ended before its length.
    Truncated,
    /// The body went on beyond its length.
    Overlong,
    /// 5xx.
    ServerError,
    /// 408 or 429: not now.
    Throttled,
    /// 3xx: redirects are not followed.
    Redirect,
    /// A part was sent where the whole was asked for.
    UnexpectedRange,
    /// The origin names our credentials as the reason: an alarm.
    Credential,
    NoSuchBucket,
    /// The bucket is elsewhere, or the signature is for another region.
    WrongRegion,
    /// Our clock and the store's differ, though its time was learned.
    Clock,
    /// The object is in an archive, and would have to be restored.
    ColdStorage,
    /// The store takes our request for wrong.
    Rejected,
    /// The origin refuses, and the zone does not read that as missing.
    Denied,
    /// No place among `max_pulls` in time.
    QueueTimeout,
    /// A body of unknown length outgrew what may be held.
    TooLarge,
    /// Every endpoint is shut: no connection comes about. Or all are in doubt,
    /// and something stale covers.
    CircuitOpen,
    /// No first byte for a viewer in time, whatever held it up.
    AnswerTimeout,
    /// The store answered with XML of its own, such as a listing.
    NotAnObject,
    /// A playlist's name, and no playlist in its body, where a stale one covers.
    NotAPlaylist,
}

/// Bodies of one key that broke off in a row, within a second of each other,
/// before it is the key that is broken.
const CUTS_TO_TELL: u32 = 3;

impl Failure {
    pub const ALL: [Failure; 29] = [
        Failure::Dns,
        Failure::ConnectFailed,
        Failure::ConnectRefused,
        Failure::ConnectTimeout,
        Failure::Certificate,
        Failure::Reset,
        Failure::FirstByteTimeout,
        Failure::BetweenBytesTimeout,
        Failure::TotalTimeout,
        Failure::BadResponse,
        Failure::Truncated,
        Failure::Overlong,
        Failure::ServerError,
        Failure::Throttled,
        Failure::Redirect,
        Failure::UnexpectedRange,
        Failure::Credential,
        Failure::NoSuchBucket,
        Failure::WrongRegion,
        Failure::Clock,
        Failure::ColdStorage,
        Failure::Rejected,
        Failure::Denied,
        Failure::QueueTimeout,
        Failure::TooLarge,
        Failure::CircuitOpen,
        Failure::AnswerTimeout,
        Failure::NotAnObject,
        Failure::NotAPlaylist,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Failure::Dns => "dns",
            Failure::ConnectFailed => "connect_failed",
            Failure::ConnectRefused => "connect_refused",
            Failure::ConnectTimeout => "connect_timeout",
            Failure::Certificate => "certificate",
            Failure::Reset => "reset",
            Failure::FirstByteTimeout => "first_byte_timeout",
            Failure::BetweenBytesTimeout => "between_bytes_timeout",
            Failure::TotalTimeout => "total_timeout",
            Failure::BadResponse => "bad_response",
            Failure::Truncated => "truncated",
            Failure::Overlong => "overlong",
            Failure::ServerError => "server_error",
            Failure::Throttled => "throttled",
            Failure::Redirect => "redirect",
            Failure::UnexpectedRange => "unexpected_range",
            Failure::Credential => "credential",
            Failure::NoSuchBucket => "no_such_bucket",
            Failure::WrongRegion => "wrong_region",
            Failure::Clock => "clock",
            Failure::ColdStorage => "cold_storage",
            Failure::Rejected => "rejected",
            Failure::Denied => "denied",
            Failure::QueueTimeout => "queue_timeout",
            Failure::TooLarge => "too_large",
            Failure::CircuitOpen => "circuit_open",
            Failure::AnswerTimeout => "answer_timeout",
            Failure::NotAnObject => "not_an_object",
            Failure::NotAPlaylist => "not_a_playlist",
        }
    }

    /// What a viewer gets who has not been sent a head yet: 503 for what time
    /// mends, so that players ask again, and 502 for what somebody has to mend.
    pub const fn status(self) -> u16 {
        match self {
            Failure::Dns
            | Failure::ConnectFailed
            | Failure::ConnectRefused
            | Failure::ConnectTimeout
            | Failure::Reset
            | Failure::FirstByteTimeout
            | Failure::BetweenBytesTimeout
            | Failure::TotalTimeout
            | Failure::Truncated
            | Failure::ServerError
            | Failure::Throttled
            | Failure::QueueTimeout
            | Failure::CircuitOpen
            | Failure::NotAPlaylist
            | Failure::AnswerTimeout => 503,
            Failure::Certificate
            | Failure::BadResponse
            | Failure::Overlong
            | Failure::Redirect
            | Failure::UnexpectedRange
            | Failure::Credential
            | Failure::NoSuchBucket
            | Failure::WrongRegion
            | Failure::Clock
            | Failure::ColdStorage
            | Failure::Rejected
            | Failure::Denied
            | Failure::NotAnObject
            | Failure::TooLarge => 502,
        }
    }

    /// The origin has given no answer.
    pub const fn is_silence(self) -> bool {
        match self {
            // It answers, and is not believed.
            Failure::Certificate => false,
            Failure::Reset
            | Failure::FirstByteTimeout
            | Failure::AnswerTimeout
            | Failure::CircuitOpen => true,
            other => other.is_unconnected(),
        }
    }

    /// Whether time mends it: a viewer is told when to ask again.
    pub const fn heals(self) -> bool {
        self.status() == 503
    }

    /// No connection came about.
    pub const fn is_unconnected(self) -> bool {
        matches!(
            self,
            Failure::Dns
                | Failure::ConnectFailed
                | Failure::ConnectRefused
                | Failure::ConnectTimeout
                | Failure::Certificate
        )
    }

    /// Whether a second try may help: nothing of an answer has come yet, and
    /// the origin is not just slow; or it says itself that it will pass.
    pub const fn may_retry(self) -> bool {
        self.is_unconnected()
            || matches!(
                self,
                Failure::Reset | Failure::ServerError | Failure::Throttled
            )
    }

    /// Our configuration (or the machine's clock) is at fault: every object of
    /// the zone fails alike until somebody mends it.
    pub const fn is_configuration(self) -> bool {
        matches!(
            self,
            Failure::Certificate
                | Failure::Credential
                | Failure::NoSuchBucket
                | Failure::WrongRegion
                | Failure::Clock
        )
    }

    /// Whether another access key might change it.
    pub const fn may_be_the_key(self) -> bool {
        let refused = matches!(self, Failure::Denied | Failure::Rejected);
        self.is_configuration() || refused
    }

    /// Whether it tells of the key, `times` in a row, so that the key is not
    /// pulled again for a moment: not where its turn never came; and where a
    /// body broke off, which may go well the next time, only from the third on.
    pub const fn is_of_the_key(self, times: u32) -> bool {
        let not_its_turn = matches!(
            self,
            Failure::QueueTimeout
                | Failure::CircuitOpen
                | Failure::AnswerTimeout
                | Failure::TooLarge
        );
        let broke_off = matches!(
            self,
            Failure::TotalTimeout
                | Failure::BetweenBytesTimeout
                | Failure::Truncated
                | Failure::Overlong
        );
        !not_its_turn && (!broke_off || times >= CUTS_TO_TELL)
    }

    /// What an operator can do, where that is not plain from the name.
    pub const fn cure(self) -> Option<&'static str> {
        match self {
            Failure::NoSuchBucket => Some("mend origin.bucket, or make the bucket"),
            Failure::WrongRegion => {
                Some("set origin.region (and endpoints) to the bucket's region")
            }
            Failure::Credential => Some("mend origin.access_key and origin.secret_key"),
            Failure::Clock => Some("set the clock of this machine, or of the store"),
            Failure::Certificate => Some(
                "give the endpoint a certificate that is in force and for its name \
                     (origin.tls_name), or set origin.ca_file to its authority",
            ),
            Failure::Denied => Some(
                "allow s3:GetObject to the key, or set origin.access_key where there is none; \
                 where missing objects are meant, allow s3:ListBucket or write \
                 missing_as = [404, 403]",
            ),
            Failure::ColdStorage => Some("restore the object from its archive"),
            Failure::Dns => Some("mend the host in origin.endpoints, or this machine's resolver"),
            Failure::ConnectRefused => {
                Some("start the origin, or mend origin.endpoints: nobody listens there")
            }
            Failure::ConnectFailed => Some(
                "see whether origin.endpoints say https where the origin speaks http, and \
                 whether a route leads there",
            ),
            Failure::ConnectTimeout => {
                Some("see whether a firewall drops it, or the host of origin.endpoints is away")
            }
            Failure::FirstByteTimeout => {
                Some("see why the origin is slow, or raise origin.first_byte_timeout")
            }
            Failure::ServerError => Some("see the origin's own log"),
            Failure::Redirect => Some(
                "where it leads to objects, name its host in origin.redirects; else mend \
                 origin.endpoints",
            ),
            Failure::CircuitOpen => {
                Some("mend what the endpoints failed with: warren check --origin asks them anew")
            }
            Failure::Throttled => Some("ask for less, or raise what the store allows"),
            Failure::Reset
            | Failure::BetweenBytesTimeout
            | Failure::TotalTimeout
            | Failure::BadResponse
            | Failure::Truncated
            | Failure::Overlong
            | Failure::UnexpectedRange
            | Failure::Rejected
            | Failure::NotAnObject
            | Failure::NotAPlaylist
            | Failure::QueueTimeout
            | Failure::TooLarge
            | Failure::AnswerTimeout => None,
        }
    }
}

/// A failure, and what the system says of it, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub failure: Failure,
    pub cause: Option<String>,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            cause: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_failure_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Failure::ALL.into_iter().map(Failure::name).collect();
        assert_eq!(names.len(), Failure::ALL.len());
    }

    #[test]
    fn what_heals_is_503_and_what_somebody_must_mend_is_502() {
        for failure in Failure::ALL {
            let name = failure.name();
            assert!(matches!(failure.status(), 502 | 503), "{name}");
            assert!(!(failure.is_configuration() && failure.heals()), "{name}");
            assert!(
                !failure.is_configuration() || failure.cure().is_some(),
                "{name}: an alarm names its cure"
            );
        }
    }
}
