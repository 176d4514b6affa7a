//! Pure: whether what is asked of a zone is let in. The order of the steps stands
//! here alone: the road, a hit, `explain` and the admin API's explain walk it.

use http::Method;

use super::refused::Refused;
use crate::block::Blocks;
use crate::origin::names_object;
use crate::takedown::Takedowns;
use crate::token::{Evidence, Grant, Malformed, Refusal, Target, carrier};
use crate::zone::{AccessRefusal, Cors, CorsRules, Methods, Zone};

/// What is asked for, and by whom.
pub struct Asking<'a> {
    pub method: &'a Method,
    pub target: &'a Target<'a>,
    /// The viewer's own way is encrypted.
    pub https: bool,
    pub referer: Option<&'a str>,
    pub evidence: Evidence<'a>,
}

/// What the operator has said while the node runs.
#[derive(Clone, Copy)]
pub struct Lists<'l> {
    pub blocks: &'l Blocks,
    pub takedowns: &'l Takedowns,
}

/// Let in.
pub enum Admission<'z> {
    /// A CORS preflight: it brings no token.
    Preflight(&'z CorsRules),
    /// With a token, where the zone asks for one.
    Granted(Option<Grant<'z>>),
}

/// Decides, in the order of `docs/reference/tokens.md`.
pub fn decide<'z>(
    zone: &'z Zone,
    asking: &Asking<'_>,
    lists: Lists<'_>,
) -> Result<Admission<'z>, Refused> {
    let Asking {
        method,
        target,
        evidence,
        ..
    } = asking;
    if makes_an_echo(method) {
        return Err(Refused::Method);
    }
    if zone.https.force && !asking.https {
        return Err(Refused::NotHttps);
    }
    let options = *method == Method::OPTIONS;
    let preflight = match &zone.cors {
        Cors::Ours(rules) => Some(rules).filter(|_| options),
        Cors::Off | Cors::Origins => None,
    };
    if let Some(rules) = preflight {
        return Ok(Admission::Preflight(rules));
    }
    let reads = matches!(**method, Method::GET | Method::HEAD);
    let asks_origin = options && zone.cors == Cors::Origins;
    if !reads && !asks_origin && zone.cache.methods != Methods::Any {
        return Err(Refused::Method);
    }
    if lists
        .blocks
        .covers(&zone.name, evidence.client_ip, evidence.now)
    {
        return Err(Refused::Access(AccessRefusal::IpBlocked));
    }
    zone.access
        .check(evidence.client_ip, asking.referer)
        .map_err(Refused::Access)?;
    let path = target.path.as_str();
    let grant = match zone.token_of(path) {
        Some(policy) => Some(policy.verify(target, evidence).map_err(Refused::Token)?),
        // It would be asked of the origin, token and all.
        None if zone.strips_tokens && carrier::is_misplaced(path) => {
            return Err(Refused::Token(Refusal::Malformed(Malformed::TwoCarriers)));
        }
        None => None,
    };
    // Behind the token: who has none learns nothing of it.
    if lists.takedowns.covers(&zone.name, path, evidence.now) {
        return Err(Refused::TakenDown);
    }
    if !names_object(&zone.origin.kind, &target.path) {
        return Err(Refused::NotAnObject);
    }
    Ok(Admission::Granted(grant))
}

/// A TRACE shows whoever sent it what the edge adds for the origin alone (RFC
/// 9110 §9.3.8); TRACK is the same by another name, and a tunnel shows more.
/// Some servers read methods in any case.
fn makes_an_echo(method: &Method) -> bool {
    let names = ["TRACE", "TRACK", "CONNECT"];
    names
        .iter()
        .any(|name| method.as_str().eq_ignore_ascii_case(name))
}
