//! Pure: whether the token of a URL is one of ours. What is revoked need not be,
//! but who names a cut or mistyped URL has revoked nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::place::target;
use crate::edge::Site;
use crate::path::EmptySegments;
use crate::token::{Evidence, Parameters, Policy, Refusal, Target, parse_expires};

/// How many of these URLs carry a token that no key of a zone has made for them.
/// One that is bound to an address by its flag is not counted: who it was for
/// is not known here.
pub fn unproven(urls: &[String], sites: &[Arc<Site>]) -> usize {
    let policies = || sites.iter().filter_map(|site| site.zone.token.as_ref());
    let proven = |url: &&String| {
        let target = target(url, EmptySegments::Kept);
        target.is_ok_and(|target| policies().any(|policy| has_made(policy, &target)))
    };
    urls.len() - urls.iter().filter(proven).count()
}

fn has_made(policy: &Policy, target: &Target<'_>) -> bool {
    if target.token().is_some_and(|token| token.ip_flag) {
        return true;
    }
    let parameters = Parameters::parse(target).unwrap_or_default();
    let expires = parameters.get("expires").and_then(parse_expires);
    let evidence = Evidence {
        // As if it were at its last second.
        now: expires.unwrap_or_default(),
        client_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        country: None,
        revoked: None,
    };
    match policy.verify(target, &evidence) {
        Ok(_) => true,
        // Those that are decided behind the signature.
        Err(Refusal::WrongPath | Refusal::Revoked | Refusal::WrongIp | Refusal::CountryBlocked) => {
            true
        }
        Err(
            Refusal::BadPath(_)
            | Refusal::Missing
            | Refusal::Malformed(_)
            | Refusal::SchemeNotAllowed
            | Refusal::Expired
            | Refusal::ExpiresTooFar
            | Refusal::BadSignature,
        ) => false,
    }
}
