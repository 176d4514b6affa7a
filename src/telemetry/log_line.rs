//! Pure: one line of the access log, without tokens and with anonymised
//! addresses.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::origin::sigv4::civil;
use crate::token::{Fingerprint, LeftOut};

/// One answered request.
#[derive(Debug, Clone, Serialize)]
pub struct Line<'a> {
    pub time: Timestamp,
    pub request_id: &'a str,
    pub zone: &'a str,
    #[serde(skip)]
    pub zone_id: u32,
    pub remote_ip: IpAddr,
    pub country: Option<&'a str>,
    pub method: &'a str,
    /// What a viewer writes stands here without tokens (`token/carrier.rs`).
    pub host: Cow<'a, str>,
    /// Path and query.
    pub url: Cow<'a, str>,
    pub protocol: &'static str,
    pub status: u16,
    pub cache: &'static str,
    pub kind: &'static str,
    pub bytes: u64,
    /// Seconds to the first byte and to the last.
    #[serde(serialize_with = "seconds_if_any")]
    pub ttfb: Option<Duration>,
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// Why the request was refused, not stored, or failed.
    pub reason: Option<&'static str>,
    /// The name of the key that the token was made with.
    pub token_key: Option<&'a str>,
    /// The token's fingerprint, by which it can be revoked.
    pub token: Option<Fingerprint>,
    /// What a player has added to the URL, and the token has not signed.
    #[serde(serialize_with = "names_if_any")]
    pub left_out: LeftOut,
    pub cache_key: Option<&'a str>,
    /// Origin and path.
    pub referer: Option<Cow<'a, str>>,
    pub user_agent: Option<Cow<'a, str>>,
    /// It stands for so many of its like.
    pub weight: u32,
}

impl Line<'_> {
    pub fn push_json(&self, out: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }

    /// The vendor's twelve fields.
    pub fn push_bunny(&self, out: &mut Vec<u8>) {
        let place = format!("{}{}", self.host, self.url);
        let _ = writeln!(
            out,
            "{}|{}|{}|{}|{}|{}|{}|{}|-|{}|{}|{}",
            self.cache,
            self.status,
            self.time.millis,
            self.bytes,
            self.zone_id,
            self.remote_ip,
            without_pipes(self.referer.as_deref()),
            without_pipes(Some(&place)),
            without_pipes(self.user_agent.as_deref()),
            self.request_id,
            without_pipes(self.country),
        );
    }
}

fn seconds<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.as_secs_f64())
}

fn seconds_if_any<S: Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => seconds(value, serializer),
        None => serializer.serialize_none(),
    }
}

fn names_if_any<S: Serializer>(left_out: &LeftOut, serializer: S) -> Result<S::Ok, S::Error> {
    match left_out.is_empty() {
        true => serializer.serialize_none(),
        false => serializer.collect_seq(left_out.names()),
    }
}

fn without_pipes(text: Option<&str>) -> Cow<'_, str> {
    let text = text.unwrap_or_default();
    let clean = |c: char| c != '|' && !c.is_control();
    let clean: Cow<'_, str> = match text.chars().all(clean) {
        true => text.into(),
        false => text.chars().filter(|c| clean(*c)).collect(),
    };
    if clean.is_empty() { "-".into() } else { clean }
}

/// RFC 3339, UTC, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp {
    text: [u8; 24],
    /// Since 1970.
    pub millis: u64,
}

impl Timestamp {
    pub fn of(at: SystemTime) -> Self {
        let since = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let ((year, month, day), (hour, minute, second)) = civil(millis / 1000);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let fields = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, hour),
            (14, 2, minute),
            (17, 2, second),
            (20, 3, millis % 1000),
        ];
        for (start, width, mut number) in fields {
            for digit in text[start..start + width].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        Self { text, millis }
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The /24 of an IPv4 address, the /64 of an IPv6 address.
pub fn anonymise(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            time: Timestamp::of(SystemTime::UNIX_EPOCH + Duration::from_millis(1_893_456_000_007)),
            request_id: "00ff",
            zone: "vod",
            zone_id: 7,
            remote_ip: [192, 0, 2, 0].into(),
            country: Some("CH"),
            method: "GET",
            host: "cdn.example.net".into(),
            url: "/a.ts".into(),
            protocol: "HTTP/1.1",
            status: 200,
            cache: "HIT",
            kind: "segment",
            bytes: 5,
            ttfb: Some(Duration::from_millis(1)),
            duration: Duration::from_millis(2),
            reason: None,
            token_key: None,
            token: None,
            left_out: LeftOut::NONE,
            cache_key: None,
            referer: None,
            user_agent: Some("a|b\n".into()),
            weight: 1,
        }
    }

    fn text(push: impl Fn(&Line<'static>, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&line(), &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_vendors_line_has_twelve_fields_whatever_a_viewer_sends() {
        assert_eq!(
            text(Line::push_bunny),
            "HIT|200|1893456000007|5|7|192.0.2.0|-|cdn.example.net/a.ts|-|ab|00ff|CH\n"
        );
    }

    #[test]
    fn a_json_line_is_one_line() {
        let text = text(Line::push_json);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["user_agent"], "a|b\n");
        assert_eq!(value["time"], "2030-01-01T00:00:00.007Z");
        assert_eq!(
            (value["ttfb"].as_f64(), value["duration"].as_f64()),
            (Some(0.001), Some(0.002))
        );
    }

    #[test]
    fn addresses_lose_their_host_part() {
        let anonymous = |text: &str| anonymise(text.parse().expect("an address")).to_string();
        assert_eq!(anonymous("192.0.2.77"), "192.0.2.0");
        assert_eq!(anonymous("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
