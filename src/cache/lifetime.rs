//! Pure: what may be stored, and for how long it is fresh.

use std::time::{Duration, Instant};

use super::cache_control::CacheControl;
use super::live::Beside;
use crate::hls::{Kind, Pace};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HOUR: Duration = secs(3600);
/// Segments and init sections never change under their name.
const SEGMENT_FRESH: Duration = secs(86_400);
/// A ceiling for every playlist, right for those that have ended. Held flat on
/// a live stream with a 2 s target it froze hls.js after 5.9 s (measured).
const PLAYLIST_FRESH: Duration = secs(60);
const KEY_FRESH: Duration = secs(60);
const OTHER_FRESH: Duration = secs(60);
const LIVE_FRESH_MOST: Duration = secs(2);
const LIVE_FRESH_LEAST: Duration = Duration::from_millis(500);
const LOW_LATENCY_FRESH_MOST: Duration = secs(1);
const MISSING_FRESH: Duration = secs(2);
const MISSING_BESIDE_LIVE_FRESH: Duration = secs(1);
const MISSING_NAMED_FRESH: Duration = Duration::from_millis(500);
/// Longer than a packager takes to start again.
const LIVE_STALE_IF_ERROR_LEAST: Duration = secs(30);
/// RFC 9111 §4.2.4 names no end; what is older helps nobody.
const UNREACHABLE_STALE: Duration = secs(86_400);
/// Of an error that names a lifetime: one request in so long finds out that it is
/// over.
const ERROR_FRESH_MOST: Duration = secs(10);
/// Whatever target duration a playlist claims.
const MISSING_FRESH_MOST: Duration = secs(60);

/// How long an object may be served, from its arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetime {
    pub fresh: Duration,
    /// After `fresh`: served at once while it is refreshed behind it.
    pub stale_while_revalidate: Duration,
    /// After `fresh`: served where the origin fails.
    pub stale_if_error: Duration,
    /// After `fresh`: served where the origin gives no answer at all.
    pub stale_if_unreachable: Duration,
}

impl Lifetime {
    /// Good for no longer, whatever the origin does.
    pub fn only_fresh(fresh: Duration) -> Self {
        Self {
            fresh,
            ..Self::default()
        }
    }
}

/// Why an answer is not stored. The name is the `detail` of Cache-Status and a
/// metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bypass {
    NoStore,
    Private,
    SetCookie,
    Status,
    NotAPlaylist,
    Vary,
    NoLifetime,
    TooLarge,
    Budget,
    Method,
    Authorization,
    /// The request carries Cookie, and the origin does not say that others may
    /// have the answer.
    Cookie,
    /// The body ends with the connection: nothing tells a whole one from a cut one.
    NoLength,
    Head,
    /// The viewer says `no-store`, and the zone lets him.
    RequestNoStore,
    /// A range that the pull under way would reach too late.
    FarAhead,
    /// A body that has no length and does not come to an end.
    Endless,
}

impl Bypass {
    pub const ALL: [Bypass; 17] = [
        Bypass::NoStore,
        Bypass::Private,
        Bypass::SetCookie,
        Bypass::Status,
        Bypass::NotAPlaylist,
        Bypass::Vary,
        Bypass::NoLifetime,
        Bypass::TooLarge,
        Bypass::Budget,
        Bypass::Method,
        Bypass::Authorization,
        Bypass::Cookie,
        Bypass::NoLength,
        Bypass::Head,
        Bypass::RequestNoStore,
        Bypass::FarAhead,
        Bypass::Endless,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Bypass::NoStore => "no_store",
            Bypass::Private => "private",
            Bypass::SetCookie => "set_cookie",
            Bypass::Status => "status",
            Bypass::NotAPlaylist => "not_a_playlist",
            Bypass::Vary => "vary",
            Bypass::NoLifetime => "no_lifetime",
            Bypass::TooLarge => "too_large",
            Bypass::Budget => "budget",
            Bypass::Method => "method",
            Bypass::Authorization => "authorization",
            Bypass::Cookie => "cookie",
            Bypass::NoLength => "no_length",
            Bypass::Head => "head",
            Bypass::RequestNoStore => "request_no_store",
            Bypass::FarAhead => "far_ahead",
            Bypass::Endless => "endless",
        }
    }
}

