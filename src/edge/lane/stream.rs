//! One request over HTTP/2, on the same road as over HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::http::{RequestHeader, Version};
use pingora::protocols::http::v2::server::HttpSession;

use crate::edge::account::account;
use crate::edge::record::Record;
use crate::edge::request::{Entry, Request, join_crumbs};
use crate::edge::respond;
use crate::edge::road::{Road, Step};
use crate::edge::serve::Cut;
use crate::edge::shared::{Active, Node, new_request_id};
use crate::edge::verify::Visitor;
use crate::edge::waits::{Lost, refusal};
use crate::edge::wire::{Stream, Wire};
use crate::standing::Queue;

/// A connection, as its streams see it.
pub struct Connection {
    pub node: Arc<Node>,
    pub peer: SocketAddr,
    pub https: bool,
    pub socket: i32,
    pub queue: Queue,
}

impl Connection {
    /// Walks the road of a request to its end; gives it back where it goes on
    /// through Pingora's proxy, which walks it once more.
    pub async fn serve(
        &self,
        mut session: Box<HttpSession>,
        extra: bool,
    ) -> Option<Box<HttpSession>> {
        let node = &*self.node;
        let _active = Active::new(&*node.active);
        // The session needs no head any more, and what is read has one owner.
        let mut header = match bare() {
            Ok(bare) => std::mem::replace(session.req_header_mut(), bare),
            Err(_) => return None,
        };
        join_crumbs(&mut header);
        let entry = Entry {
            socket: Some(self.socket),
            ..Entry::now(&node.clock, self.peer, self.https)
        };
        let request = Request::of_header(&header, None, entry);
        let visitor = Visitor::of(node, &request);
        let request_id = new_request_id();
        let road = Road {
            node,
            request: &request,
            visitor: &visitor,
            request_id: &request_id,
        };
        let mut record = Record::default();
        let stream = Stream::new(&mut session, &self.queue, extra);
        match road.walk(Wire::Stream(stream), &mut record).await {
            Step::Done => drop(session.finish()),
            Step::Cut(cut) => cut_off(&mut session, cut, &road, &mut record),
            Step::Through(_) => {
                *session.req_header_mut() = header;
                return Some(session);
            }
        }
        account(node, &visitor, &request, &request_id, &record);
        None
    }
}

/// Ends a stream whose answer did not come to its end. One that had not begun
/// is refused, without a body that would have to be waited for.
fn cut_off(session: &mut HttpSession, cut: Cut, road: &Road<'_>, record: &mut Record) {
    record.reason = Some(cut.name());
    if let Cut::Viewer(Lost::Ended(needed)) = cut
        && record.first_byte.is_none()
    {
        let refused = refusal(needed);
        record.refuse(refused);
        let mut response = respond::refused(refused, road.visitor, road.request_id);
        respond::without_body(&mut response);
        record.status = response.head.status.as_u16();
        let _ = session.write_response_header(Box::new(response.head), true);
        return;
    }
    session.shutdown();
}

/// What stands in for a head that was taken.
fn bare() -> pingora::Result<RequestHeader> {
    let mut bare = RequestHeader::build_no_case("GET", b"/", Some(0))?;
    bare.set_version(Version::HTTP_2);
    Ok(bare)
}
