//! Pure: makes signed URLs, and refuses to make one that the edge would refuse.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::claim::join_parameters;
use super::message::{Message, Token};
use super::{Country, Evidence, Key, Policy, Refusal, Scheme, Target};
use crate::path::{
    EmptySegments, decode_escape, encode_component, holds_an_escape, remove_dot_segments,
};

/// Where the token goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// `/path?token=…`
    #[default]
    Query,
    /// `/bcdn_token=…/path`: every HLS player keeps it for the segments.
    Path,
}

/// What to sign besides URL and expiry.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub form: Form,
    pub token_path: Option<String>,
    pub ip: Option<IpAddr>,
    pub countries: Option<String>,
    pub countries_blocked: Option<String>,
    /// In units of 1,000 bytes per second.
    pub limit: Option<u64>,
    pub ignore_params: bool,
    /// As the zone says.
    pub empty_segments: EmptySegments,
    /// Sign even what the edge would refuse.
    pub force: bool,
}

/// Why a URL was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("not an absolute URL or a path: {0:?}")]
    NotAUrl(String),
    #[error("the query parameter {0:?} stands twice; no verifier agrees on which one counts")]
    Duplicate(String),
    #[error("{0:?} has a bad percent escape or is not UTF-8")]
    BadEscape(String),
    #[error(
        "the path holds ten or more digits followed by \"name=\" ({0:?}): a token for it also fits a shorter \
         path with that expiry and parameter. Rename the object, or use --force if no user chooses such names"
    )]
    MovableBoundary(String),
    #[error(
        "{0:?} holds \"%\" and two digits once it is decoded: a token for it may fit an object whose encoded \
         name it is. Rename the object, or use --force if no user chooses such names"
    )]
    HoldsEscape(String),
    #[error("the edge would refuse this URL as {name} ({detail}); --force signs it all the same")]
    EdgeRefuses { name: &'static str, detail: String },
}

/// Signs `url` (absolute, or a path) until `expires` (Unix seconds).
pub fn sign(
    url: &str,
    key: &Key,
    scheme: Scheme,
    expires: u64,
    options: &Options,
) -> Result<String, SignError> {
    let parts = Parts::split(url)?;
    let parameters = parameters(&parts, options)?;
    let expires = expires.to_string();
    let params = match scheme {
        Scheme::Md5 => String::new(),
        _ => join_parameters(parameters.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
    };
    let signed_path = options.token_path.as_deref().unwrap_or(&parts.decoded_path);
    if !options.force
        && let Some(found) = movable_boundary(signed_path)
    {
        return Err(SignError::MovableBoundary(found.to_owned()));
    }
    let message = Message {
        path: signed_path,
        expires: &expires,
        ip: options.ip,
        params: &params,
    };
    let token = Token::make(scheme, key, message).text();
    let target = emit(
        &parts.emitted_path,
        &token,
        &parameters,
        &expires,
        options.form,
    );
    if !options.force {
        check(&target, key, scheme, &expires, options)?;
        if holds_an_escape(signed_path) {
            return Err(SignError::HoldsEscape(signed_path.to_owned()));
        }
    }
    Ok(format!("{}{target}", parts.base))
}

/// An input URL: what stands before the path, the path twice, and the query.
struct Parts<'a> {
    base: &'a str,
    decoded_path: String,
    emitted_path: String,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn split(url: &'a str) -> Result<Self, SignError> {
        let url = url.split('#').next().unwrap_or_default();
        // A path may hold `://`; a scheme holds no slash.
        let path_start = match url.split_once("://") {
            _ if url.starts_with('/') => 0,
            Some((scheme, rest)) => scheme.len() + 3 + rest.find(['/', '?']).unwrap_or(rest.len()),
            None => return Err(SignError::NotAUrl(url.to_owned())),
        };
        let (base, target) = url.split_at(path_start);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = remove_dot_segments(if path.is_empty() { "/" } else { path });
        let emitted_path = encode_missing(&path);
        let decoded_path = decode(&path, false)?.into_owned();
        Ok(Self {
            base,
            decoded_path,
            emitted_path,
            query,
        })
    }
}

