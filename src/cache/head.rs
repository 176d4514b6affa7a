//! The head that viewers get, built once for each stored object.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, DATE, ETAG, EXPIRES, HeaderName, HeaderValue,
    VARY,
};
use pingora::http::ResponseHeader;

use super::cache_control::{CDN_CACHE_CONTROL, CacheControl, expires_in, withheld};
use super::coding;
use super::lifetime::Lifetime;
use crate::clock::unix_seconds;
use crate::hls::Kind;
use crate::origin::sigv4::civil;
use crate::origin::{connection_says, entity_tag, weak_tag};
use crate::path::CanonicalPath;

/// How long a viewer may keep a segment: it never changes under its name.
const VIEWER_SEGMENT_AGE: Duration = Duration::from_secs(86_400);
/// Headers of the origin beyond this are dropped.
const MAX_ORIGIN_HEADERS: usize = 48;

/// What a viewer's head is built from.
pub struct HeadFacts<'a> {
    pub status: u16,
    pub origin: &'a HeaderMap,
    /// More viewers than one get it.
    pub shared: bool,
    pub kind: Kind,
    pub path: &'a CanonicalPath,
    /// `None`: not stored.
    pub lifetime: Option<Lifetime>,
    /// Media of a live stream: how long they are what they are.
    pub live_media: Option<Duration>,
    /// `policy = "origin"`: Cache-Control and Vary pass as they came.
    pub as_it_came: bool,
    pub zone_id: u32,
    pub said: &'a Said,
    pub pulled_at: SystemTime,
}

/// What an operator says of a path's answers himself.
#[derive(Debug, Default)]
pub struct Said {
    /// Lines of every answer.
    pub lines: Vec<(HeaderName, HeaderValue)>,
    /// Of those below 400 besides.
    pub good_lines: Vec<(HeaderName, HeaderValue)>,
    /// The origin's lines of CORS go on.
    pub keeps_cors: bool,
    /// How long viewers may keep it.
    pub ttl: Option<Duration>,
}

