//! What the origin has seen: requests, connections, peers that left.

use bytes::Bytes;
use serde::{Serialize, Serializer};

/// One request as it arrived, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct SeenRequest {
    /// Counts from 1 over all connections.
    pub id: u64,
    /// Counts from 1 in the order of acceptance.
    pub connection: u64,
    pub method: String,
    /// The raw request target, query included.
    pub target: String,
    /// In the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    #[serde(serialize_with = "as_text")]
    pub body: Bytes,
    /// 0 until the answer's head is about to be sent, and for ever when no head is.
    pub status: u16,
    /// A signature was sent and it held.
    pub authorised: bool,
    /// Body bytes handed to the socket, without chunk framing.
    pub sent: u64,
}

impl SeenRequest {
    /// The first value of `name`, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of `name` as one list (RFC 9110 §5.3); `None` when it was not sent.
    pub fn header_list(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The raw path, from its first slash up to the query.
    pub fn path(&self) -> &str {
        self.split().0
    }

    /// The raw query without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.split().1
    }

    /// Whether the path, or the whole target, ends with `suffix`; an empty suffix or `*` is every
    /// request.
    pub fn ends_with(&self, suffix: &str) -> bool {
        suffix == "*" || self.path().ends_with(suffix) || self.target.ends_with(suffix)
    }

    fn split(&self) -> (&str, Option<&str>) {
        let origin_form = origin_form(&self.target);
        origin_form
            .split_once('?')
            .map_or((origin_form, None), |(path, query)| (path, Some(query)))
    }
}

/// Cuts scheme and authority from an absolute-form target (RFC 9112 §3.2.2).
fn origin_form(target: &str) -> &str {
    let Some((_, rest)) = target
        .split_once("://")
        .filter(|_| !target.starts_with('/'))
    else {
        return target;
    };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

fn as_text<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

/// The origin's diary.
#[derive(Default)]
pub(super) struct Record {
    pub requests: Vec<SeenRequest>,
    pub last_request: u64,
    pub connections: u64,
    pub open_connections: u64,
    pub aborted: u64,
}

impl Record {
    /// Applies `change` to a request, unless it has been cleared meanwhile.
    pub fn amend(&mut self, id: u64, change: impl FnOnce(&mut SeenRequest)) {
        if let Some(request) = self
            .requests
            .iter_mut()
            .rev()
            .find(|request| request.id == id)
        {
            change(request);
        }
    }
}