/// What a zone sets in place of the table's `fresh`, by kind of object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    pub playlist: Option<Duration>,
    pub live_playlist: Option<Duration>,
    /// How long a live playlist is served where the origin fails.
    pub live_stale_if_error: Option<Duration>,
    pub segment: Option<Duration>,
    pub init: Option<Duration>,
    pub key: Option<Duration>,
    pub other: Option<Duration>,
    pub missing: Option<Duration>,
}

/// An origin's answer, as far as it decides a lifetime.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub status: u16,
    pub kind: Kind,
    /// What the body of a playlist or manifest says; `None` before it is read,
    /// for other kinds, and for a body that is no playlist.
    pub pace: Option<Pace>,
    pub cache_control: CacheControl,
    /// `Expires` less `Date`, where Cache-Control names no age.
    pub expires_in: Option<Duration>,
    /// Seconds it was old on arrival: `Age`, under `policy = "origin"` also by `Date`.
    pub age: Duration,
    pub has_validator: bool,
    /// `_HLS_msn` is part of the key.
    pub blocking_reload: bool,
    /// A live playlist stands in the same folder, or names it.
    pub live: Option<Beside>,
    /// Another broadcast may come under the names of this one.
    pub names_return: bool,
    /// What the zone says of this path, in place of its kind's.
    pub path_ttl: Option<Duration>,
}

impl Answer {
    fn origin_fresh(&self) -> Option<Duration> {
        self.cache_control.shared_max_age().or(self.expires_in)
    }
}

/// `policy = "hls"`: the table of `docs/reference/caching.md`.
pub fn hls(answer: &Answer, overrides: &Overrides) -> Result<Lifetime, Bypass> {
    refused_by_origin(&answer.cache_control)?;
    match answer.status {
        200 => {}
        404 | 410 => return Ok(Lifetime::only_fresh(missing(answer, overrides))),
        400 if answer.blocking_reload => return Ok(Lifetime::only_fresh(secs(1))),
        _ => return Err(Bypass::Status),
    }
    let set = answer.path_ttl;
    let mut lifetime = match answer.kind {
        Kind::Playlist | Kind::Manifest => playlist(answer, overrides)?,
        Kind::Segment => immutable(answer, set.or(overrides.segment), SEGMENT_FRESH),
        Kind::Init => immutable(answer, set.or(overrides.init), SEGMENT_FRESH),
        Kind::Other => immutable(answer, set.or(overrides.other), OTHER_FRESH),
        Kind::Key => {
            let most = set.or(overrides.key).unwrap_or(KEY_FRESH);
            let fresh = answer
                .origin_fresh()
                .map_or(most, |origin| origin.min(most));
            Lifetime {
                fresh,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: KEY_FRESH,
                ..Lifetime::default()
            }
        }
    };
    if answer.cache_control.no_cache {
        lifetime.fresh = Duration::ZERO;
        lifetime.stale_while_revalidate = Duration::ZERO;
    }
    if answer.cache_control.must_revalidate {
        lifetime.stale_while_revalidate = Duration::ZERO;
        lifetime.stale_if_error = Duration::ZERO;
    }
    Ok(lifetime)
}

