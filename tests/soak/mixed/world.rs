//! What the origin holds, and what each path should bring.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use crate::origin::{Body, OriginState};

pub const SEGMENTS: u64 = 600;
pub const FILMS: u64 = 3;
pub const PLAYLISTS: u64 = 20;
pub const CHANNELS: u64 = 3;
/// Above `max_object` with a budget of 64 MiB.
const FILM_BYTES: u64 = 17_500_000;
const LEAST_BYTES: f64 = 4e3;
const MOST_BYTES: f64 = 1e6;
const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
/// Segments that a live playlist names, a second each.
const WINDOW: u64 = 6;
/// Live segments kept behind it.
const KEPT: u64 = 60;

/// A path and what it holds.
pub struct Named {
    pub path: String,
    pub body: Body,
    seed: u64,
}

impl Named {
    fn new(path: String, seed: u64, len: u64) -> Self {
        let body = Body::Generated { seed, len };
        Self { path, body, seed }
    }

    /// As the dev origin makes it.
    pub fn etag(&self) -> String {
        format!("\"gen-{}-{}\"", self.seed, self.body.len())
    }
}

pub fn segment(number: u64) -> Named {
    // Evenly over the decades, and the same each time.
    let share = (number * 7919 % SEGMENTS) as f64 / SEGMENTS as f64;
    let len = LEAST_BYTES * (MOST_BYTES / LEAST_BYTES).powf(share);
    Named::new(format!("/vod/s{number}.ts"), 1000 + number, len as u64)
}

pub fn film(number: u64) -> Named {
    Named::new(format!("/vod/film{number}.mp4"), 5000 + number, FILM_BYTES)
}

pub fn live_segment(channel: u64, sequence: u64) -> Named {
    let path = format!("/live{channel}/{sequence}.ts");
    let len = 60_000 + sequence % 7 * 10_000;
    Named::new(path, 10_000 * (channel + 1) + sequence, len)
}

/// Path and text of an ended playlist.
pub fn playlist(number: u64) -> (String, String) {
    let mut text = String::from("#EXTM3U\n#EXT-X-TARGETDURATION:6\n");
    for segment in 0..30 {
        let named = (number * 30 + segment) % SEGMENTS;
        text += &format!("#EXTINF:6.0,\ns{named}.ts\n");
    }
    (format!("/vod/p{number}.m3u8"), text + "#EXT-X-ENDLIST\n")
}

pub fn live_path(channel: u64) -> String {
    format!("/live{channel}/index.m3u8")
}

pub fn live_playlist(sequence: u64) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n");
    for number in sequence..sequence + WINDOW {
        text += &format!("#EXTINF:1.0,\n{number}.ts\n");
    }
    text
}

/// The sequence number of a live playlist, and whether the text is that of it.
pub fn sequence_of(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("#EXT-X-MEDIA-SEQUENCE:")?;
    let sequence = rest.lines().next()?.parse().ok()?;
    (live_playlist(sequence) == text).then_some(sequence)
}

/// Some objects are asked for far more often than others.
pub fn popular(random: &mut StdRng, count: u64) -> u64 {
    let share: f64 = random.random();
    (share.powi(3) * count as f64) as u64
}

/// Fills the origin with all that does not change.
pub fn fill(origin: &OriginState) {
    for named in (0..SEGMENTS).map(segment).chain((0..FILMS).map(film)) {
        put(origin, &named);
    }
    for number in 0..PLAYLISTS {
        let (path, text) = playlist(number);
        origin.put(&format!("/media{path}"), text, PLAYLIST_TYPE);
    }
    for channel in 0..CHANNELS {
        for sequence in 0..WINDOW {
            put(origin, &live_segment(channel, sequence));
        }
    }
    publish(origin, 0);
}

fn put(origin: &OriginState, named: &Named) {
    origin.put_generated(
        &format!("/media{}", named.path),
        named.body.len(),
        named.seed,
    );
}

fn publish(origin: &OriginState, sequence: u64) {
    for channel in 0..CHANNELS {
        put(origin, &live_segment(channel, sequence + WINDOW - 1));
        let path = format!("/media{}", live_path(channel));
        origin.put(&path, live_playlist(sequence), PLAYLIST_TYPE);
        if let Some(old) = sequence.checked_sub(KEPT) {
            origin.remove(&format!("/media{}", live_segment(channel, old).path));
        }
    }
}

/// Moves the live channels on, a segment a second, until it is dropped.
pub async fn go_live(origin: OriginState, sequence: Arc<AtomicU64>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    loop {
        tick.tick().await;
        let next = sequence.load(Relaxed) + 1;
        publish(&origin, next);
        sequence.store(next, Relaxed);
    }
}
