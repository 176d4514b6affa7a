//! Why a URL is let in or not: the edge's own decisions, taken one by one and
//! told in words. `warren explain` and the admin API give the same answer.

use http::Method;
use serde::Serialize;

use crate::edge::Refused;
use crate::edge::admission::{self, Asking, Lists};
use crate::hls::Kind;
use crate::origin;
use crate::path::CanonicalPath;
use crate::token::carrier::redact;
use crate::token::{
    Evidence, Fingerprint, Grant, LeftOut, Parameters, Policy, Refusal, Target, Token,
    signed_parameters,
};
use crate::zone::{AccessRefusal, Asked, CacheRules, Zone};

/// A URL, and what there is to judge it by.
pub struct Question<'q> {
    /// Path and query, as a viewer would request them.
    pub target: &'q str,
    /// The host that it is asked for at, where that is known.
    pub host: Option<&'q str>,
    /// It is asked for over TLS.
    pub https: bool,
    /// What it is, where more is known of it than its name.
    pub kind: Option<Kind>,
    pub rules: Rules<'q>,
    pub evidence: Evidence<'q>,
    pub referer: Option<&'q str>,
}

/// What it is judged by.
#[derive(Clone, Copy)]
pub enum Rules<'q> {
    Zone(&'q Zone, Lists<'q>),
    /// No zone is known, only a key.
    Key(&'q Policy),
}

/// The decision and what it rests on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Explanation {
    pub allow: bool,
    /// `ok`, or the refusal's name.
    pub reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub zone: Option<String>,
    pub scheme: Option<&'static str>,
    pub key: Option<String>,
    /// The names of the keys that were tried.
    pub keys_tried: Vec<String>,
    pub path: Option<String>,
    /// What the token must have signed besides expiry and address.
    pub signed_path: Option<String>,
    pub signed_parameters: Option<String>,
    /// What players have added to the URL, and the token has not signed.
    pub left_out: Vec<&'static str>,
    /// What the access log calls the token.
    pub fingerprint: Option<String>,
    /// The time that was judged by, in Unix seconds.
    pub now: u64,
    /// Seconds until (or, negative, since) the expiry.
    pub expires_in: Option<i64>,
    pub kind: Option<&'static str>,
    pub cache_key: Option<String>,
    /// Seconds of freshness in the cache before the origin has been asked.
    pub ttl: Option<u64>,
    pub origin: Option<String>,
}

impl Question<'_> {
    /// Decides as the edge does.
    pub fn explain(&self) -> Explanation {
        let mut answer = Explanation {
            allow: true,
            reason: "ok",
            zone: self.zone().map(|zone| zone.name.clone()),
            now: self.evidence.now,
            ..Explanation::default()
        };
        let empty = self.zone().map(|zone| zone.empty_segments);
        let empty = empty.unwrap_or_default();
        let target = match Target::parse_with(self.target, empty) {
            Ok(target) => target,
            Err(bad) => {
                let refusal = Refusal::BadPath(bad);
                answer.refuse(refusal.name(), &refusal.detail());
                return answer;
            }
        };
        self.describe(&target, &mut answer);
        if let Err(refused) = self.decide(&target) {
            if refused == Refused::Token(Refusal::BadSignature) {
                let keys = self.policy(&target).map(|policy| policy.keys.iter());
                let names = keys.into_iter().flatten().map(|key| key.name.clone());
                answer.keys_tried = names.collect();
            }
            answer.refuse(refused.name(), &self.detail(refused));
        }
        answer
    }

    const fn zone(&self) -> Option<&Zone> {
        match self.rules {
            Rules::Zone(zone, _) => Some(zone),
            Rules::Key(_) => None,
        }
    }

    /// `None`: no token is asked for.
    fn policy(&self, target: &Target<'_>) -> Option<&Policy> {
        match self.rules {
            Rules::Zone(zone, _) => zone.token_of(target.path.as_str()),
            Rules::Key(policy) => Some(policy),
        }
    }

    fn decide(&self, target: &Target<'_>) -> Result<(), Refused> {
        let (zone, lists) = match self.rules {
            Rules::Zone(zone, lists) => (zone, lists),
            Rules::Key(policy) => {
                let granted = policy.verify(target, &self.evidence);
                return granted.map(drop).map_err(Refused::Token);
            }
        };
        let asking = Asking {
            method: &Method::GET,
            target,
            https: self.https,
            referer: self.referer,
            evidence: self.evidence,
        };
        admission::decide(zone, &asking, lists).map(drop)
    }

    /// A refusal for people.
    fn detail(&self, refused: Refused) -> String {
        let by_list = |zone: &Zone, lists: Lists<'_>| {
            let client_ip = self.evidence.client_ip;
            lists
                .blocks
                .covers(&zone.name, client_ip, self.evidence.now)
        };
        match (refused, self.rules) {
            (Refused::Access(AccessRefusal::IpBlocked), Rules::Zone(zone, lists))
                if by_list(zone, lists) =>
            {
                let client_ip = self.evidence.client_ip;
                format!("{client_ip} is blocked for a while: see `warren block --list`")
            }
            (Refused::Access(refusal), _) => self.access_detail(refusal),
            (Refused::Token(refusal), _) => refusal.detail(),
            (Refused::NotHttps, _) => {
                "the zone sends viewers who come without TLS to https://".to_owned()
            }
            (Refused::TakenDown, _) => {
                "the operator has taken it down: see `warren takedown --list`".to_owned()
            }
            (Refused::NotAnObject, _) => {
                "the path names the bucket, or an operation of its store, and no object".to_owned()
            }
            (refused, _) => refused.name().to_owned(),
        }
    }

    fn access_detail(&self, refusal: AccessRefusal) -> String {
        match refusal {
            AccessRefusal::IpBlocked => {
                format!(
                    "{} is among the zone's `blocked_ips`",
                    self.evidence.client_ip
                )
            }
            AccessRefusal::ReferrerBlocked => match self.referer {
                Some(referer) => format!("the zone's `referrer` does not let {referer:?} in"),
                None => "the zone's `referrer` demands a Referer and there is none".into(),
            },
        }
    }

    /// What is known of the target whether or not it is let in.
    fn describe(&self, target: &Target<'_>, answer: &mut Explanation) {
        let path = &target.path;
        let kind = self.kind.unwrap_or_else(|| Kind::of(path));
        answer.path = Some(redact(path.as_str()).into_owned());
        answer.kind = Some(kind.name());
        if let Some(policy) = self.policy(target) {
            if let Ok(parameters) = Parameters::parse(target) {
                answer.read(&parameters, path.as_str());
            }
            if let Ok(grant) = policy.verify(target, &self.evidence) {
                answer.grant(&grant, target);
            }
        }
        let of_path = |zone: &Zone| zone.ttl_of(path.as_str()).filter(|_| !kind.is_list());
        let of_path = self.zone().and_then(of_path);
        let rules = CacheRules::default();
        let rules = self.zone().map_or(&rules, |zone| &zone.cache);
        let ttl = of_path.or_else(|| rules.expected_ttl(kind));
        answer.ttl = ttl.map(|ttl| ttl.as_secs());
        let Some(zone) = self.zone() else { return };
        // As of a request without any of the headers that the zone keeps apart.
        let asked = Asked {
            https: self.https,
            host: self.host,
            ..Asked::plainly()
        };
        let (selected, key) = zone.place(path, target.query, kind, &asked);
        answer.cache_key = Some(key.fingerprint().to_string());
        let origin = origin_url(zone, path, &selected.to_query());
        answer.origin = origin.map(|url| redact(&url).into_owned());
    }
}

