//! The first look at a request: let in or not, in memory or not. What needs no
//! waiting is answered at once; of the rest nothing is looked at twice.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;

use super::reply::Reply;
use crate::cache::head::{push_line, push_name};
use crate::edge::headers::{size_lines, stamp_lines};
use crate::edge::lookup::{Hit, Known, Looked, Query};
use crate::edge::record::Record;
use crate::edge::refused::Refused;
use crate::edge::represent::{form, piece, wanted};
use crate::edge::request::Request;
use crate::edge::respond;
use crate::edge::shared::{Active, Node, drawn, new_request_id};
use crate::edge::verify::{Granted, Visitor};
use crate::edge::visit::Visit;
use crate::edge::waits::Source;
use crate::edge::wire::{push_end, push_head, push_status};
use crate::origin::Failure;

/// Heads are about 700 bytes.
const HEAD_CAPACITY: usize = 1024;

/// What it has come to.
pub(super) enum First<'l> {
    /// A hit or a refusal.
    Answer(Reply<'l>),
    /// Pulls, passing answers, and what is sent at a pace.
    Walk(Walk<'l>),
}

/// A request that goes on, with what was found.
pub(super) struct Walk<'l> {
    pub(super) granted: Granted,
    /// `None`: nothing was looked up yet.
    pub(super) looked: Option<(Known, Looked)>,
    pub(super) request_id: String,
    pub(super) active: Active<&'l AtomicUsize>,
}

/// Looks at a GET or HEAD.
pub(super) fn look<'l>(
    node: &'l Node,
    request: &Request<'_>,
    visitor: &Visitor<'_>,
    close: bool,
) -> First<'l> {
    let mut walk = Walk {
        granted: Granted::default(),
        looked: None,
        request_id: new_request_id(),
        active: Active::new(&*node.active),
    };
    let admitted = match visitor.admit(node, request) {
        Ok(admitted) => admitted,
        Err(refused) => return refusal(node, request, visitor, refused, close, walk),
    };
    let granted = &admitted.granted;
    if granted.limit.is_some() || !granted.answer.is_empty() {
        walk.granted = admitted.granted;
        return First::Walk(walk);
    }
    let visit = Visit {
        node,
        request,
        visitor,
        admitted: &admitted,
        request_id: &walk.request_id,
    };
    let query = Query::of(visit);
    let looked = query.look();
    if let Looked::Good(hit) = &looked
        && let Some((head, body, record)) = whole(visit, hit, close)
    {
        let source = Source::Object(hit.object.clone());
        return First::Answer(Reply::new(
            request,
            (head, body),
            source,
            record,
            close,
            (walk.request_id, walk.active),
        ));
    }
    walk.looked = Some((query.into_known(), looked));
    walk.granted = admitted.granted;
    First::Walk(walk)
}

/// `None` where there is more to do than to send a stored object.
fn whole(visit: Visit<'_>, hit: &Hit, close: bool) -> Option<(Vec<u8>, Vec<Bytes>, Record)> {
    if hit.object.status != 200 {
        return None;
    }
    let request = visit.request;
    let object = form(request, &hit.object);
    let (status, range) = piece(&wanted(request, object), object)?;
    hit.object.hits.count(drawn(visit.request_id));
    let whole = object.body.len();
    let came = request.entry.came;
    let stamp = visit.stamp(
        hit.status,
        Some(hit.object.freshness.age(came)),
        hit.detail(came),
    );
    let mut head = Vec::with_capacity(HEAD_CAPACITY);
    push_status(&mut head, status);
    head.extend_from_slice(object.lines.for_status(status));
    for (name, value) in size_lines(status, &range, whole).chain(stamp_lines(status, &stamp)) {
        push_name(&mut head, name);
        value.push(&mut head);
        head.extend_from_slice(b"\r\n");
    }
    for (name, value) in stamp.said {
        push_line(&mut head, name, value.as_bytes());
    }
    let now = (!object.lines.has_date).then_some(request.entry.came_at);
    push_end(&mut head, now, close);
    let body: Vec<Bytes> = match request.is_head() {
        true => Vec::new(),
        false => object.body.slices(range).collect(),
    };
    let now = visit.node.clock.monotonic();
    let record = Record {
        status,
        cache: hit.status,
        kind: object.kind,
        first_byte: Some(now.saturating_duration_since(came)),
        reason: hit.failure.map(Failure::name),
        token: visit.admitted.granted.token,
        fingerprint: Some(hit.object.fingerprint.clone()),
        ..Record::default()
    };
    Some((head, body, record))
}

fn refusal<'l>(
    node: &Node,
    request: &Request<'_>,
    visitor: &Visitor<'_>,
    refused: Refused,
    close: bool,
    walk: Walk<'l>,
) -> First<'l> {
    let response = respond::refused(refused, visitor, &walk.request_id);
    let entry = request.entry;
    let mut head = Vec::with_capacity(HEAD_CAPACITY);
    push_head(&mut head, &response.head, true, entry.came_at, close);
    let body = match request.is_head() || response.body.is_empty() {
        true => Vec::new(),
        false => vec![Bytes::from(response.body)],
    };
    let now = node.clock.monotonic();
    let mut record = Record {
        status: response.head.status.as_u16(),
        first_byte: Some(now.saturating_duration_since(entry.came)),
        ..Record::default()
    };
    record.refuse(refused);
    let mine = (walk.request_id, walk.active);
    let reply = Reply::new(request, (head, body), Source::Own, record, close, mine);
    First::Answer(reply)
}