/// `policy = "origin"`: only what the origin's head says (RFC 9111 §4.2).
/// Heuristic freshness is off.
pub fn origin(answer: &Answer, stale_when_unreachable: bool) -> Result<Lifetime, Bypass> {
    refused_by_origin(&answer.cache_control)?;
    // Any final status may be stored that says how long it is good for (RFC 9111
    // §3); a 206 and a 304 are parts of another, and what an origin makes of a
    // bad request, or of one viewer, is no other's: a header could shut everybody
    // out.
    let is_final = match answer.status {
        206 | 304 => false,
        404 | 405 | 410 | 414 => true,
        status => matches!(status, 200..=399 | 500..=599),
    };
    if !is_final {
        return Err(Bypass::Status);
    }
    let is_known = matches!(
        answer.status,
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    );
    let control = &answer.cache_control;
    if control.must_understand && !is_known {
        return Err(Bypass::Status);
    }
    let fresh = match answer.origin_fresh() {
        None if !is_known => return Err(Bypass::Status),
        _ if control.no_cache => Duration::ZERO,
        Some(fresh) => fresh,
        None if answer.has_validator => Duration::ZERO,
        None => return Err(Bypass::NoLifetime),
    };
    let fresh = match answer.status {
        500.. => fresh.min(ERROR_FRESH_MOST),
        _ => fresh,
    };
    // An old error is no better than a new one.
    let strict = control.must_revalidate || control.no_cache || answer.status >= 500;
    let unless_strict = |stale: Option<Duration>| match strict {
        true => Duration::ZERO,
        false => stale.unwrap_or_default(),
    };
    Ok(Lifetime {
        fresh,
        stale_while_revalidate: unless_strict(control.stale_while_revalidate),
        stale_if_error: unless_strict(control.stale_if_error),
        // What was to be confirmed for each viewer from the first is never another's.
        stale_if_unreachable: match stale_when_unreachable
            && control.s_maxage.is_none()
            && fresh > answer.age
        {
            true => unless_strict(Some(UNREACHABLE_STALE)),
            false => Duration::ZERO,
        },
    })
}

/// What the head alone forbids; asked before the body is shared.
pub fn refused_by_origin(control: &CacheControl) -> Result<(), Bypass> {
    match (control.no_store, control.private) {
        (true, _) => Err(Bypass::NoStore),
        (_, true) => Err(Bypass::Private),
        _ => Ok(()),
    }
}

/// How long media of a live stream may be taken for what they are: a stream that
/// is published anew uses names again (rfc8216bis-22, Appendix B). `None`: it is
/// no such thing, or the zone says that its names never return.
pub fn live_media(kind: Kind, live: Option<Beside>, names_return: bool) -> Option<Duration> {
    let live = live.filter(|_| names_return)?;
    let is_media = match kind {
        Kind::Segment | Kind::Init => true,
        Kind::Other => live.named,
        Kind::Playlist | Kind::Manifest | Kind::Key => false,
    };
    is_media.then(|| live.target * 6)
}

/// "Origin's, else": for what does not change under its name. Of a live stream
/// it does, and is then confirmed: in the background where the origin lets it.
fn immutable(answer: &Answer, set: Option<Duration>, otherwise: Duration) -> Lifetime {
    let (said, control) = (answer.origin_fresh(), &answer.cache_control);
    let Some(live) = live_media(answer.kind, answer.live, answer.names_return) else {
        return Lifetime {
            fresh: said.or(set).unwrap_or(otherwise),
            stale_while_revalidate: control.stale_while_revalidate.unwrap_or_default(),
            stale_if_error: control.stale_if_error.unwrap_or(HOUR),
            ..Lifetime::default()
        };
    };
    let most = set.unwrap_or(live);
    let behind = control.stale_while_revalidate;
    Lifetime {
        fresh: said.map_or(most, |said| said.min(most)),
        stale_while_revalidate: behind.unwrap_or_default().min(live),
        stale_if_error: control.stale_if_error.unwrap_or(HOUR),
        ..Lifetime::default()
    }
}

fn playlist(answer: &Answer, overrides: &Overrides) -> Result<Lifetime, Bypass> {
    let pace = answer.pace.ok_or(Bypass::NotAPlaylist)?;
    let (fresh, stale_while_revalidate, stale_if_error) = match pace {
        Pace::Ended | Pace::Multivariant => (
            overrides.playlist.unwrap_or(PLAYLIST_FRESH),
            PLAYLIST_FRESH,
            HOUR,
        ),
        Pace::LowLatency { target } if answer.blocking_reload => {
            return Ok(Lifetime::only_fresh(target * 6));
        }
        Pace::Live { target } => {
            let table = (target / 2).clamp(LIVE_FRESH_LEAST, LIVE_FRESH_MOST);
            let fresh = overrides.live_playlist.unwrap_or(table);
            (fresh, target / 2, live_stale_if_error(target, overrides))
        }
        Pace::LowLatency { target } => {
            let table = (target / 2).min(LOW_LATENCY_FRESH_MOST);
            (
                overrides.live_playlist.unwrap_or(table),
                Duration::ZERO,
                live_stale_if_error(target, overrides),
            )
        }
    };
    let fresh = answer
        .origin_fresh()
        .map_or(fresh, |origin| origin.min(fresh));
    let control = &answer.cache_control;
    Ok(Lifetime {
        fresh,
        stale_while_revalidate: match (control.stale_while_revalidate, pace) {
            (None, _) => stale_while_revalidate,
            // A player that has an older one of a live stream has nothing to play.
            (Some(said), Pace::Live { target } | Pace::LowLatency { target }) => said.min(target),
            (Some(said), Pace::Ended | Pace::Multivariant) => said,
        },
        // What the zone says of an outage goes before what the origin says.
        stale_if_error: match (pace, overrides.live_stale_if_error) {
            (Pace::Live { .. } | Pace::LowLatency { .. }, Some(own)) => own,
            _ => control.stale_if_error.unwrap_or(stale_if_error),
        },
        ..Lifetime::default()
    })
}

