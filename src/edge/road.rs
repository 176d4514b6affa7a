//! The road of one request, whichever way it came in: verify, lookup, pull,
//! serve.

use super::headers::Stamp;
use super::lookup::{Known, Looked, Query};
use super::pacing::Pace;
use super::record::Record;
use super::refused::Refused;
use super::request::Request;
use super::respond::{self, Response};
use super::sender::Sender;
use super::serve::{Cut, Server, send_short};
use super::shared::Node;
use super::through::Through;
use super::verify::{Admitted, Visitor};
use super::visit::Visit;
use super::wire::Wire;

/// A request at the beginning of its road.
#[derive(Clone, Copy)]
pub struct Road<'a> {
    pub node: &'a Node,
    pub request: &'a Request<'a>,
    pub visitor: &'a Visitor<'a>,
    pub request_id: &'a str,
}

/// Where the road ends.
pub enum Step {
    Done,
    /// It goes on through Pingora's proxy.
    Through(Box<Through>),
    Cut(Cut),
}

impl From<Result<(), Cut>> for Step {
    fn from(result: Result<(), Cut>) -> Self {
        result.map_or_else(Step::Cut, |()| Step::Done)
    }
}

impl Road<'_> {
    /// Walks it to its end, and notes on the way what became of the request.
    pub async fn walk(&self, wire: Wire<'_>, record: &mut Record) -> Step {
        let admitted = match self.visitor.admit(self.node, self.request) {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse(refused, wire, record).await,
        };
        if let Some(rules) = admitted.preflight {
            let stamp = Stamp::bare(self.visitor, self.request_id);
            let response = respond::preflight(rules, admitted.zone.cache.methods, &stamp);
            return self.short(response, wire, record).await;
        }
        if self.request.reads() {
            return self.answer(&admitted, None, wire, record).await;
        }
        record.token = admitted.granted.token;
        let (limits, viewer) = (&self.node.limits, self.visitor.client_ip);
        let pass = limits.pass(viewer).ok_or(Refused::TooManyPasses);
        let pull = limits.pull(viewer, admitted.origin);
        let pull = pull.ok_or(Refused::TooManyPulls);
        match pass.and_then(|pass| Ok([pass, pull?])) {
            Ok(guests) => Step::Through(Box::new(Through::new(&self.visit(&admitted), guests))),
            Err(refused) => self.refuse(refused, wire, record).await,
        }
    }

    /// The rest of it, for a GET or HEAD that is let in. `looked`: what a first
    /// look has found.
    pub async fn answer(
        &self,
        admitted: &Admitted<'_>,
        looked: Option<(Known, Looked)>,
        wire: Wire<'_>,
        record: &mut Record,
    ) -> Step {
        record.token = admitted.granted.token;
        let visit = self.visit(admitted);
        let (query, looked) = match looked {
            Some((known, looked)) => (Query::known(visit, known), Some(looked)),
            None => (Query::of(visit), None),
        };
        let found = query.go_on(looked.unwrap_or_else(|| query.look()));
        record.kind = query.kind;
        let pace = Pace::new(
            admitted.granted.limit,
            self.node.listen.min_send_rate as u64,
        );
        let mut sender = Sender::new(wire, self.node, pace, self.request.entry);
        let server = Server {
            visit,
            query: &query,
            looks: 1,
        };
        let served = server.serve(found, &mut sender, record).await;
        sender.note(record);
        served.into()
    }

    const fn visit<'v>(&'v self, admitted: &'v Admitted<'v>) -> Visit<'v> {
        Visit {
            node: self.node,
            request: self.request,
            visitor: self.visitor,
            admitted,
            request_id: self.request_id,
        }
    }

    async fn refuse(&self, refused: Refused, wire: Wire<'_>, record: &mut Record) -> Step {
        record.refuse(refused);
        let mut response = respond::refused(refused, self.visitor, self.request_id);
        if matches!(refused, Refused::Head(_)) {
            respond::without_body(&mut response);
        }
        self.short(response, wire, record).await
    }

    async fn short(&self, response: Response, wire: Wire<'_>, record: &mut Record) -> Step {
        record.status = response.head.status.as_u16();
        let pace = Pace::new(None, self.node.listen.min_send_rate as u64);
        let mut sender = Sender::new(wire, self.node, pace, self.request.entry);
        let sent = send_short(response, self.request.is_head(), &mut sender).await;
        sender.note(record);
        sent.into()
    }
}
