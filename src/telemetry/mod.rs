//! What the operator sees: metrics and the logs.

pub mod access_log;
pub mod cmcd;
pub mod errors;
pub mod log_line;
pub mod metrics;
pub mod node_log;
pub mod origins;
pub mod spread;
pub mod syslog;
pub mod top;
pub mod totals;
mod zone_counters;

/// How the cache took part in a response: the `CDN-Cache` header, the first
/// field of the log and a metric label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheStatus {
    Hit,
    /// Riders of a pull too.
    Miss,
    /// Served because the origin failed.
    Stale,
    /// Served stale while it is refreshed.
    Updating,
    /// The origin said 304.
    Revalidated,
    /// Had been stored, and was fetched anew.
    Expired,
    /// Not stored by rule, method or budget.
    Bypass,
    /// Refused before lookup.
    #[default]
    None,
}

impl CacheStatus {
    pub const ALL: [CacheStatus; 8] = [
        CacheStatus::Hit,
        CacheStatus::Miss,
        CacheStatus::Stale,
        CacheStatus::Updating,
        CacheStatus::Revalidated,
        CacheStatus::Expired,
        CacheStatus::Bypass,
        CacheStatus::None,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            CacheStatus::Hit => "HIT",
            CacheStatus::Miss => "MISS",
            CacheStatus::Stale => "STALE",
            CacheStatus::Updating => "UPDATING",
            CacheStatus::Revalidated => "REVALIDATED",
            CacheStatus::Expired => "EXPIRED",
            CacheStatus::Bypass => "BYPASS",
            CacheStatus::None => "-",
        }
    }

    /// Answered from memory without waiting for the origin.
    pub const fn is_hit(self) -> bool {
        matches!(
            self,
            CacheStatus::Hit | CacheStatus::Stale | CacheStatus::Updating
        )
    }
}
