//! Feeds what the edge reads of an origin's playlists and manifests: any body
//! is read, and nothing that is taken from it is without a bound.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use warren::hls::{Manifest, Pace, Playlist, listing};
use warren::path::CanonicalPath;

const MAX_KEY_URIS: usize = 64;
const MAX_TARGET: Duration = Duration::from_secs(3600);

fn check(playlist: &Playlist, body: &[u8]) {
    assert!(playlist.key_uris.len() <= MAX_KEY_URIS);
    let bytes: usize = playlist.key_uris.iter().map(String::len).sum();
    assert!(bytes <= body.len());
    if let Pace::Live { target } | Pace::LowLatency { target } = playlist.pace {
        assert!(!target.is_zero() && target <= MAX_TARGET);
    }
    let Ok(base) = CanonicalPath::parse("/v/s1/index.m3u8") else {
        return;
    };
    for uri in &playlist.key_uris {
        // A playlist names objects of its own host only, by canonical paths.
        let _ = base.join(uri);
    }
}

fuzz_target!(|body: &[u8]| {
    let with_head = [b"#EXTM3U\n", body].concat();
    match Playlist::scan(&with_head) {
        Some(playlist) => check(&playlist, &with_head),
        None => panic!("what begins as a playlist is one"),
    }
    // What warming walks.
    let _ = listing::read(&with_head, "http://cdn.test/v/s1/index.m3u8");
    if let Some(playlist) = Playlist::scan(body) {
        check(&playlist, body);
    }
    let with_element = [b"<MPD ", body, b">"].concat();
    for body in [body, &with_element] {
        if let Some(manifest) = Manifest::scan(body) {
            if let Pace::Live { target } = manifest.pace {
                assert!(!target.is_zero() && target <= MAX_TARGET);
            }
        }
    }
});
