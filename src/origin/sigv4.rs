//! Pure: AWS Signature Version 4 in the Authorization header, for GET and HEAD
//! without a body.
//!
//! Only host, the payload hash, the date, a session token and the zone's own
//! `x-amz-` headers are signed, so that Range and conditions may change after
//! signing; some MinIO versions answer SignatureDoesNotMatch to a signed Range.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::Credentials;
use crate::clock::unix_seconds;

/// SHA-256 of nothing.
const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

type Hash = [u8; 32];

/// Signs requests and keeps the key of the day.
pub struct Signer {
    credentials: Credentials,
    region: String,
    day_key: Mutex<Option<(String, Hash)>>,
}

/// The headers to add, lower case.
pub type SignedHeaders = Vec<(&'static str, String)>;

impl Signer {
    pub fn new(credentials: Credentials, region: String) -> Self {
        Self {
            credentials,
            region,
            day_key: Mutex::new(None),
        }
    }

    /// `host` with its port where that is not the scheme's; `path` as it will
    /// be sent, encoded; no query. `own`: the zone's own headers, of which those
    /// that a store reads must be signed.
    pub fn sign(
        &self,
        method: &str,
        host: &str,
        path: &str,
        own: &[(HeaderName, HeaderValue)],
        now: SystemTime,
    ) -> SignedHeaders {
        let date = amz_date(now);
        let day = &date[..8];
        let token = self.credentials.session_token.as_ref();
        let mut signed: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in own.iter().filter(|(name, _)| is_a_stores(name)) {
            let value = String::from_utf8_lossy(value.as_bytes());
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            let line = signed.entry(name.as_str()).or_default();
            if !line.is_empty() {
                line.push(',');
            }
            line.push_str(&value);
        }
        signed.insert("host", host.to_owned());
        signed.insert("x-amz-content-sha256", EMPTY_PAYLOAD.to_owned());
        signed.insert("x-amz-date", date.clone());
        if let Some(token) = token {
            signed.insert("x-amz-security-token", token.to_string());
        }
        let names = signed.keys().copied().collect::<Vec<_>>().join(";");
        let lines = signed
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"));
        let lines: String = lines.collect();
        let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{EMPTY_PAYLOAD}");
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex(&Sha256::digest(canonical))
        );
        let signature = hex(&hmac(&self.key_of_day(day), to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.credentials.access_key
        );
        let mut headers = vec![
            ("x-amz-content-sha256", EMPTY_PAYLOAD.to_owned()),
            ("x-amz-date", date),
            ("authorization", authorization),
        ];
        if let Some(token) = token {
            headers.push(("x-amz-security-token", token.to_string()));
        }
        headers
    }

    fn key_of_day(&self, day: &str) -> Hash {
        let mut cached = self
            .day_key
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((of, key)) = cached.as_ref()
            && of == day
        {
            return *key;
        }
        let secret =
            zeroize::Zeroizing::new(format!("AWS4{}", self.credentials.secret_key.as_str()));
        let parts = [day, &self.region, "s3", "aws4_request"];
        let seed: Vec<u8> = secret.as_bytes().to_vec();
        let key = parts
            .iter()
            .fold(seed, |key, part| hmac(&key, part.as_bytes()).to_vec());
        let key: Hash = key.try_into().unwrap_or_default();
        *cached = Some((day.to_owned(), key));
        key
    }
}

/// AWS refuses those of a request that are not signed.
fn is_a_stores(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-amz-")
}

fn hmac(key: &[u8], message: &[u8]) -> Hash {
    // HMAC takes keys of every length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Hash::default();
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `YYYYMMDDTHHMMSSZ`
fn amz_date(now: SystemTime) -> String {
    let (date, time) = civil(unix_seconds(now));
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.0, date.1, date.2, time.0, time.1, time.2
    )
}

/// Year, month, day and hour, minute, second of a Unix time, UTC.
pub fn civil(unix: u64) -> ((u64, u64, u64), (u64, u64, u64)) {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    // Days since 0000-03-01 in eras of 400 years (Howard Hinnant's algorithm).
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    ((year, month, day), (rest / 3600, rest / 60 % 60, rest % 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn civil_dates_agree_with_known_ones() {
        assert_eq!(civil(0), ((1970, 1, 1), (0, 0, 0)));
        assert_eq!(civil(951_782_400), ((2000, 2, 29), (0, 0, 0)));
        assert_eq!(civil(1_893_456_000), ((2030, 1, 1), (0, 0, 0)));
        assert_eq!(civil(1_709_251_199), ((2024, 2, 29), (23, 59, 59)));
    }

    proptest! {
        #[test]
        fn a_civil_date_is_the_one_that_a_calendar_gives(seconds in 0u64..4_000_000_000) {
            let ((year, month, day), (hour, minute, second)) = civil(seconds);
            let http = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let ours = format!("{day:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", months[month as usize - 1]);
            prop_assert!(http.ends_with(&ours), "{} {}", http, ours);
        }
    }
}