/// Everything but what changes with each response (length, Age, request id).
pub fn render(facts: &HeadFacts<'_>) -> ResponseHeader {
    let mut head = empty(facts.status);
    let passes = passing(facts);
    let lines = facts.origin.iter().filter(|(name, _)| passes(name));
    for (name, value) in lines.take(MAX_ORIGIN_HEADERS) {
        append(&mut head, name.clone(), value.clone());
    }
    if facts.status == 200
        && let Some(kind) = content_type(facts)
    {
        insert(&mut head, CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Some(coding) = coding::told(facts.origin) {
        insert(&mut head, CONTENT_ENCODING, coding);
    }
    if facts.status == 200 {
        insert(
            &mut head,
            http::header::ACCEPT_RANGES,
            HeaderValue::from_static("bytes"),
        );
    }
    pull_lines(&mut head, facts.status, facts);
    insert(&mut head, CDN_PULL_ZONE, HeaderValue::from(facts.zone_id));
    insert(
        &mut head,
        http::header::SERVER,
        HeaderValue::from_static("warren"),
    );
    said_lines(&mut head, facts);
    head
}

/// What the operator says, last: it wins.
fn said_lines(head: &mut ResponseHeader, facts: &HeadFacts<'_>) {
    let good = Some(&facts.said.good_lines).filter(|_| facts.status < 400);
    for (name, value) in facts.said.lines.iter().chain(good.into_iter().flatten()) {
        insert(head, name.clone(), value.clone());
    }
}

/// The type of what the origin names no type of, or one that says no more: object
/// stores give it to what came without any.
fn content_type(facts: &HeadFacts<'_>) -> Option<&'static str> {
    const UNKNOWN: [&str; 3] = [
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-unknown-content-type",
    ];
    let known = facts.kind.content_type(facts.path);
    let Some(said) = facts.origin.get(CONTENT_TYPE) else {
        return Some(known.unwrap_or(UNKNOWN[0]));
    };
    let said = said.to_str().unwrap_or_default().split(';').next();
    let said = said.unwrap_or_default().trim();
    let says_nothing = said.is_empty() || UNKNOWN.iter().any(|it| said.eq_ignore_ascii_case(it));
    known.filter(|_| says_nothing && !facts.as_it_came)
}

/// A stored head of which there are two forms.
pub fn varies_by_coding(head: &mut ResponseHeader) {
    insert(head, VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// The head of what is stored coded, for who has it decoded: other bytes under
/// the same name, so its entity-tag is weak.
pub fn without_coding(head: &mut ResponseHeader) {
    head.remove_header(&CONTENT_ENCODING);
    head.remove_header("content-md5");
    let tag = head.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    if let Some(Ok(weak)) = tag.map(|tag| HeaderValue::from_str(&weak_tag(tag))) {
        insert(head, ETAG, weak);
    }
}

/// Brings a stored head up to date with a 304 (RFC 9111 §3.2). What describes
/// the stored body stays with it.
pub fn update(head: &mut ResponseHeader, facts: &HeadFacts<'_>) {
    let stays = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "content-encoding" | "content-md5" | "etag" | "last-modified"
        )
    };
    let passes = passing(facts);
    let news = facts.origin.keys();
    let news: Vec<_> = news
        .filter(|name| passes(name) && !stays(name))
        .cloned()
        .collect();
    for name in news {
        head.remove_header(&name);
        for value in facts.origin.get_all(&name) {
            append(head, name.clone(), value.clone());
        }
    }
    pull_lines(head, 304, facts);
    said_lines(head, facts);
}

/// The lines that each pull and each confirmation sets anew.
fn pull_lines(head: &mut ResponseHeader, code: u16, facts: &HeadFacts<'_>) {
    // A 304 that says nothing of it changes nothing.
    let silent = code == 304
        && facts.kind.is_immutable()
        && facts.live_media.is_none()
        && !facts.origin.contains_key(CACHE_CONTROL)
        && !facts.origin.contains_key(EXPIRES);
    if !facts.as_it_came
        && !silent
        && let Some(control) = viewer_cache_control(facts)
    {
        insert(head, CACHE_CONTROL, control);
    }
    // Where ages are counted from it, it is the origin's, or of its arrival (RFC
    // 9110 §6.6.1).
    if facts.as_it_came && !facts.origin.contains_key(DATE) {
        let came = httpdate::fmt_http_date(facts.pulled_at);
        if let Ok(came) = HeaderValue::from_str(&came) {
            insert(head, DATE, came);
        }
    }
    pull_facts(head, code, facts.pulled_at);
}

pub const CDN_PULL_ZONE: HeaderName = HeaderName::from_static("cdn-pullzone");
const CDN_CACHED_AT: HeaderName = HeaderName::from_static("cdn-cachedat");
const CDN_PULL_CODE: HeaderName = HeaderName::from_static("cdn-requestpullcode");
const CDN_PULL_SUCCESS: HeaderName = HeaderName::from_static("cdn-requestpullsuccess");
/// A head without headers. The status was read from an answer, or is ours.
pub fn empty(status: u16) -> ResponseHeader {
    ResponseHeader::build_no_case(status, Some(24)).unwrap_or_else(|_| {
        // Statuses below 100 are no statuses; 500 is one.
        let fallback = ResponseHeader::build_no_case(500, None);
        fallback.unwrap_or_else(|_| unreachable!("500 is a status"))
    })
}

/// Whether a header of CORS is the origin's to say.
pub fn is_cors(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

/// Says when and how the object was pulled, on hits too.
fn pull_facts(head: &mut ResponseHeader, code: u16, at: SystemTime) {
    let ((year, month, day), (hour, minute, second)) = civil(unix_seconds(at));
    let text = format!("{month:02}/{day:02}/{year:04} {hour:02}:{minute:02}:{second:02}");
    if let Ok(text) = HeaderValue::from_str(&text) {
        insert(head, CDN_CACHED_AT, text);
    }
    insert(head, CDN_PULL_CODE, HeaderValue::from(code));
    insert(
        head,
        CDN_PULL_SUCCESS,
        HeaderValue::from_static(if code < 400 { "True" } else { "False" }),
    );
}

/// Inserts a header; heads built without a case map cannot refuse one.
pub fn insert(head: &mut ResponseHeader, name: HeaderName, value: HeaderValue) {
    let _ = head.insert_header(name, value);
}

fn append(head: &mut ResponseHeader, name: HeaderName, value: HeaderValue) {
    let _ = head.append_header(name, value);
}

/// `None`: nothing is said, as the origin said nothing.
fn viewer_cache_control(facts: &HeadFacts<'_>) -> Option<HeaderValue> {
    if facts.status >= 400 {
        return Some(HeaderValue::from_static("no-store"));
    }
    let came = || facts.origin.get(CACHE_CONTROL).cloned();
    // What is said to CDNs alone is not for viewers.
    let said = CacheControl::plain(facts.origin);
    let max_age = |age: Duration, more: &str| {
        HeaderValue::from_str(&format!("public, max-age={}{more}", age.as_secs())).ok()
    };
    match facts.kind {
        _ if said.no_store || said.private => came(),
        Kind::Segment | Kind::Init if said.no_cache => Some(HeaderValue::from_static("no-cache")),
        Kind::Segment | Kind::Init => {
            let most = facts.live_media.unwrap_or(VIEWER_SEGMENT_AGE);
            let said = said.shared_max_age();
            let said = said.or_else(|| expires_in(facts.origin, facts.pulled_at));
            // No longer than it is fresh here, unless that is said to CDNs alone.
            let targeted = CacheControl::of(facts.origin).targeted;
            let here = facts.lifetime.map(|lifetime| lifetime.fresh);
            let here = here.filter(|_| !targeted);
            let age = [said, here].into_iter().flatten().fold(most, Duration::min);
            match age == VIEWER_SEGMENT_AGE && facts.live_media.is_none() {
                true => max_age(age, ", immutable"),
                false => max_age(age, ""),
            }
        }
        Kind::Playlist | Kind::Manifest => match facts.lifetime {
            Some(lifetime) => max_age(lifetime.fresh, ""),
            None => Some(HeaderValue::from_static("no-store")),
        },
        Kind::Key => Some(HeaderValue::from_static("no-store, private")),
        Kind::Other => match facts.said.ttl.filter(|_| facts.lifetime.is_some()) {
            Some(ttl) => max_age(ttl, ""),
            None => came(),
        },
    }
}

/// A head's lines as they go over HTTP/1.1, rendered once.
pub struct HeadLines {
    /// Content-Type first, if there is one.
    text: Box<[u8]>,
    content_type: usize,
    /// A Date is among them.
    pub has_date: bool,
}

impl HeadLines {
    pub fn of(head: &ResponseHeader) -> Self {
        let mut text = Vec::new();
        for value in head.headers.get_all(CONTENT_TYPE) {
            push_line(&mut text, &CONTENT_TYPE, value.as_bytes());
        }
        let content_type = text.len();
        for (name, value) in head
            .headers
            .iter()
            .filter(|(name, _)| **name != CONTENT_TYPE)
        {
            push_line(&mut text, name, value.as_bytes());
        }
        Self {
            text: text.into(),
            content_type,
            has_date: head.headers.contains_key(DATE),
        }
    }

    /// A 304 has no type of its own (RFC 9110 §15.4.5).
    pub fn for_status(&self, status: u16) -> &[u8] {
        match status {
            304 => &self.text[self.content_type..],
            _ => &self.text,
        }
    }
}

/// One header line.
pub fn push_line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    push_name(out, name.as_str());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The beginning of a header line, up to its value.
pub fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
}

/// Headers of the origin that a viewer may see.
fn passing<'a>(facts: &'a HeadFacts<'_>) -> impl Fn(&HeaderName) -> bool + 'a {
    let withheld = match facts.shared {
        true => withheld(facts.origin),
        false => Vec::new(),
    };
    move |name| !withheld.iter().any(|other| other == name.as_str()) && passes(name, facts)
}

fn passes(name: &HeaderName, facts: &HeadFacts<'_>) -> bool {
    if is_hop_by_hop(name) || connection_says(facts.origin, name.as_str()) {
        return false;
    }
    // What is none to us is none to a player.
    if *name == ETAG && entity_tag(facts.origin).is_none() {
        return false;
    }
    let text = name.as_str();
    // What the edge says of each answer anew.
    let ours = [
        "age",
        "accept-ranges",
        "content-encoding",
        "content-length",
        "content-range",
        "set-cookie",
    ];
    let is_cors = is_cors(name) && !facts.said.keeps_cors;
    // Said to all caches on the way, where those hear what the origin says.
    let goes_on = facts.as_it_came && *name == CDN_CACHE_CONTROL;
    if ours.contains(&text) || is_cors || stays_here(name) && !goes_on {
        return false;
    }
    // What it says to one site is told to no other's cache.
    let tells_sites_apart = *name == VARY && facts.said.keeps_cors;
    facts.as_it_came
        || tells_sites_apart
        || !matches!(
            text,
            "cache-control" | "date" | "expires" | "pragma" | "vary"
        )
}

/// What an origin says to an edge, or of itself.
pub fn stays_here(name: &HeaderName) -> bool {
    let text = name.as_str();
    let names = [
        "alt-svc",
        "cache-tag",
        "server",
        "strict-transport-security",
        "surrogate-control",
        "surrogate-key",
        "via",
    ];
    let prefixes = ["x-amz-", "x-amzn-", "x-minio-", "cdn-"];
    names.contains(&text) || prefixes.iter().any(|prefix| text.starts_with(prefix))
}

/// RFC 9110 §7.6.1 and RFC 9112.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "proxy-authentication-info"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(kind: Kind, control: &str, lifetime: Option<Lifetime>) -> ResponseHeader {
        let mut origin = HeaderMap::new();
        for (name, value) in [
            ("content-type", "video/mp2t"),
            ("x-amz-request-id", "1"),
            ("x-amzn-requestid", "1"),
            ("access-control-allow-origin", "https://one.example"),
            ("set-cookie", "a=b"),
            ("server", "MinIO"),
            ("vary", "Origin"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("content-language", "fr"),
        ] {
            origin.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        if let Ok(value) = HeaderValue::from_str(control)
            && !control.is_empty()
        {
            origin.insert(CACHE_CONTROL, value);
        }
        let said = Said {
            lines: vec![(
                http::header::ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("*"),
            )],
            ..Said::default()
        };
        render(&HeadFacts {
            status: 200,
            origin: &origin,
            shared: true,
            kind,
            path: &CanonicalPath::parse("/a.ts").expect("a path"),
            lifetime,
            live_media: None,
            as_it_came: false,
            zone_id: 3,
            said: &said,
            pulled_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000),
        })
    }

    fn text<'h>(head: &'h ResponseHeader, name: &str) -> Option<&'h str> {
        head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn a_viewer_sees_no_header_of_the_store_and_one_cors_value() {
        let head = rendered(Kind::Segment, "", None);
        for absent in [
            "x-amz-request-id",
            "x-amzn-requestid",
            "set-cookie",
            "vary",
            "x-hop",
            "connection",
        ] {
            assert_eq!(text(&head, absent), None, "{absent}");
        }
        assert_eq!(text(&head, "server"), Some("warren"));
        assert_eq!(text(&head, "content-language"), Some("fr"));
        assert_eq!(text(&head, "cdn-cachedat"), Some("01/01/2030 00:00:00"));
        assert_eq!(text(&head, "cdn-pullzone"), Some("3"));
        let origins: Vec<_> = head
            .headers
            .get_all("access-control-allow-origin")
            .iter()
            .collect();
        assert_eq!(origins, ["*"]);
    }

    #[test]
    fn a_304_brings_the_head_up_to_date_and_leaves_what_describes_the_body() {
        let (mut stored, mut news) = (HeaderMap::new(), HeaderMap::new());
        for (name, before, after) in [
            ("cache-control", "max-age=1", "max-age=9"),
            ("content-type", "text/plain", "text/html"),
            ("x-anything", "1", "2"),
            ("content-encoding", "br", "gzip"),
            ("etag", "\"a\"", "\"b\""),
        ] {
            stored.insert(name, HeaderValue::from_static(before));
            news.insert(name, HeaderValue::from_static(after));
        }
        stored.insert("x-stays", HeaderValue::from_static("1"));
        news.insert("set-cookie", HeaderValue::from_static("a=b"));
        news.append("x-anything", HeaderValue::from_static("3"));
        let path = CanonicalPath::parse("/a").expect("a path");
        let said = Said::default();
        let facts = |origin| HeadFacts {
            status: 200,
            origin,
            shared: true,
            kind: Kind::Other,
            path: &path,
            lifetime: None,
            live_media: None,
            as_it_came: true,
            zone_id: 3,
            said: &said,
            pulled_at: SystemTime::UNIX_EPOCH,
        };
        let mut head = render(&facts(&stored));
        update(&mut head, &facts(&news));
        for (name, want) in [
            ("cache-control", Some("max-age=9")),
            ("content-type", Some("text/html")),
            ("content-encoding", Some("br")),
            ("etag", Some("\"a\"")),
            ("x-stays", Some("1")),
            ("set-cookie", None),
            ("cdn-requestpullcode", Some("304")),
        ] {
            assert_eq!(text(&head, name), want, "{name}");
        }
        let both: Vec<_> = head.headers.get_all("x-anything").iter().collect();
        assert_eq!(both, ["2", "3"]);
    }

    #[test]
    fn what_a_viewer_may_keep_depends_on_the_kind() {
        let live = Lifetime {
            fresh: Duration::from_millis(500),
            ..Lifetime::default()
        };
        let vod = Lifetime {
            fresh: Duration::from_secs(60),
            ..Lifetime::default()
        };
        let table = [
            (
                Kind::Segment,
                "",
                None,
                Some("public, max-age=86400, immutable"),
            ),
            (
                Kind::Segment,
                "max-age=31536000",
                None,
                Some("public, max-age=86400, immutable"),
            ),
            (
                Kind::Segment,
                "max-age=60",
                None,
                Some("public, max-age=60"),
            ),
            (Kind::Segment, "no-store", None, Some("no-store")),
            (
                Kind::Init,
                "",
                None,
                Some("public, max-age=86400, immutable"),
            ),
            (Kind::Playlist, "", Some(vod), Some("public, max-age=60")),
            (Kind::Playlist, "", Some(live), Some("public, max-age=0")),
            (Kind::Playlist, "", None, Some("no-store")),
            (
                Kind::Key,
                "max-age=60",
                Some(vod),
                Some("no-store, private"),
            ),
            (Kind::Other, "max-age=7", Some(vod), Some("max-age=7")),
            (Kind::Other, "", Some(vod), None),
        ];
        for (kind, control, lifetime, want) in table {
            let head = rendered(kind, control, lifetime);
            assert_eq!(text(&head, "cache-control"), want, "{kind:?} {control:?}");
        }
    }
}
