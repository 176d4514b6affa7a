//! What an origin is told of a viewer's URLs: the page that he comes from, and
//! whatever else a header names.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, REFERER};

use super::request::Request;
use super::shared::Node;
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
    let anew = |name: &HeaderName| {
        let mut is_changed = false;
        let values = upstream.headers.get_all(name).iter();
        let values = values.filter_map(|value| match told(name, value, own) {
            Told::AsItIs => Some(value.clone()),
            Told::Other(other) => {
                is_changed = true;
                Some(other)
            }
            Told::Nothing => {
                is_changed = true;
                None
            }
        });
        let values: Vec<HeaderValue> = values.collect();
        is_changed.then(|| (name.clone(), values))
    };
    let changed: Vec<_> = upstream.headers.keys().filter_map(anew).collect();
    for (name, values) in changed {
        upstream.remove_header(&name);
        for value in values {
            upstream.append_header(name.clone(), value)?;
        }
    }
    Ok(())
}

enum Told {
    AsItIs,
    Other(HeaderValue),
    Nothing,
}

/// What the origin asks for by name, and what cuts a body into its parts.
fn is_its_own(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, CONTENT_TYPE].contains(name)
}

fn told(name: &HeaderName, value: &HeaderValue, own: impl Fn(&str) -> bool) -> Told {
    if is_its_own(name) {
        return Told::AsItIs;
    }
    let text = match value.to_str() {
        Ok(text) => Cow::Borrowed(text),
        // A URL is ASCII (RFC 3986 §2).
        Err(_) if *name == REFERER => return Told::Nothing,
        // Each byte a character, and back.
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    };
    let other = match *name == REFERER {
        true => referer_for_origin(&text, own),
        false => redact(&text),
    };
    let Cow::Owned(other) = other else {
        return Told::AsItIs;
    };
    let bytes = other.chars().filter_map(|it| u8::try_from(it).ok());
    match HeaderValue::from_bytes(&bytes.collect::<Vec<u8>>()) {
        Ok(other) if other == value => Told::AsItIs,
        Ok(other) => Told::Other(other),
        Err(_) => Told::Nothing,
    }
}

/// A zone of all other names has those under which it is asked.
fn is_own(node: &Node, asked: Option<&str>, host: &str) -> bool {
    let asked = asked.is_some_and(|asked| host_of(asked).eq_ignore_ascii_case(host_of(host)));
    asked || node.sites.load().names(host)
}
