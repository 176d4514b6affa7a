//! What an origin is told of a viewer's URLs: the page that he comes from, and
//! whatever else a header names.

use std::collections::HashSet;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, REFERER};

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
    let changed = |(name, value): (&HeaderName, &HeaderValue)| match told(name, value, own) {
        Told::AsItIs => None,
        Told::Other(_) | Told::Nothing => Some(name.clone()),
    };
    let names: HashSet<HeaderName> = upstream.headers.iter().filter_map(changed).collect();
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

/// What the origin asks for by name, and what cuts a body into its parts.
fn is_its_own(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, CONTENT_TYPE].contains(name)
}

fn told(name: &HeaderName, value: &HeaderValue, own: impl Fn(&str) -> bool) -> Told {
    if is_its_own(name) {
        return Told::AsItIs;
    }
    let bytes = value.as_bytes();
    let other = match value.to_str() {
        Ok(text) if *name == REFERER => referer_for_origin(text, own).into_owned().into_bytes(),
        // A URL is ASCII (RFC 3986 §2).
        Err(_) if *name == REFERER => return Told::Nothing,
        Ok(text) => redact(text).into_owned().into_bytes(),
        // Each byte a character, and back.
        Err(_) => {
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            let kept = redact(&text);
            kept.chars()
                .filter_map(|it| u8::try_from(it).ok())
                .collect()
        }
    };
    match HeaderValue::from_bytes(&other) {
        Ok(_) if other == bytes => Told::AsItIs,
        Ok(other) => Told::Other(other),
        Err(_) => Told::Nothing,
    }
}

/// A zone of all other names has those under which it is asked.
fn is_own(node: &Node, asked: Option<&str>, host: &str) -> bool {
    let asked = asked.is_some_and(|asked| host_of(asked).eq_ignore_ascii_case(host_of(host)));
    asked || node.sites.load().names(host)
}
