//! Pure: how a pull can fail. The name is the log field, the metric label and a
//! row of `docs/origin.md`; the origin's own words never reach a viewer.

/// Why there is no (whole) answer of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The endpoint's name has no address.
    Dns,
    ConnectFailed,
    ConnectTimeout,
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
    /// 3xx: redirects are not followed.
    Redirect,
    /// A part was sent where the whole was asked for.
    UnexpectedRange,
    /// The origin names our credentials as the reason: an alarm.
    Credential,
    /// The origin refuses, and the zone does not read that as missing.
    Denied,
    /// No place among `max_pulls` in time.
    QueueTimeout,
    /// A body of unknown length outgrew what may be held.
    TooLarge,
    /// Every endpoint is left alone after failures in a row.
    CircuitOpen,
    /// No first byte for a viewer in time, whatever held it up.
    AnswerTimeout,
}

impl Failure {
    pub const ALL: [Failure; 19] = [
        Failure::Dns,
        Failure::ConnectFailed,
        Failure::ConnectTimeout,
        Failure::Reset,
        Failure::FirstByteTimeout,
        Failure::BetweenBytesTimeout,
        Failure::TotalTimeout,
        Failure::BadResponse,
        Failure::Truncated,
        Failure::Overlong,
        Failure::ServerError,
        Failure::Redirect,
        Failure::UnexpectedRange,
        Failure::Credential,
        Failure::Denied,
        Failure::QueueTimeout,
        Failure::TooLarge,
        Failure::CircuitOpen,
        Failure::AnswerTimeout,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Failure::Dns => "dns",
            Failure::ConnectFailed => "connect_failed",
            Failure::ConnectTimeout => "connect_timeout",
            Failure::Reset => "reset",
            Failure::FirstByteTimeout => "first_byte_timeout",
            Failure::BetweenBytesTimeout => "between_bytes_timeout",
            Failure::TotalTimeout => "total_timeout",
            Failure::BadResponse => "bad_response",
            Failure::Truncated => "truncated",
            Failure::Overlong => "overlong",
            Failure::ServerError => "server_error",
            Failure::Redirect => "redirect",
            Failure::UnexpectedRange => "unexpected_range",
            Failure::Credential => "credential",
            Failure::Denied => "denied",
            Failure::QueueTimeout => "queue_timeout",
            Failure::TooLarge => "too_large",
            Failure::CircuitOpen => "circuit_open",
            Failure::AnswerTimeout => "answer_timeout",
        }
    }

    /// What a viewer gets who has not been sent a head yet.
    pub const fn status(self) -> u16 {
        match self {
            Failure::ConnectTimeout
            | Failure::FirstByteTimeout
            | Failure::BetweenBytesTimeout
            | Failure::TotalTimeout
            | Failure::AnswerTimeout => 504,
            Failure::QueueTimeout | Failure::CircuitOpen => 503,
            _ => 502,
        }
    }

    /// Whether time mends it: a viewer is told when to ask again.
    pub const fn heals(self) -> bool {
        self.status() == 503
    }

    /// Whether a second try may help: nothing of an answer has come yet, and
    /// the origin is not just slow.
    pub const fn may_retry(self) -> bool {
        matches!(
            self,
            Failure::Dns | Failure::ConnectFailed | Failure::ConnectTimeout | Failure::Reset
        )
    }
}
