//! Pure: which names the admin listener answers to.

use std::net::{IpAddr, SocketAddr};

/// Names without a port, in lower case; `None`: any.
///
/// Where only this machine is listened to, a page elsewhere could still call in
/// an operator's browser, by a name of its own that suddenly means this machine
/// (DNS rebinding). It cannot make the browser say another name.
#[derive(Debug, PartialEq, Eq)]
pub struct Hosts(Option<Vec<String>>);

impl Hosts {
    /// For a listener at this address; `more`: names that it has besides.
    pub fn of(listen: SocketAddr, more: &[String]) -> Self {
        if !listen.ip().to_canonical().is_loopback() {
            return Self(None);
        }
        let own = match listen.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let mut names = vec![
            "localhost".to_owned(),
            "127.0.0.1".into(),
            "[::1]".into(),
            own,
        ];
        names.extend(more.iter().map(|name| name.to_ascii_lowercase()));
        Self(Some(names))
    }

    /// Whether an authority names this listener, whatever its port.
    pub fn know(&self, authority: &str) -> bool {
        let Some(names) = &self.0 else {
            return true;
        };
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => authority,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_machine_answers_to_its_own_names_alone() {
        let at = |listen: &str, more: &[&str]| {
            let more: Vec<String> = more.iter().map(|name| (*name).to_owned()).collect();
            Hosts::of(listen.parse().expect("an address"), &more)
        };
        let local = at("127.0.0.1:9090", &["Edge.internal"]);
        for name in [
            "localhost",
            "LocalHost:9090",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:9090",
            "edge.internal:9090",
            "EDGE.INTERNAL",
        ] {
            assert!(local.know(name), "{name}");
        }
        for name in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "localhost@evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.2",
            "192.0.2.1",
            "::1",
            "",
            ":9090",
            "localhost:x",
        ] {
            assert!(!local.know(name), "{name}");
        }
        assert!(at("127.0.0.2:0", &[]).know("127.0.0.2:1"));
        assert!(at("[::1]:0", &[]).know("[::1]"));
        assert!(!at("[::ffff:127.0.0.1]:0", &[]).know("evil.example"));
        for wide in ["0.0.0.0:9090", "[::]:9090", "192.0.2.1:9090"] {
            assert!(at(wide, &[]).know("whatever.example"), "{wide}");
        }
    }
}
