//! Pure: the host that a request names, and its target without it.

/// Whether a value is a host with or without a port (RFC 9110 §7.2).
pub fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !value.ends_with(b"]") => (&value[..colon], &value[colon + 1..]),
        _ => (value, &b""[..]),
    };
    let bare = host
        .strip_prefix(b"[")
        .map_or(Some(host), |rest| rest.strip_suffix(b"]"));
    let v6 = host.starts_with(b"[");
    let fine = |byte: &u8| {
        byte.is_ascii_alphanumeric() || b"-._~%".contains(byte) || (v6 && *byte == b':')
    };
    bare.is_some_and(|bare| !bare.is_empty() && bare.iter().all(fine))
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
}

/// The authority of a target in absolute form.
pub fn of_target(target: &str) -> Option<&str> {
    let rest = behind_scheme(target)?;
    Some(&rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())])
}

/// Whether a URL is for TLS; `None`: it names no scheme.
pub fn is_https(url: &str) -> Option<bool> {
    let (scheme, _) = url.split_once("://")?;
    Some(scheme.eq_ignore_ascii_case("https"))
}

/// An absolute form without its scheme and authority, which are held against
/// Host before either road (RFC 9112 §3.2.2).
pub fn origin_form(target: &str) -> &str {
    let rest = behind_scheme(target).unwrap_or_default();
    let path = &rest[rest.find(['/', '?', '#']).unwrap_or(rest.len())..];
    if path.starts_with('/') { path } else { target }
}

fn behind_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    known.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "x",
            "cdn.test:80",
            "cdn.test.",
            "a_b-c~1",
            "x:",
            "[::1]",
            "[::1]:8080",
            "%c3",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        let none = [
            "", ":80", "a b", "u@x", "x/v", "x:y", "x?y", "x, y", "x:123456", "a:b:80", "[::1",
            "::1", "[]", "x\u{e9}",
        ];
        for host in none {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn an_absolute_form_loses_scheme_and_authority() {
        let table = [
            ("http://cdn.example/a?b", "/a?b", Some("cdn.example")),
            ("HTTPS://cdn.example:1/a", "/a", Some("cdn.example:1")),
            ("/a://b/c", "/a://b/c", None),
            (
                "http://cdn.example",
                "http://cdn.example",
                Some("cdn.example"),
            ),
            (
                "http://cdn.example?a/b",
                "http://cdn.example?a/b",
                Some("cdn.example"),
            ),
        ];
        for (target, path, authority) in table {
            assert_eq!(
                (origin_form(target), of_target(target)),
                (path, authority),
                "{target}"
            );
        }
    }
}
