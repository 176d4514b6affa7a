//! A stored object. A hit clones an `Arc` of it and nothing else.

use std::sync::Arc;

use pingora::http::ResponseHeader;

use super::body::Body;
use super::budget::Permit;
use super::cache_control::CacheControl;
use super::head::HeadLines;
use super::lifetime::{Bypass, Freshness};
use crate::hls::{Kind, Pace};
use crate::origin::Validators;

/// Bytes that an entry costs besides its body: the object, its head in both
/// forms, its key and moka's own records.
pub const ENTRY_OVERHEAD: usize = 2048;

/// One answer of the origin, whole.
pub struct Object {
    pub status: u16,
    /// Built once; only what changes with each response is added.
    pub head: ResponseHeader,
    /// The same as text.
    pub lines: HeadLines,
    pub body: Body,
    pub kind: Kind,
    pub pace: Option<Pace>,
    pub freshness: Freshness,
    pub validators: Validators,
    /// What the origin allowed, for the next 304 that says nothing new.
    pub control: CacheControl,
    /// Tells the key in Cache-Status and logs.
    pub fingerprint: Arc<str>,
    /// `Some`: shared with those who waited for it, and not stored.
    pub bypass: Option<Bypass>,
    /// The budget's share for head and key.
    pub permit: Option<Permit>,
}

impl Object {
    /// Bytes for moka's scales.
    pub fn weight(&self) -> u32 {
        u32::try_from(self.body.len())
            .unwrap_or(u32::MAX)
            .saturating_add(ENTRY_OVERHEAD as u32)
    }

    /// Whether this says that there is no such object.
    pub fn is_negative(&self) -> bool {
        self.status >= 400
    }
}