impl Explanation {
    fn refuse(&mut self, reason: &'static str, detail: &str) {
        self.allow = false;
        self.reason = reason;
        self.detail = Some(redact(detail).into_owned());
    }

    fn grant(&mut self, grant: &Grant<'_>, target: &Target<'_>) {
        self.scheme = Some(grant.token.scheme.name());
        self.key = Some(grant.key.to_owned());
        self.left_out = grant.left_out.names().collect();
        if let Ok(parameters) = Parameters::parse(target) {
            let signed = signed_parameters(&parameters, grant.left_out);
            self.signed_parameters = Some(signed);
        }
    }

    /// What the token says of itself, before anybody believes it.
    fn read(&mut self, parameters: &Parameters<'_>, path: &str) {
        let expires: Option<i64> = parameters.get("expires").and_then(|text| text.parse().ok());
        let now = i64::try_from(self.now).unwrap_or_default();
        self.expires_in = expires.map(|expires| expires.saturating_sub(now));
        if let Some(text) = parameters.token() {
            let signed = parameters.get("token_path").unwrap_or(path);
            self.signed_path = Some(redact(signed).into_owned());
            self.signed_parameters = Some(signed_parameters(parameters, LeftOut::NONE));
            let token = Token::parse(text).ok();
            self.fingerprint = token.map(|token| Fingerprint::of(&token).to_string());
        }
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let verdict = if self.allow { "allowed" } else { "refused" };
        let mut lines = vec![format!("{verdict}: {}", self.reason)];
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                lines.push(format!("  {name:<17} {value}"));
            }
        };
        let seconds = |seconds: u64| format!("{seconds} s");
        line("why", self.detail.clone());
        line("zone", self.zone.clone());
        line("scheme", self.scheme.map(str::to_owned));
        line("key", self.key.clone());
        line("keys tried", Some(self.keys_tried.join(", ")));
        line("path", self.path.clone());
        line("signed path", self.signed_path.clone());
        line("signed parameters", self.signed_parameters.clone());
        line("left out", Some(self.left_out.join(", ")));
        line("fingerprint", self.fingerprint.clone());
        let expires = self.expires_in.map(|left| match left {
            0.. => format!("in {left} s, by this clock ({})", self.now),
            _ => format!("{} s ago, by this clock ({})", -left, self.now),
        });
        line("expires", expires);
        line("kind", self.kind.map(str::to_owned));
        line("cache key", self.cache_key.clone());
        line("ttl", self.ttl.map(seconds));
        line("origin", self.origin.clone());
        lines.join("\n")
    }
}

fn origin_url(zone: &Zone, path: &CanonicalPath, query: &str) -> Option<String> {
    let endpoint = zone.origin.endpoints.first()?;
    let (host, path) = origin::address(&zone.origin, endpoint, path);
    let scheme = if endpoint.tls { "https" } else { "http" };
    let query = match zone.origin.is_s3() || query.is_empty() {
        true => String::new(),
        false => format!("?{query}"),
    };
    Some(format!("{scheme}://{host}{path}{query}"))
}
