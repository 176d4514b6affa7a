//! Requests with unsafe methods, in zones that take them: Pingora's proxy
//! carries them to the origin, signed by nobody and stored nowhere.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::Node;
use super::forward::is_of_an_edge;
use super::headers::{self, Stamp};
use super::invalidate::Changing;
use super::lookup::Visit;
use super::referrer::through_without_tokens;
use super::verify::{CDN_LOOP_COUNT, Visitor};
use crate::cache::head::{CDN_PULL_ZONE, add_cors, insert};
use crate::origin::{Failure, Origin};
use crate::path::encode;
use crate::zone::{CachePolicy, Zone};

/// Where such a request goes, and as what.
pub struct Through {
    zone: Arc<Zone>,
    origin: Arc<Origin>,
    /// Of the endpoint that was chosen, and its number.
    host: String,
    endpoint: Option<usize>,
    path_and_query: String,
    loop_count: u32,
    changing: Option<Changing>,
    /// Why there is no endpoint.
    failed: Option<Failure>,
}

impl Through {
    pub fn new(visit: &Visit<'_>) -> Self {
        let admitted = visit.admitted;
        let path = encode(admitted.target.path.as_str());
        let query = admitted
            .target
            .query
            .filter(|_| admitted.zone.token.is_none());
        let path_and_query = match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        Self {
            zone: Arc::clone(admitted.zone),
            origin: Arc::clone(admitted.origin),
            host: String::new(),
            endpoint: None,
            path_and_query,
            loop_count: admitted.loop_count,
            changing: Changing::of(visit),
            failed: None,
        }
    }

    /// The origin has answered: after success what is stored may be wrong.
    pub fn answered(&self, node: &Node, answer: &ResponseHeader) {
        if let Some(index) = self.endpoint {
            self.origin.report(index, Ok(answer.status.as_u16()));
        }
        if let Some(changing) = &self.changing
            && (200..400).contains(&answer.status.as_u16())
        {
            changing.done(node, &self.zone, &answer.headers);
        }
    }
}

/// Chooses the endpoint.
pub async fn peer(through: Option<&mut Through>) -> Result<Box<HttpPeer>> {
    let through = through.ok_or_else(|| Error::new(ErrorType::InternalError))?;
    match through.origin.peer_of_proxy().await {
        Ok((peer, host, index)) => {
            (through.host, through.endpoint) = (host, Some(index));
            Ok(Box::new(peer))
        }
        Err(failure) => {
            through.failed = Some(failure);
            Error::e_explain(ErrorType::ConnectError, failure.name())
        }
    }
}

pub fn rewrite(
    node: &Node,
    through: Option<&Through>,
    visitor: Option<&Visitor<'_>>,
    request_id: &str,
    session: &Session,
    upstream: &mut RequestHeader,
) -> Result<()> {
    let (Some(through), Some(visitor)) = (through, visitor) else {
        return Ok(());
    };
    upstream.set_raw_path(through.path_and_query.as_bytes())?;
    if through.zone.cache.policy == CachePolicy::Hls {
        upstream.remove_header(&AUTHORIZATION);
        upstream.remove_header(&COOKIE);
    }
    let theirs: Vec<HeaderName> = upstream
        .headers
        .keys()
        .filter(|name| is_of_an_edge(name))
        .cloned()
        .collect();
    for name in theirs {
        upstream.remove_header(&name);
    }
    through_without_tokens(node, &visitor.host, upstream)?;
    upstream.insert_header(HOST, through.host.as_str())?;
    let https = session
        .digest()
        .is_some_and(|digest| digest.ssl_digest.is_some());
    upstream.insert_header("x-forwarded-for", visitor.client_ip.to_string())?;
    upstream.insert_header("x-forwarded-proto", if https { "https" } else { "http" })?;
    upstream.insert_header("via", "1.1 warren")?;
    upstream.insert_header("cdn-requestid", request_id)?;
    upstream.insert_header("cdn-pullzoneid", through.zone.id.to_string())?;
    upstream.insert_header(CDN_LOOP_COUNT, (through.loop_count + 1).to_string())?;
    for (name, value) in &through.origin.settings().headers {
        upstream.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Gives an origin's answer the headers of every other response.
pub fn dress(response: &mut ResponseHeader, status: u16, stamp: &Stamp<'_>) {
    if stamp.zone.is_some_and(|zone| zone.cors) {
        add_cors(response);
    }
    insert(
        response,
        http::header::SERVER,
        HeaderValue::from_static("warren"),
    );
    if let Some(zone) = stamp.zone {
        insert(response, CDN_PULL_ZONE, HeaderValue::from(zone.id));
    }
    headers::stamp(response, status, stamp);
}

impl Through {
    /// What an error of Pingora's is in our names; an endpoint that gave no
    /// answer is reported.
    pub fn fail(&self, error: &Error) -> Failure {
        let failure = self.failed.unwrap_or_else(|| name_of(error));
        if let Some(index) = self.endpoint
            && failure != Failure::BadResponse
        {
            self.origin.report(index, Err(failure));
        }
        failure
    }
}

fn name_of(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Failure::ConnectTimeout,
        ErrorType::ConnectError | ErrorType::ConnectRefused | ErrorType::ConnectNoRoute => {
            Failure::ConnectFailed
        }
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::FirstByteTimeout,
        _ => Failure::BadResponse,
    }
}
