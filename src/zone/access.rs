//! Pure: the zone's own rules, asked before the token.

use std::net::IpAddr;

use ipnet::IpNet;

use super::contains;

/// Whom a zone turns away whatever the token says.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub blocked_ips: Vec<IpNet>,
    pub referrer: Referrer,
}

/// Lists of host names; `*.example.net` covers every name below it.
#[derive(Debug, Clone)]
pub struct Referrer {
    /// Empty: every referrer that is not blocked.
    pub allow: Vec<String>,
    pub block: Vec<String>,
    /// Let requests without a Referer in, as native players send none.
    pub allow_absent: bool,
}

impl Default for Referrer {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            block: Vec::new(),
            allow_absent: true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessRefusal {
    IpBlocked,
    ReferrerBlocked,
}

impl AccessRefusal {
    pub const NAMES: [&'static str; 2] = ["ip_blocked", "referrer_blocked"];

    pub const fn name(self) -> &'static str {
        match self {
            AccessRefusal::IpBlocked => Self::NAMES[0],
            AccessRefusal::ReferrerBlocked => Self::NAMES[1],
        }
    }
}

impl Access {
    pub fn check(&self, client: IpAddr, referer: Option<&str>) -> Result<(), AccessRefusal> {
        if contains(&self.blocked_ips, client) {
            return Err(AccessRefusal::IpBlocked);
        }
        if self.referrer.lets_in(referer) {
            Ok(())
        } else {
            Err(AccessRefusal::ReferrerBlocked)
        }
    }
}

impl Referrer {
    fn lets_in(&self, referer: Option<&str>) -> bool {
        let unrestricted = self.allow.is_empty() && self.block.is_empty();
        let Some(referer) = referer.filter(|text| !text.is_empty()) else {
            return self.allow_absent;
        };
        if unrestricted {
            return true;
        }
        let Some(host) = host_of_url(referer) else {
            return false;
        };
        let listed = |list: &[String]| list.iter().any(|pattern| covers(pattern, host));
        !listed(&self.block) && (self.allow.is_empty() || listed(&self.allow))
    }
}

fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            let below = host.len().checked_sub(parent.len() + 1);
            below
                .and_then(|dot| host.get(dot..))
                .is_some_and(|tail| tail.starts_with('.') && tail[1..].eq_ignore_ascii_case(parent))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn host_of_url(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_and_port = authority.rsplit('@').next()?;
    match host_and_port.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => Some(host),
        _ => Some(host_and_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn referrer_lists_and_the_switch_for_an_absent_one() {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let open = Referrer::default();
        let allow = Referrer {
            allow: list(&["site.example", "*.site.example"]),
            ..Referrer::default()
        };
        let strict = Referrer {
            allow_absent: false,
            ..allow.clone()
        };
        let block = Referrer {
            block: list(&["bad.example"]),
            ..Referrer::default()
        };
        let table: &[(&str, &Referrer, Option<&str>, bool)] = &[
            ("open, absent", &open, None, true),
            ("open, any", &open, Some("https://x.example/"), true),
            ("allowed", &allow, Some("https://site.example/page?q"), true),
            (
                "allowed with port",
                &allow,
                Some("https://Site.Example:8443/"),
                true,
            ),
            (
                "allowed below",
                &allow,
                Some("https://www.site.example/"),
                true,
            ),
            (
                "a name that ends alike",
                &allow,
                Some("https://evilsite.example/"),
                false,
            ),
            (
                "userinfo does not help",
                &allow,
                Some("https://site.example@evil.example/"),
                false,
            ),
            ("not a URL", &allow, Some("site.example"), false),
            ("absent, allowed", &allow, None, true),
            ("empty is absent", &strict, Some(""), false),
            ("absent, refused", &strict, None, false),
            ("blocked", &block, Some("http://bad.example/"), false),
            ("not blocked", &block, Some("http://good.example/"), true),
        ];
        for (name, rule, referer, want) in table {
            assert_eq!(rule.lets_in(*referer), *want, "{name}");
        }
    }

    #[test]
    fn a_blocked_network_is_asked_first_also_for_mapped_addresses() {
        let access = Access {
            blocked_ips: vec!["192.0.2.0/24".parse().expect("a network")],
            ..Access::default()
        };
        let check = |ip: &str| access.check(ip.parse().expect("an address"), None);
        assert_eq!(check("192.0.2.9"), Err(AccessRefusal::IpBlocked));
        assert_eq!(check("::ffff:192.0.2.9"), Err(AccessRefusal::IpBlocked));
        assert_eq!(check("198.51.100.1"), Ok(()));
    }

    proptest! {
        #[test]
        fn a_pattern_covers_whole_labels_only(host in "[a-z.-]{0,20}") {
            let covered = covers("*.example.net", &host);
            prop_assert_eq!(covered, host.ends_with(".example.net"));
        }
    }
}
