//! Pure: the viewer's address behind trusted proxies.

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;

use super::contains;

/// Where a proxy says whom it speaks for, unless the zone names another header.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The socket's address, unless it belongs to a trusted proxy: then the last
/// address of `X-Forwarded-For` that does not. Reading from the right, because
/// everything left of a trusted proxy's own entry is the viewer's invention.
pub fn client_ip(peer: IpAddr, forwarded_for: &[&[u8]], trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    // Bytes: a viewer may send what is no text before the proxy's own entry.
    let entries = forwarded_for.iter().rev();
    let entries = entries.flat_map(|line| line.rsplit(|byte| *byte == b','));
    for entry in entries {
        if !contains(trusted, client) {
            return client;
        }
        match std::str::from_utf8(entry)
            .ok()
            .and_then(|it| parse_entry(it.trim()))
        {
            Some(address) => client = address,
            // What a proxy did not write as an address tells nothing.
            None => return client,
        }
    }
    client
}

fn parse_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next());
    let address: IpAddr = match bare {
        Some(v6) => v6.parse().ok()?,
        None => entry
            .parse()
            .ok()
            .or_else(|| entry.split_once(':')?.0.parse().ok())?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|n| n.parse().expect("a network"))
            .collect();
        let table: &[(&str, &str, &[&str], &str)] = &[
            ("no proxy", "192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("one proxy", "10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (
                "mapped proxy",
                "::ffff:10.0.0.1",
                &["198.51.100.7"],
                "198.51.100.7",
            ),
            (
                "spoofed left part",
                "10.0.0.1",
                &["1.2.3.4, 198.51.100.7"],
                "198.51.100.7",
            ),
            (
                "two proxies",
                "10.0.0.1",
                &["1.2.3.4, 198.51.100.7, 10.9.9.9"],
                "198.51.100.7",
            ),
            (
                "two lines",
                "10.0.0.1",
                &["1.2.3.4", "198.51.100.7"],
                "198.51.100.7",
            ),
            (
                "with ports",
                "10.0.0.1",
                &["198.51.100.7:4711"],
                "198.51.100.7",
            ),
            (
                "IPv6 with port",
                "10.0.0.1",
                &["[2001:db8::1]:443"],
                "2001:db8::1",
            ),
            ("no header", "10.0.0.1", &[], "10.0.0.1"),
            ("garbage", "10.0.0.1", &["1.2.3.4, unknown"], "10.0.0.1"),
            (
                "all trusted",
                "10.0.0.1",
                &["10.0.0.2, 10.0.0.3"],
                "10.0.0.2",
            ),
        ];
        for (name, peer, forwarded, want) in table {
            let lines: Vec<&[u8]> = forwarded.iter().map(|line| line.as_bytes()).collect();
            let got = client_ip(peer.parse().expect("an address"), &lines, &trusted);
            assert_eq!(got, want.parse::<IpAddr>().expect("an address"), "{name}");
        }
    }

    #[test]
    fn what_is_no_text_hides_no_entry_of_a_proxy() {
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        let proxy: IpAddr = [10, 0, 0, 1].into();
        for lines in [
            &[&b"203.0.113.9"[..], b"\xff, 198.51.100.7"][..],
            &[&b"203.0.113.9,\xff , 198.51.100.7"[..]],
            &[&b"\xff"[..], b"198.51.100.7"],
        ] {
            let viewer = client_ip(proxy, lines, &trusted);
            assert_eq!(viewer, IpAddr::from([198, 51, 100, 7]), "{lines:?}");
        }
        let unread = client_ip(proxy, &[b"203.0.113.9", b"\xff"], &trusted);
        assert_eq!(unread, proxy, "nobody's invention");
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_the_client_whatever_it_says(said in "\\PC{0,40}", peer: [u8; 4]) {
            prop_assert_eq!(client_ip(peer.into(), &[said.as_bytes()], &[]), IpAddr::from(peer));
        }
    }
}
