//! The first part of the road: which zone, which path, and whether the request
//! is let in. Nothing is looked up before this has said yes.

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use std::borrow::Cow;

use http::header::{HeaderName, HeaderValue, ORIGIN, REFERER, STRICT_TRANSPORT_SECURITY};

use super::admission::{self, Admission, Asking, Lists};
use super::authority::{is_host, origin_form};
use super::refused::{BadHead, Refused};
use super::request::{MAX_HEADER_LINES, Request};
use super::shared::{Node, Site};
use crate::clock::unix_seconds;
use crate::hls::Kind;
use crate::origin::Origin;
use crate::path::EmptySegments;
use crate::token::carrier::redact;
use crate::token::{Country, Evidence, LeftOut, Target, Token};
use crate::zone::{Cors, CorsRules, Zone, client_ip, contains};

/// A request that has been through this many edges goes in a circle.
const MAX_LOOPS: u32 = 4;
pub const CDN_LOOP_COUNT: HeaderName = HeaderName::from_static("cdn-loopcount");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is known of a request whether or not it is let in.
pub struct Visitor<'r> {
    pub host: Cow<'r, str>,
    /// The target in origin form, as it came over the wire.
    pub target: Cow<'r, str>,
    pub client_ip: IpAddr,
    pub country: Option<Country>,
    pub site: Option<Arc<Site>>,
    /// He, or a trusted proxy for him, has come over TLS.
    pub https: bool,
    /// Header lines that the zone says to him besides.
    pub said: Vec<(HeaderName, HeaderValue)>,
}

/// What a request that is let in brings along.
pub struct Admitted<'v> {
    pub zone: &'v Arc<Zone>,
    pub origin: &'v Arc<Origin>,
    pub target: Target<'v>,
    pub granted: Granted,
    /// A CORS preflight: answered without a token.
    pub preflight: Option<&'v CorsRules>,
}

/// What he is granted.
#[derive(Debug, Clone, Default)]
pub struct Granted {
    /// Bytes per second, by the token.
    pub limit: Option<NonZeroU64>,
    pub token: Option<Used>,
    /// Header lines that the token sets on what the store answers.
    pub answer: Vec<(HeaderName, HeaderValue)>,
    pub loop_count: u32,
}

impl<'v> Admitted<'v> {
    /// Who asks for a target of a site, and what he is granted.
    pub fn to(site: &'v Site, target: Target<'v>, granted: Granted) -> Self {
        Self {
            zone: &site.zone,
            origin: &site.origin,
            target,
            granted,
            preflight: None,
        }
    }
}

/// A token that lets in.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub token: Token,
    /// Which of the zone's keys made it.
    pub key: usize,
    /// What players have added, and it has not signed.
    pub left_out: LeftOut,
}

impl<'r> Visitor<'r> {
    pub fn of(node: &Node, request: &'r Request<'_>) -> Self {
        let target = origin_form(&request.target);
        let host = request.host().unwrap_or_default();
        let site = node.sites.load().find(host).cloned();
        let zone = site.as_deref().map(|site| &*site.zone);
        let (client_ip, https) = match zone {
            Some(zone) => (came_from(zone, request), is_https(zone, request)),
            None => (request.entry.peer.ip().to_canonical(), request.entry.https),
        };
        let country = node
            .countries
            .load()
            .as_ref()
            .and_then(|countries| countries.of(client_ip));
        let said = zone.map(|zone| said(zone, request, https));
        Self {
            host: host.into(),
            target: target.into(),
            client_ip,
            country,
            https,
            said: said.unwrap_or_default(),
            site,
        }
    }

    /// The sender of what is no request.
    pub fn of_nobody(peer: IpAddr) -> Self {
        Self {
            host: "".into(),
            target: "".into(),
            client_ip: peer.to_canonical(),
            country: None,
            site: None,
            https: false,
            said: Vec::new(),
        }
    }

    pub fn zone(&self) -> Option<&Zone> {
        self.site.as_deref().map(|site| &*site.zone)
    }

    /// Without a zone no path may have any.
    fn empty_segments(&self) -> EmptySegments {
        self.zone()
            .map_or_else(EmptySegments::default, |zone| zone.empty_segments)
    }

    /// What a target says of itself: its kind, and a token that nobody believes.
    pub fn told(&self) -> (Option<Kind>, Option<Token>) {
        let target = Target::parse_with(&self.target, self.empty_segments()).ok();
        let kind = target.as_ref().map(|target| Kind::of(&target.path));
        (kind, target.and_then(|target| target.token()))
    }

    /// The path, as it may be told: what carries a token is seen in the whole of a
    /// target alone.
    pub fn shown_path(&self) -> Option<String> {
        let target = Target::parse_with(&self.target, self.empty_segments()).ok()?;
        Some(shown(target.path.as_str(), target.query))
    }