/// The parameters that are both signed and emitted, sorted by name.
fn parameters(parts: &Parts<'_>, options: &Options) -> Result<BTreeMap<String, String>, SignError> {
    let mut all = BTreeMap::new();
    if options.ignore_params {
        all.insert("token_ignore_params".to_owned(), "true".to_owned());
    } else {
        for piece in parts.query.split('&').filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let (name, value) = (
                decode(name, true)?.into_owned(),
                decode(value, true)?.into_owned(),
            );
            if all
                .keys()
                .any(|known: &String| known.eq_ignore_ascii_case(&name))
            {
                return Err(SignError::Duplicate(name));
            }
            all.insert(name, value);
        }
        let limit = options.limit.map(|limit| limit.to_string());
        let own = [
            ("limit", limit.as_ref()),
            ("token_countries", options.countries.as_ref()),
            (
                "token_countries_blocked",
                options.countries_blocked.as_ref(),
            ),
        ];
        for (name, value) in own {
            if let Some(value) = value {
                all.insert(name.to_owned(), value.clone());
            }
        }
    }
    if let Some(token_path) = &options.token_path {
        all.insert("token_path".to_owned(), token_path.clone());
    }
    Ok(all)
}

fn emit(
    path: &str,
    token: &str,
    parameters: &BTreeMap<String, String>,
    expires: &str,
    form: Form,
) -> String {
    let pairs = parameters
        .iter()
        .map(|(k, v)| format!("&{}={}", encode_component(k), encode_component(v)));
    let middle: String = pairs.collect();
    match form {
        Form::Query => format!("{path}?token={token}{middle}&expires={expires}"),
        Form::Path => format!("/bcdn_token={token}{middle}&expires={expires}{path}"),
    }
}

/// Asks the edge's own code whether it would let the URL in, a minute before
/// it expires, from the signed address and an allowed country.
fn check(
    target: &str,
    key: &Key,
    scheme: Scheme,
    expires: &str,
    options: &Options,
) -> Result<(), SignError> {
    let refuses = |refusal: Refusal| SignError::EdgeRefuses {
        name: refusal.name(),
        detail: refusal.detail(),
    };
    let target = Target::parse_with(target, options.empty_segments)
        .map_err(|bad| refuses(Refusal::BadPath(bad)))?;
    let mut policy = Policy::new(vec![key.clone()]);
    policy.schemes = vec![scheme];
    let evidence = Evidence {
        now: expires
            .parse::<u64>()
            .unwrap_or_default()
            .saturating_sub(60),
        client_ip: options.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        country: welcome_country(options),
        revoked: None,
    };
    policy
        .verify(&target, &evidence)
        .map(|_| ())
        .map_err(refuses)
}

fn welcome_country(options: &Options) -> Option<Country> {
    let codes = |list: &Option<String>| -> Vec<Country> {
        let list = list.as_deref().unwrap_or_default().split(',');
        list.filter_map(|code| code.trim().to_ascii_uppercase().as_bytes().try_into().ok())
            .collect()
    };
    let blocked = codes(&options.countries_blocked);
    codes(&options.countries)
        .into_iter()
        .find(|code| !blocked.contains(code))
}

/// Ten digits and a parameter name with its `=`: the digits could be read as
/// the expiry of a shorter path, and the rest as a signed parameter.
fn movable_boundary(path: &str) -> Option<&str> {
    let bytes = path.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        let digits = bytes[start..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits < 10 {
            start += digits.max(1);
            continue;
        }
        let name_start = start + digits;
        let is_first = |b: &u8| b.is_ascii_alphabetic() || *b == b'_';
        let is_later = |b: &u8| b.is_ascii_alphanumeric() || b"_.-".contains(b);
        let name = bytes[name_start..]
            .iter()
            .take_while(|b| is_later(b))
            .count();
        if bytes.get(name_start).is_some_and(is_first)
            && bytes.get(name_start + name) == Some(&b'=')
        {
            return path.get(start..=name_start + name);
        }
        start = name_start;
    }
    None
}

fn decode(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, SignError> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let bad = || SignError::BadEscape(text.to_owned());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => decode_escape(bytes.next(), bytes.next()).ok_or_else(bad)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| bad())
}

/// Encodes what may not stand in a target and keeps the escapes that are there.
fn encode_missing(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if (0x21..=0x7e).contains(&byte) && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