/// Players go on with an old playlist while it is served: hls.js ended after
/// 3 s of errors in its place, and played through 10 s of the same one (measured).
fn live_stale_if_error(target: Duration, overrides: &Overrides) -> Duration {
    let table = LIVE_STALE_IF_ERROR_LEAST.max(target * 5);
    overrides.live_stale_if_error.unwrap_or(table)
}

/// What a live playlist names is there in a moment; a manifest's update period
/// says nothing of its segments.
fn missing(answer: &Answer, overrides: &Overrides) -> Duration {
    let at_most = |most: Duration| overrides.missing.unwrap_or(most).min(most);
    match answer.live {
        Some(live) if answer.blocking_reload => (live.target * 4).min(MISSING_FRESH_MOST),
        Some(live) if live.named => at_most((live.target / 4).min(MISSING_NAMED_FRESH)),
        Some(_) => at_most(MISSING_BESIDE_LIVE_FRESH),
        None => overrides.missing.unwrap_or(MISSING_FRESH),
    }
}

/// When an object arrived and how long it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    pub stored_at: Instant,
    /// How old it was on arrival.
    pub age_on_arrival: Duration,
    pub lifetime: Lifetime,
}

/// What may be done with a stored object now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Serve it.
    Fresh,
    /// Serve it, and refresh it behind.
    StaleWhileRevalidate,
    /// Ask the origin; serve it only where the origin fails.
    StaleIfError,
    /// Good for its validators only.
    Expired,
}

