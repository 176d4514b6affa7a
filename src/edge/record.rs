//! Pure: what became of a request, as it is noted along the road.

use std::sync::Arc;
use std::time::Duration;

use super::refused::Refused;
use super::verify::Used;
use crate::cache::lifetime::Bypass;
use crate::hls::Kind;
use crate::telemetry::CacheStatus;

/// What became of a request, noted along the road.
#[derive(Debug, Clone)]
pub struct Record {
    pub status: u16,
    pub cache: CacheStatus,
    pub kind: Kind,
    pub bytes: u64,
    pub first_byte: Option<Duration>,
    /// Why it was refused, not stored, failed or cut.
    pub reason: Option<&'static str>,
    pub bypass: Option<Bypass>,
    pub refused: bool,
    pub token: Option<Used>,
    pub fingerprint: Option<Arc<str>>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            status: 0,
            cache: CacheStatus::None,
            kind: Kind::Other,
            bytes: 0,
            first_byte: None,
            reason: None,
            bypass: None,
            refused: false,
            token: None,
            fingerprint: None,
        }
    }
}

impl Record {
    pub fn refuse(&mut self, refused: Refused) {
        self.reason = Some(refused.name());
        self.refused = true;
    }
}
