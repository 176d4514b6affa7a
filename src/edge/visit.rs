//! A request that was let in.

use std::time::Duration;

use super::headers::{Detail, Stamp};
use super::request::Request;
use super::shared::Node;
use super::verify::{Admitted, Visitor};
use crate::telemetry::CacheStatus;

/// A request that was let in, with everything that answering it needs.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    pub node: &'a Node,
    pub request: &'a Request<'a>,
    pub visitor: &'a Visitor<'a>,
    pub admitted: &'a Admitted<'a>,
    pub request_id: &'a str,
}

impl<'a> Visit<'a> {
    pub fn stamp(
        &self,
        cache: CacheStatus,
        age: Option<Duration>,
        detail: Detail<'a>,
    ) -> Stamp<'a> {
        Stamp {
            zone: Some(self.admitted.zone),
            cache,
            request_id: self.request_id,
            country: self.visitor.country,
            age,
            detail,
            said: &self.visitor.said,
            answer: &self.admitted.granted.answer,
        }
    }
}
