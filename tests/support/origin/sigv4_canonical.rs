//! Pure: SigV4's canonical request, rebuilt from the raw one, and its date format.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::record::SeenRequest;

/// AWS's UriEncode leaves only RFC 3986's unreserved characters.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// In an object key the slash stays as well.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// The canonical request; `None` when the path is not well percent-encoded. The path is encoded
/// once, as S3 alone among the services wants it, and its dot segments and double slashes stay.
pub(super) fn canonical_request(
    request: &SeenRequest,
    signed_headers: &[&str],
    payload_hash: &str,
) -> Option<String> {
    let path = percent_encode(&percent_decoded(request.path())?, PATH).to_string();
    let query = canonical_query(request.query().unwrap_or_default());
    let headers: String = signed_headers
        .iter()
        .map(|name| canonical_header(request, name))
        .collect();
    let names = signed_headers.join(";");
    Some(format!(
        "{}\n{path}\n{query}\n{headers}\n{names}\n{payload_hash}",
        request.method
    ))
}

/// Decodes once; `None` for a `%` that two hexadecimal digits do not follow.
pub(super) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let well_formed = text
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    well_formed.then(|| percent_decode_str(text).collect())
}

/// Sorted by encoded name, then value; a name without `=` has an empty value.
fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| {
        // A plus is a space in a query, as form encoding has it.
        let decoded: Vec<u8> = percent_decode_str(&text.replace('+', " ")).collect();
        percent_encode(&decoded, QUERY).to_string()
    };
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut pairs: Vec<(String, String)> = parameters
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    pairs.sort();
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

/// `name:value` and a line feed, runs of spaces made one.
fn canonical_header(request: &SeenRequest, name: &str) -> String {
    let values = request.headers.iter().filter(|(known, _)| known == name);
    let values: Vec<String> = values.map(|(_, value)| collapsed(value)).collect();
    format!("{name}:{}\n", values.join(","))
}

fn collapsed(value: &str) -> String {
    value
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Reads `YYYYMMDDTHHMMSSZ`; `None` for anything else, years before 1970 included.
pub(super) fn parse_amz_date(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let digits = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(date, 8) || !digits(time, 6) {
        return None;
    }
    let number = |digits: &str| digits.parse::<u64>().ok();
    let (year, month, day) = (
        number(&date[..4])?,
        number(&date[4..6])?,
        number(&date[6..])?,
    );
    let (hour, minute, second) = (
        number(&time[..2])?,
        number(&time[2..4])?,
        number(&time[4..])?,
    );
    let in_range = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = ((days_since_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Writes `YYYYMMDDTHHMMSSZ`.
pub(super) fn amz_date(at: SystemTime) -> String {
    // An IMF-fixdate has fixed columns: `Sun, 06 Nov 1994 08:49:37 GMT`.
    let fixdate = httpdate::fmt_http_date(at);
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(&fixdate[8..11]).map_or(0, |at| at / 3 + 1);
    format!(
        "{}{month:02}{}T{}Z",
        &fixdate[12..16],
        &fixdate[5..7],
        fixdate[17..25].replace(':', "")
    )
}

/// Days of the proleptic Gregorian calendar since 1970-01-01, for years from 1970 on.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    // The year begins in March, so that a leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + day_of_year - 719_468
}
