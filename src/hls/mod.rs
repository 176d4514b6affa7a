//! What the edge understands of HLS (and of a DASH manifest): the kind of an
//! object by its name, and the few facts of a playlist that decide its lifetime.

mod broadcast;
mod kind;
pub mod listing;
mod manifest;
mod playlist;
mod variables;

pub use broadcast::{Mark, Window};
pub use kind::Kind;
pub use manifest::{Manifest, files};
pub use playlist::{Playlist, lines, uris};
pub use variables::Variables;

use std::borrow::Cow;
use std::time::Duration;

/// Of longer playlists the beginning and the end are read.
pub const MAX_PLAYLIST_BYTES: usize = 1 << 20;

/// The longest target duration or update period believed; a longer one is read
/// as this, so that multiples of it are durations, too.
const MAX_TARGET: Duration = Duration::from_secs(3600);

/// How an object changes, as far as its body tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Ended, VOD or static: what is there stays as it is.
    Ended,
    /// A list of variants.
    Multivariant,
    /// Grows; the target duration (or minimum update period) is the clock.
    Live { target: Duration },
    /// Low-Latency HLS: parts are announced.
    LowLatency { target: Duration },
}

/// The folders of what a playlist or a manifest names, as far as they are told
/// by references with a slash: each ends with one, and none stands twice. `put`
/// puts the values of variables in.
pub fn folders<'b>(
    kind: Kind,
    body: &'b [u8],
    most: usize,
    put: impl Fn(&'b str) -> Cow<'b, str>,
) -> Vec<String> {
    match kind {
        // What follows a template's `$` is not known.
        Kind::Manifest => {
            let known = |reference: &'b str| reference.split('$').next().unwrap_or_default();
            folders_of(manifest::references(body).map(known).map(Cow::from), most)
        }
        _ => folders_of(uris(body).map(put), most),
    }
}

fn folders_of<'b>(references: impl Iterator<Item = Cow<'b, str>>, most: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for reference in references {
        let path = reference.split(['?', '#']).next().unwrap_or_default();
        let folder = path.rfind('/').map(|slash| &path[..=slash]);
        if let Some(folder) = folder.filter(|folder| !found.iter().any(|it| it == folder)) {
            found.push(folder.to_owned());
        }
        if found.len() == most {
            break;
        }
    }
    found
}
