//! What an origin is told of the page that a viewer comes from.

use http::header::{HeaderName, HeaderValue, REFERER};

use super::Node;
use super::request::Request;
use crate::token::carrier::{redact, referer_for_origin};
use crate::zone::host_of;

/// Takes tokens out of what goes to an origin: a page of ours may be a signed
/// URL, of which it learns the host alone.
pub fn without_tokens(
    node: &Node,
    request: &Request<'_>,
    entries: &mut Vec<(HeaderName, HeaderValue)>,
) {
    let own = |host: &str| is_own(node, request.host(), host);
    entries.retain_mut(|(name, value)| match told(name, value, own) {
        Told::AsItIs => true,
        Told::Other(other) => {
            *value = other;
            true
        }
        Told::Nothing => false,
    });
}

/// The same of a request that passes through. `host`: that it came for.
pub fn through_without_tokens(
    node: &Node,
    host: &str,
    upstream: &mut pingora::http::RequestHeader,
) -> pingora::Result<()> {
    let own = |it: &str| is_own(node, Some(host), it);
    let names: Vec<HeaderName> = upstream
        .headers
        .keys()
        .filter(|it| tells(it))
        .cloned()
        .collect();
    for name in names {
        let values: Vec<HeaderValue> = upstream.headers.get_all(&name).iter().cloned().collect();
        upstream.remove_header(&name);
        for value in values {
            match told(&name, &value, own) {
                Told::AsItIs => upstream.append_header(name.clone(), value)?,
                Told::Other(other) => upstream.append_header(name.clone(), other)?,
                Told::Nothing => false,
            };
        }
    }
    Ok(())
}

enum Told {
    AsItIs,
    Other(HeaderValue),
    Nothing,
}

/// Whether a header names a URL by itself: the page, or a player's next object.
fn tells(name: &HeaderName) -> bool {
    *name == REFERER || name.as_str().starts_with("cmcd-")
}

fn told(name: &HeaderName, value: &HeaderValue, own: impl Fn(&str) -> bool) -> Told {
    if !tells(name) {
        return Told::AsItIs;
    }
    // A URL is ASCII (RFC 3986 §2).
    let Ok(text) = value.to_str() else {
        return Told::Nothing;
    };
    let other = match *name == REFERER {
        true => referer_for_origin(text, own),
        false => redact(text),
    };
    match HeaderValue::from_str(&other) {
        Ok(_) if other == text => Told::AsItIs,
        Ok(other) => Told::Other(other),
        Err(_) => Told::Nothing,
    }
}

/// A zone of all other names has those under which it is asked.
fn is_own(node: &Node, asked: Option<&str>, host: &str) -> bool {
    let asked = asked.is_some_and(|asked| host_of(asked).eq_ignore_ascii_case(host_of(host)));
    asked || node.sites.load().names(host)
}
