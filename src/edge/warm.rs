//! A pull that no viewer asked for, so that the first one finds a hit.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::Method;

use super::lookup::{Found, Query};
use super::refused::Refused;
use super::request::{Entry, Request};
use super::shared::{Node, Site, new_request_id};
use super::verify::{Admitted, Granted, Visitor};
use super::visit::Visit;
use crate::cache::lifetime::Bypass;
use crate::cache::object::Object;
use crate::origin::names_object;
use crate::pull::Arrival;
use crate::token::Target;

/// What became of it.
pub enum Warmed {
    /// It was there, and fresh.
    Already(Arc<Object>),
    Pulled(Arc<Object>),
    /// A name of docs/reference/origin.md, or why it is not stored.
    Failed(&'static str),
}

/// Pulls a target as a request without headers and token would, over TLS or not,
/// unless it is there: who rides this pull gets it as from any other.
pub async fn warm(node: &Node, site: &Arc<Site>, host: &str, target: &str, https: bool) -> Warmed {
    let Ok(parsed) = Target::parse_with(target, site.zone.empty_segments) else {
        return Warmed::Failed("bad_path");
    };
    if !names_object(&site.zone.origin.kind, &parsed.path) {
        return Warmed::Failed(Refused::NotAnObject.name());
    }
    // Our own address: that of no viewer.
    let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let entry = Entry::now(&node.clock, (nobody, 0).into(), https);
    let request = Request::of_lines(Method::GET, target, &[], entry);
    let visitor = Visitor {
        host: host.into(),
        target: target.into(),
        https,
        site: Some(Arc::clone(site)),
        ..Visitor::of_nobody(nobody)
    };
    let admitted = Admitted::to(site, parsed, Granted::default());
    let request_id = new_request_id();
    let query = Query::of(Visit {
        node,
        request: &request,
        visitor: &visitor,
        admitted: &admitted,
        request_id: &request_id,
    });
    match query.find() {
        Found::Hit(hit) => Warmed::Already(hit.object),
        Found::Riding { mut rider, .. } => landed(rider.end().await),
        Found::Failed { failure, .. } => Warmed::Failed(failure.name()),
        Found::Pass { reason, .. } => Warmed::Failed(reason.name()),
        Found::Sliced(_) => Warmed::Failed(Bypass::TooLarge.name()),
        Found::Refused(refused) => Warmed::Failed(refused.name()),
    }
}

fn landed(arrival: Arrival) -> Warmed {
    match arrival {
        Arrival::Landed(landing) => match landing.object.bypass {
            Some(reason) => Warmed::Failed(reason.name()),
            None if landing.object.is_negative() => Warmed::Failed("missing"),
            None => Warmed::Pulled(landing.object),
        },
        Arrival::Handed(reason, _) => Warmed::Failed(reason.name()),
        Arrival::Failed(failure) => Warmed::Failed(failure.name()),
        // For requests with headers that this one has not.
        Arrival::Parted | Arrival::Streaming(_) => Warmed::Failed("vary"),
    }
}
