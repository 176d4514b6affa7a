//! What a scenario file may say.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::origin::Fault;

/// One scenario file.
///
/// Its texts may hold `{origin}`, which is the origin's address, and where a
/// request is sent the placeholders of [`super::text::fill`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What holds, as a sentence.
    pub claim: String,
    /// Why it does not hold yet: the file is named and counted, not played.
    pub ignored: Option<String>,
    /// TOML text that is added to `[listen]`.
    #[serde(default)]
    pub listen: String,
    /// TOML text that is added to the zone.
    #[serde(default)]
    pub zone: String,
    /// TOML text in place of `[zone.token]`.
    pub token: Option<String>,
    /// TOML text that is added to `[zone.origin]`.
    #[serde(default)]
    pub origin: String,
    /// In place of the origin's address, for one that cannot be reached.
    pub endpoint: Option<String>,
    /// TOML text of `[zone.cache]`.
    #[serde(default)]
    pub cache: String,
    /// TOML text behind the zone: more zones.
    #[serde(default)]
    pub more: String,
    /// "s3" (private bucket) or "http" (a zone without tokens).
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub object: Vec<Stored>,
    /// Answers that the origin makes from the request.
    #[serde(default)]
    pub echo: Vec<Echo>,
    pub step: Vec<Step>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    S3,
    Http,
}

/// An object of the origin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub path: String,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub size: usize,
    pub cache_control: Option<String>,
    pub etag: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// A path that is answered with what one header of the request says, or
/// `none`.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    pub path: String,
    pub header: String,
    #[serde(default = "ok")]
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// One thing that happens, and what is seen of it. What is done comes first,
/// then the request, then what is looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Seconds that pass.
    pub advance: Option<f64>,
    /// A new state of an object of the origin.
    pub put: Option<Stored>,
    pub remove: Option<String>,
    pub fault: Option<FaultStep>,
    #[serde(default)]
    pub clear_faults: bool,
    /// The origin goes away (`true`), or is there again (`false`).
    pub away: Option<bool>,
    /// Seconds that the origin's clock is ahead.
    pub skew: Option<i64>,
    /// What the origin from now on takes for the edge's secret key.
    pub secret: Option<String>,

    /// A path to GET (or another `method`), signed unless `signed = false`.
    pub get: Option<String>,
    #[serde(default = "get_method")]
    pub method: String,
    #[serde(default = "yes")]
    pub signed: bool,
    /// Header lines of `get`, or the last ones of `raw`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Bytes that are written on a connection of their own, each character one
    /// byte (`\u00e4` is 0xE4).
    pub raw: Option<String>,
    /// The step is played once with each of these in place of `{each}`.
    #[serde(default)]
    pub each: Vec<String>,
    /// The step is played so often, with `{n}` counting from 0.
    #[serde(default = "once")]
    pub times: usize,
    /// The request is sent again until its answer has this `cache`: for what
    /// only a real second brings.
    #[serde(default)]
    pub eventually: bool,
    /// Only the head of the answer is read; the viewer then stands still until
    /// the edge has given him up.
    #[serde(default)]
    pub stands_still: bool,

    /// The status of the one answer.
    pub status: Option<u16>,
    /// Of `raw`: the status of each answer there is, in order; none is a
    /// connection that ends without a word. All that follows is about the last.
    pub answers: Option<Vec<u16>>,
    /// Whether the connection takes another request behind them.
    pub stays_open: Option<bool>,
    pub cache: Option<String>,
    pub body: Option<String>,
    pub length: Option<usize>,
    /// At most so many bytes of body.
    pub at_most: Option<usize>,
    /// The body came to the end that its head promised; `false`: it did not, or
    /// the failure came first and is the answer.
    #[serde(default = "yes")]
    pub whole: bool,
    /// Headers that must be there with this value; an empty one must be absent.
    #[serde(default)]
    pub sees: BTreeMap<String, String>,
    /// Fields of its line in the access log.
    #[serde(default)]
    pub logged: BTreeMap<String, String>,

    /// How many refusals of each reason the step added.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
    /// How many failed pulls of each reason the step added.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// GET requests to the origin so far, by path suffix.
    #[serde(default)]
    pub pulls: BTreeMap<String, usize>,
    /// Requests to the origin so far, of any method.
    pub requests: Option<usize>,
    /// Bytes of bodies that the origin has sent so far.
    pub pulled: Option<u64>,
    /// Of the last request to the origin: its target.
    pub asked: Option<String>,
    /// Of the last request to the origin: headers, as in `sees`.
    #[serde(default)]
    pub told: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultStep {
    pub path: String,
    pub times: Option<u64>,
    pub fault: Fault,
}

fn get_method() -> String {
    "GET".into()
}

const fn yes() -> bool {
    true
}

const fn once() -> usize {
    1
}

const fn ok() -> u16 {
    200
}