impl Freshness {
    /// Seconds since the origin made or confirmed the object (RFC 9111 §4.2.3).
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored_at) + self.age_on_arrival
    }

    /// What is left of `fresh`.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.lifetime.fresh.saturating_sub(self.age(now))
    }

    /// Whether it may be served where the origin fails.
    pub fn covers_errors(&self, now: Instant) -> bool {
        self.state(now) != State::Expired
    }

    /// Whether it may be served where the origin gives no answer at all.
    pub fn covers_silence(&self, now: Instant) -> bool {
        let Lifetime {
            fresh,
            stale_if_unreachable,
            ..
        } = self.lifetime;
        self.covers_errors(now) || self.age(now) < fresh + stale_if_unreachable
    }

    pub fn state(&self, now: Instant) -> State {
        let age = self.age(now);
        let Lifetime {
            fresh,
            stale_while_revalidate,
            stale_if_error,
            ..
        } = self.lifetime;
        if age < fresh {
            State::Fresh
        } else if age < fresh + stale_while_revalidate {
            State::StaleWhileRevalidate
        } else if age < fresh + stale_if_error {
            State::StaleIfError
        } else {
            State::Expired
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIVE: Pace = Pace::Live { target: secs(6) };
    const LOW: Pace = Pace::LowLatency { target: secs(2) };

    fn answer(kind: Kind, pace: Option<Pace>, control: &str) -> Answer {
        Answer {
            status: 200,
            kind,
            pace,
            cache_control: CacheControl::parse([control].into_iter()),
            expires_in: None,
            age: Duration::ZERO,
            has_validator: true,
            blocking_reload: false,
            live: None,
            names_return: true,
            path_ttl: None,
        }
    }

    fn beside(target: u64, named: bool) -> Option<Beside> {
        let target = secs(target);
        Some(Beside { target, named })
    }

    fn life(fresh_ms: u64, swr_ms: u64, sie_ms: u64) -> Result<Lifetime, Bypass> {
        Ok(Lifetime {
            fresh: Duration::from_millis(fresh_ms),
            stale_while_revalidate: Duration::from_millis(swr_ms),
            stale_if_error: Duration::from_millis(sie_ms),
            ..Lifetime::default()
        })
    }

    #[test]
    fn under_hls_what_an_origin_says_of_stale_answers_is_honoured() {
        let said = "max-age=1, stale-while-revalidate=30, stale-if-error=600";
        let ended = Some(Pace::Ended);
        let own = Overrides {
            live_stale_if_error: Some(secs(5)),
            ..Overrides::default()
        };
        let none = Overrides::default();
        let table = [
            (
                "segment",
                answer(Kind::Segment, None, said),
                none,
                life(1000, 30_000, 600_000),
            ),
            (
                "ended",
                answer(Kind::Playlist, ended, said),
                none,
                life(1000, 30_000, 600_000),
            ),
            (
                "live",
                answer(Kind::Playlist, Some(LIVE), said),
                none,
                life(1000, 6_000, 600_000),
            ),
            (
                "the zone's",
                answer(Kind::Playlist, Some(LIVE), said),
                own,
                life(1000, 6_000, 5_000),
            ),
        ];
        for (name, answer, overrides, want) in table {
            assert_eq!(hls(&answer, &overrides), want, "{name}");
        }
    }

    #[test]
    fn the_hls_table() {
        const H: u64 = 3_600_000;
        let short = Pace::Live {
            target: Duration::from_millis(600),
        };
        let table = [
            (
                "segment",
                answer(Kind::Segment, None, ""),
                life(86_400_000, 0, H),
            ),
            (
                "segment, origin's year",
                answer(Kind::Segment, None, "max-age=31536000"),
                life(31_536_000_000, 0, H),
            ),
            (
                "segment, origin's minute",
                answer(Kind::Segment, None, "max-age=60"),
                life(60_000, 0, H),
            ),
            (
                "segment, no-store",
                answer(Kind::Segment, None, "no-store"),
                Err(Bypass::NoStore),
            ),
            (
                "segment, private",
                answer(Kind::Segment, None, "private"),
                Err(Bypass::Private),
            ),
            (
                "segment, no-cache",
                answer(Kind::Segment, None, "no-cache"),
                life(0, 0, H),
            ),
            ("init", answer(Kind::Init, None, ""), life(86_400_000, 0, H)),
            (
                "vod",
                answer(Kind::Playlist, Some(Pace::Ended), ""),
                life(60_000, 60_000, H),
            ),
            (
                "vod, longer origin",
                answer(Kind::Playlist, Some(Pace::Ended), "max-age=9999"),
                life(60_000, 60_000, H),
            ),
            (
                "vod, shorter origin",
                answer(Kind::Playlist, Some(Pace::Ended), "max-age=5"),
                life(5_000, 60_000, H),
            ),
            (
                "multivariant",
                answer(Kind::Playlist, Some(Pace::Multivariant), ""),
                life(60_000, 60_000, H),
            ),
            (
                "live T=6",
                answer(Kind::Playlist, Some(LIVE), ""),
                life(2_000, 3_000, 30_000),
            ),
            (
                "live T=0.6",
                answer(Kind::Playlist, Some(short), ""),
                life(500, 300, 30_000),
            ),
            (
                "live, s-maxage=1",
                answer(Kind::Playlist, Some(LIVE), "s-maxage=1"),
                life(1_000, 3_000, 30_000),
            ),
            (
                "low latency",
                answer(Kind::Playlist, Some(LOW), ""),
                life(1_000, 0, 30_000),
            ),
            (
                "live T=10",
                answer(Kind::Playlist, Some(Pace::Live { target: secs(10) }), ""),
                life(2_000, 5_000, 50_000),
            ),
            (
                "low latency, blocking",
                Answer {
                    blocking_reload: true,
                    ..answer(Kind::Playlist, Some(LOW), "")
                },
                life(12_000, 0, 0),
            ),
            (
                "an html page named m3u8",
                answer(Kind::Playlist, None, ""),
                Err(Bypass::NotAPlaylist),
            ),
            (
                "key",
                answer(Kind::Key, None, "max-age=600"),
                life(60_000, 0, 60_000),
            ),
            (
                "key, shorter origin",
                answer(Kind::Key, None, "max-age=6"),
                life(6_000, 0, 60_000),
            ),
            ("other", answer(Kind::Other, None, ""), life(60_000, 0, H)),
            (
                "must-revalidate",
                answer(Kind::Other, None, "max-age=9, must-revalidate"),
                life(9_000, 0, 0),
            ),
            (
                "dynamic mpd",
                answer(Kind::Manifest, Some(LIVE), ""),
                life(2_000, 3_000, 30_000),
            ),
            (
                "500",
                Answer {
                    status: 500,
                    ..answer(Kind::Segment, None, "")
                },
                Err(Bypass::Status),
            ),
            (
                "403",
                Answer {
                    status: 403,
                    ..answer(Kind::Segment, None, "")
                },
                Err(Bypass::Status),
            ),
            (
                "404",
                Answer {
                    status: 404,
                    ..answer(Kind::Segment, None, "")
                },
                life(2_000, 0, 0),
            ),
            (
                "404 of what a live playlist names",
                Answer {
                    status: 404,
                    live: beside(6, true),
                    ..answer(Kind::Segment, None, "")
                },
                life(500, 0, 0),
            ),
            (
                "404 of what a fast live playlist names",
                Answer {
                    status: 404,
                    live: beside(1, true),
                    ..answer(Kind::Key, None, "")
                },
                life(250, 0, 0),
            ),
            (
                "404 beside a live playlist",
                Answer {
                    status: 404,
                    live: beside(6, false),
                    ..answer(Kind::Segment, None, "")
                },
                life(1_000, 0, 0),
            ),
            (
                "404 beside a playlist of hours",
                Answer {
                    status: 404,
                    live: beside(3600, false),
                    ..answer(Kind::Init, None, "")
                },
                life(1_000, 0, 0),
            ),
            (
                "404 of a live playlist",
                Answer {
                    status: 404,
                    live: beside(6, false),
                    ..answer(Kind::Playlist, None, "")
                },
                life(1_000, 0, 0),
            ),
            (
                "segment beside a live playlist",
                Answer {
                    live: beside(6, false),
                    ..answer(Kind::Segment, None, "")
                },
                life(36_000, 0, H),
            ),
            (
                "segment of a live playlist, origin's year",
                Answer {
                    live: beside(2, true),
                    ..answer(
                        Kind::Segment,
                        None,
                        "max-age=31536000, stale-while-revalidate=5",
                    )
                },
                life(12_000, 5_000, H),
            ),
            (
                "segment of a live playlist, origin's second",
                Answer {
                    live: beside(2, true),
                    ..answer(Kind::Segment, None, "max-age=1")
                },
                life(1_000, 0, H),
            ),
            (
                "init section of a live playlist",
                Answer {
                    live: beside(2, true),
                    ..answer(Kind::Init, None, "")
                },
                life(12_000, 0, H),
            ),
            (
                "what a live playlist names without an extension",
                Answer {
                    live: beside(2, true),
                    ..answer(Kind::Other, None, "")
                },
                life(12_000, 0, H),
            ),
            (
                "a poster beside a live playlist",
                Answer {
                    live: beside(2, false),
                    ..answer(Kind::Other, None, "")
                },
                life(60_000, 0, H),
            ),
            (
                "segment of a live playlist whose names never return",
                Answer {
                    live: beside(2, true),
                    names_return: false,
                    ..answer(Kind::Segment, None, "")
                },
                life(86_400_000, 0, H),
            ),
            (
                "404 of a blocking reload",
                Answer {
                    status: 404,
                    blocking_reload: true,
                    live: beside(2, false),
                    ..answer(Kind::Playlist, None, "")
                },
                life(8_000, 0, 0),
            ),
            (
                "400 of a blocking reload",
                Answer {
                    status: 400,
                    blocking_reload: true,
                    ..answer(Kind::Playlist, None, "")
                },
                life(1_000, 0, 0),
            ),
        ];
        for (name, answer, want) in table {
            assert_eq!(hls(&answer, &Overrides::default()), want, "{name}");
        }
    }

    #[test]
    fn a_zone_overrides_a_kind_but_not_a_shorter_origin() {
        let overrides = Overrides {
            playlist: Some(secs(3600)),
            segment: Some(secs(5)),
            ..Overrides::default()
        };
        let fresh = |answer| hls(&answer, &overrides).map(|life| life.fresh);
        assert_eq!(
            fresh(answer(Kind::Playlist, Some(Pace::Ended), "")),
            Ok(secs(3600))
        );
        assert_eq!(
            fresh(answer(Kind::Playlist, Some(Pace::Ended), "max-age=7")),
            Ok(secs(7))
        );
        assert_eq!(fresh(answer(Kind::Segment, None, "")), Ok(secs(5)));
    }

    #[test]
    fn the_origin_policy_stores_only_what_the_head_allows() {
        let fresh = |answer| origin(&answer, true).map(|life| life.fresh);
        let nothing = answer(Kind::Other, None, "");
        assert_eq!(
            fresh(answer(Kind::Other, None, "max-age=5, s-maxage=9")),
            Ok(secs(9))
        );
        assert_eq!(
            fresh(answer(Kind::Other, None, "no-cache, max-age=5")),
            Ok(secs(0))
        );
        assert_eq!(
            fresh(Answer {
                expires_in: Some(secs(4)),
                ..nothing
            }),
            Ok(secs(4))
        );
        assert_eq!(
            fresh(Answer {
                has_validator: false,
                ..nothing
            }),
            Err(Bypass::NoLifetime)
        );
        assert_eq!(
            fresh(Answer {
                status: 206,
                ..nothing
            }),
            Err(Bypass::Status)
        );
        assert_eq!(
            fresh(answer(Kind::Other, None, "private")),
            Err(Bypass::Private)
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn an_object_ages_through_its_states() {
        let start = Instant::now();
        let lifetime = Lifetime {
            fresh: secs(10),
            stale_while_revalidate: secs(5),
            stale_if_error: secs(20),
            ..Lifetime::default()
        };
        let freshness = Freshness {
            stored_at: start,
            age_on_arrival: secs(4),
            lifetime,
        };
        let table = [
            (0, State::Fresh, 6),
            (5, State::Fresh, 1),
            (6, State::StaleWhileRevalidate, 0),
            (11, State::StaleIfError, 0),
            (26, State::Expired, 0),
        ];
        for (after, state, remaining) in table {
            let now = start + secs(after);
            assert_eq!(
                (freshness.state(now), freshness.remaining(now)),
                (state, secs(remaining)),
                "after {after} s"
            );
        }
        assert_eq!(
            freshness.age(start - secs(1)),
            secs(4),
            "a clock that steps back makes no negative age"
        );
    }

    proptest! {
        #[test]
        fn nothing_forbidden_is_kept_and_no_playlist_outlives_its_table(
            no_store: bool,
            private: bool,
            max_age in prop::option::of(0u64..100_000),
            target in 1u64..30,
            ended: bool,
        ) {
            let target = secs(target);
            let answer = Answer {
                status: 200,
                kind: Kind::Playlist,
                pace: Some(if ended { Pace::Ended } else { Pace::Live { target } }),
                cache_control: CacheControl {
                    no_store,
                    private,
                    max_age: max_age.map(secs),
                    ..CacheControl::default()
                },
                expires_in: None,
                age: Duration::ZERO,
                has_validator: false,
                blocking_reload: false,
                live: None,
                names_return: true,
                path_ttl: None,
            };
            match hls(&answer, &Overrides::default()) {
                Err(_) => prop_assert!(no_store || private),
                Ok(lifetime) => {
                    prop_assert!(!no_store && !private);
                    let most = if ended { secs(60) } else { target };
                    prop_assert!(lifetime.fresh <= most);
                    prop_assert!(max_age.is_none_or(|age| lifetime.fresh <= secs(age)));
                }
            }
        }
    }
}
