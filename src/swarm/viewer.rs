//! One viewer: opens a playlist, chooses a variant, keeps its buffer filled.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{RANGE, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::{sleep, timeout};

use super::dial::{Dial, connector};
use super::playback::Playback;
use super::tally::Tally;
use super::{Settings, Variant};
use crate::cause::root_cause;
use crate::clock::Clock;
use crate::hls::MAX_PLAYLIST_BYTES;
use crate::hls::listing::{Listed, Media, Part, Segment, read};

/// A request that takes longer has failed, as it has for a player.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries of one request, a second apart, before the viewer gives up.
const MAX_TRIES: u32 = 4;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A live viewer begins so many target durations before the end (RFC 8216 §6.3.3).
const LIVE_EDGE: u32 = 3;

pub struct Viewer {
    settings: Arc<Settings>,
    tally: Arc<Mutex<Tally>>,
    clock: Clock,
    client: Client<HttpsConnector<Dial>, Empty<Bytes>>,
    playback: Playback,
    /// Initialisation sections and keys that it has.
    held: HashSet<Part>,
    has_played: bool,
    /// Its place among all viewers.
    number: usize,
}

/// The viewer cannot go on; it was counted why.
struct GivenUp;

impl Viewer {
    pub fn new(
        settings: Arc<Settings>,
        tally: Arc<Mutex<Tally>>,
        clock: Clock,
        number: usize,
    ) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        let road = connector(settings.connect.as_deref(), &settings.trusted);
        let client = builder.pool_max_idle_per_host(1).build(road);
        let playback = Playback::new(clock.monotonic());
        Self {
            settings,
            tally,
            clock,
            client,
            playback,
            held: HashSet::new(),
            has_played: false,
            number,
        }
    }

    /// Watches until `end`, again and again where the stream ends before.
    pub async fn watch(mut self, end: Instant) {
        self.tally(|tally| tally.viewers += 1);
        let left = end.saturating_duration_since(self.clock.monotonic());
        let gave_up = timeout(left, self.sessions()).await.is_ok();
        self.settle(gave_up);
    }

    async fn sessions(&mut self) {
        while self.session().await.is_ok() {
            self.settle(true);
        }
    }

    /// Adds what was seen to the tally, and begins with an empty buffer.
    fn settle(&mut self, over: bool) {
        let now = self.clock.monotonic();
        let seen = self.playback.seen(now, over);
        self.tally(|tally| tally.watched(seen));
        self.playback = Playback::new(now);
    }

    async fn session(&mut self) -> Result<(), GivenUp> {
        let mut url = self.settings.url.clone();
        let mut media = match self.playlist(&url).await? {
            Listed::Media(media) => media,
            Listed::Multivariant(all) => {
                url = self.settings.variant.choose(&all.variants, self.number);
                match self.playlist(&url).await? {
                    Listed::Media(media) => media,
                    Listed::Multivariant(_) => return Err(GivenUp),
                }
            }
        };
        let mut next = first_number(&media);
        loop {
            let due: Vec<Segment> = media
                .segments
                .iter()
                .filter(|s| s.number >= next)
                .cloned()
                .collect();
            let found_new = !due.is_empty();
            for segment in due {
                self.wait_for_room().await;
                self.play(&segment).await?;
                next = segment.number + 1;
            }
            if media.ended {
                sleep(self.playback.ahead(self.clock.monotonic())).await;
                return Ok(());
            }
            // RFC 8216 §6.3.4: a target duration, half of one where nothing was new.
            sleep(if found_new {
                media.target
            } else {
                media.target / 2
            })
            .await;
            media = match self.playlist(&url).await? {
                Listed::Media(media) => media,
                Listed::Multivariant(_) => return Err(GivenUp),
            };
        }
    }

    /// A player with a full buffer asks for nothing.
    async fn wait_for_room(&self) {
        let ahead = self.playback.ahead(self.clock.monotonic());
        sleep(ahead.saturating_sub(self.settings.buffer)).await;
    }

    async fn play(&mut self, segment: &Segment) -> Result<(), GivenUp> {
        for part in &segment.needs {
            if !self.held.contains(part) {
                self.fetch(part, false).await?;
                self.held.insert(Part::clone(part));
            }
        }
        let asked = self.clock.monotonic();
        self.fetch(&segment.part, false).await?;
        let now = self.clock.monotonic();
        let startup = self.playback.receive(segment.media, now);
        let first = !self.has_played;
        self.has_played |= startup.is_some();
        self.tally(|tally| {
            tally.segment(now.saturating_duration_since(asked));
            if let Some(startup) = startup {
                tally.begin(startup, first);
            }
        });
        Ok(())
    }

    async fn playlist(&self, url: &str) -> Result<Listed, GivenUp> {
        let part = Part {
            url: url.to_owned(),
            range: None,
        };
        let body = self.fetch(&part, true).await?;
        read(&body, url).ok_or_else(|| {
            self.tally(|tally| tally.fail("a body that is no playlist"));
            GivenUp
        })
    }

    /// Gets a part, with a few tries; its body only where it is to be kept.
    async fn fetch(&self, part: &Part, keep: bool) -> Result<Bytes, GivenUp> {
        if !self.settings.allows(&part.url) {
            self.tally(|tally| tally.fail("a playlist names another host: see --own-host"));
            return Err(GivenUp);
        }
        for number in 1..=MAX_TRIES {
            match timeout(REQUEST_TIMEOUT, self.get(part, keep)).await {
                Ok(Ok((status, body))) if status.is_success() => return Ok(body),
                // A refusal does not change by asking again.
                Ok(Ok((status, _))) if status == StatusCode::FORBIDDEN => return Err(GivenUp),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => self.tally(|tally| tally.fail(&root_cause(&*error))),
                Err(_) => self.tally(|tally| tally.fail("no answer in time")),
            }
            if number < MAX_TRIES {
                sleep(RETRY_AFTER).await;
            }
        }
        Err(GivenUp)
    }

    async fn get(&self, part: &Part, keep: bool) -> Result<(StatusCode, Bytes), Failed> {
        let mut request = Request::get(&part.url).header(USER_AGENT, "warren-swarm");
        if let Some(range) = &part.range {
            request = request.header(RANGE, range);
        }
        let request = request.body(Empty::new())?;
        let answer = self.client.request(request).await?;
        let status = answer.status();
        let cache = answer.headers().get("cdn-cache");
        let cache = cache
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        self.tally(|tally| {
            tally.requests += 1;
            *tally.statuses.entry(status.as_u16()).or_default() += 1;
            if let Some(cache) = cache.filter(|cache| cache != "-") {
                *tally.cache.entry(cache).or_default() += 1;
            }
        });
        let mut kept = BytesMut::new();
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame?.into_data() else {
                continue;
            };
            self.tally(|tally| tally.bytes += bytes.len() as u64);
            if keep && kept.len() + bytes.len() <= MAX_PLAYLIST_BYTES {
                kept.extend_from_slice(&bytes);
            }
        }
        Ok((status, kept.freeze()))
    }

    fn tally(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Where to begin: at the start of what has ended, near the end of what is live.
fn first_number(media: &Media) -> u64 {
    if media.ended {
        return 0;
    }
    let mut behind = Duration::ZERO;
    for segment in media.segments.iter().rev() {
        behind += segment.media;
        if behind >= media.target * LIVE_EDGE {
            return segment.number;
        }
    }
    media.segments.first().map_or(0, |segment| segment.number)
}

impl Variant {
    fn choose(self, variants: &[(u64, String)], number: usize) -> String {
        let by_bandwidth = |(bandwidth, _): &&(u64, String)| *bandwidth;
        let chosen = match self {
            Variant::First => variants.first(),
            Variant::Highest => variants.iter().max_by_key(by_bandwidth),
            Variant::Lowest => variants.iter().min_by_key(by_bandwidth),
            Variant::Each => variants.get(number % variants.len().max(1)),
        };
        chosen.map(|(_, url)| url.clone()).unwrap_or_default()
    }
}