    /// What he has a token for: its folder, or that of what he asks for. All of a
    /// title's renditions are below the former.
    pub fn title(&self, let_in: bool) -> Option<String> {
        let target = Target::parse_with(&self.target, self.empty_segments()).ok()?;
        // A token for everything names no title.
        let folder = target.folder().filter(|folder| let_in && folder != "/");
        Some(match folder {
            Some(folder) => redact(&folder).into_owned(),
            None => {
                let mut path = shown(target.path.as_str(), target.query);
                path.truncate(path.rfind('/').map_or(0, |at| at + 1));
                path
            }
        })
    }

    /// For what outlives the request's head.
    pub fn into_owned(self) -> Visitor<'static> {
        Visitor {
            host: self.host.into_owned().into(),
            target: self.target.into_owned().into(),
            ..self
        }
    }

    /// Decides: whether it is a request for a zone of this node, and whether that
    /// lets it in.
    pub fn admit(&self, node: &Node, request: &Request<'_>) -> Result<Admitted<'_>, Refused> {
        if self.target.len() > node.listen.max_target {
            return Err(Refused::TargetTooLong);
        }
        if request.lines() > MAX_HEADER_LINES {
            return Err(Refused::Head(BadHead::TooLarge));
        }
        let target = Target::parse_with(&self.target, self.empty_segments())?;
        if !request.host().is_some_and(|host| is_host(host.as_bytes())) {
            return Err(Refused::BadHost);
        }
        let site = self.site.as_ref().ok_or(Refused::UnknownHost)?;
        let loop_count = loop_count(request);
        if loop_count >= MAX_LOOPS {
            return Err(Refused::Loop);
        }
        let zone = &site.zone;
        let revoked = node.revocations.load();
        let asking = Asking {
            method: &request.method,
            target: &target,
            https: self.https,
            referer: request.text(&REFERER),
            evidence: Evidence {
                now: unix_seconds(request.entry.came_at),
                client_ip: self.client_ip,
                country: self.country,
                revoked: revoked.get(&zone.name),
            },
        };
        let lists = Lists {
            blocks: &node.blocks,
            takedowns: &node.takedowns,
        };
        let admission = admission::decide(zone, &asking, lists)?;
        let mut granted = Granted {
            loop_count,
            ..Granted::default()
        };
        let preflight = match admission {
            Admission::Preflight(rules) => Some(rules),
            Admission::Granted(None) => None,
            Admission::Granted(Some(grant)) => {
                granted.limit = grant.limit;
                granted.token = Some(Used {
                    token: grant.token,
                    key: grant.key_index,
                    left_out: grant.left_out,
                });
                if zone.origin.is_s3() {
                    granted.answer = grant.answer;
                }
                None
            }
        };
        Ok(Admitted {
            preflight,
            ..Admitted::to(site, target, granted)
        })
    }

    /// The same again, of what was let in before.
    pub fn admitted(&self, granted: Granted) -> Option<Admitted<'_>> {
        let target = Target::parse_with(&self.target, self.empty_segments()).ok()?;
        Some(Admitted::to(self.site.as_ref()?, target, granted))
    }
}

fn shown(path: &str, query: Option<&str>) -> String {
    let whole = format!("{path}?{}", query.unwrap_or_default());
    let redacted = redact(&whole);
    match redacted.starts_with(path) {
        true => path.to_owned(),
        false => redacted.split('?').next().unwrap_or_default().to_owned(),
    }
}

/// Whom a request comes from, as far as the zone believes it.
fn came_from(zone: &Zone, request: &Request<'_>) -> IpAddr {
    let trusted = zone.trusted_proxies.as_slice();
    let forwarded: Vec<&[u8]> = match trusted {
        [] => Vec::new(),
        _ => request.values(&zone.client_ip_header).collect(),
    };
    client_ip(request.entry.peer.ip(), &forwarded, trusted)
}

/// Whether the viewer's own way is encrypted: a trusted proxy may have ended it.
fn is_https(zone: &Zone, request: &Request<'_>) -> bool {
    let said = || request.text(&X_FORWARDED_PROTO);
    let is_trusted = || contains(&zone.trusted_proxies, request.entry.peer.ip());
    request.entry.https
        || said().is_some_and(|said| said.eq_ignore_ascii_case("https")) && is_trusted()
}

fn said(zone: &Zone, request: &Request<'_>, https: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut lines = match &zone.cors {
        Cors::Ours(rules) => rules.of_viewer(request.text(&ORIGIN)),
        Cors::Off | Cors::Origins => Vec::new(),
    };
    // To who did not come over TLS it is not said (RFC 6797 §7.2).
    let hsts = zone.https.hsts.as_ref().filter(|_| https);
    lines.extend(hsts.map(|value| (STRICT_TRANSPORT_SECURITY, value.clone())));
    lines
}

fn loop_count(request: &Request<'_>) -> u32 {
    let value = request.text(&CDN_LOOP_COUNT);
    value.and_then(|text| text.parse().ok()).unwrap_or_default()
}
