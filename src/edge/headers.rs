//! Pure: the headers that change with each response.

use std::time::Duration;

use http::header::{AGE, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;

use crate::cache::head::{CDN_PULL_ZONE, insert};
use crate::telemetry::CacheStatus;
use crate::token::Country;
use crate::zone::Zone;

const CDN_CACHE: HeaderName = HeaderName::from_static("cdn-cache");
const CDN_REQUEST_ID: HeaderName = HeaderName::from_static("cdn-requestid");
const CDN_STATUS: HeaderName = HeaderName::from_static("cdn-status");
const CDN_COUNTRY: HeaderName = HeaderName::from_static("cdn-requestcountrycode");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a response is stamped with.
pub struct Stamp<'a> {
    pub zone: Option<&'a Zone>,
    pub cache: CacheStatus,
    pub request_id: &'a str,
    pub country: Option<Country>,
    pub age: Option<Duration>,
    /// The value of Cache-Status behind the node's name (RFC 9211).
    pub detail: String,
}

pub fn stamp(head: &mut ResponseHeader, status: u16, stamp: &Stamp<'_>) {
    insert(
        head,
        CDN_CACHE,
        HeaderValue::from_static(stamp.cache.name()),
    );
    insert(head, CDN_STATUS, HeaderValue::from(status));
    if let Ok(id) = HeaderValue::from_str(stamp.request_id) {
        insert(head, CDN_REQUEST_ID, id);
    }
    if let Some(zone) = stamp.zone {
        insert(head, CDN_PULL_ZONE, HeaderValue::from(zone.id));
    }
    if let Some(age) = stamp.age {
        insert(head, AGE, HeaderValue::from(age.as_secs()));
    }
    if let Some(country) = stamp
        .country
        .and_then(|code| HeaderValue::from_bytes(&code).ok())
    {
        insert(head, CDN_COUNTRY, country);
    }
    if !stamp.detail.is_empty()
        && let Ok(value) = HeaderValue::from_str(&format!("warren; {}", stamp.detail))
    {
        insert(head, CACHE_STATUS, value);
    }
}
