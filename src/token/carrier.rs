//! Pure: the one list of what carries a token, and texts without it. What a
//! viewer writes is written down, and told to an origin, through this file.

use std::borrow::Cow;
use std::ops::Range;

use super::reading::{Reading, SHA256, ends_with, may_carry, may_hold_value, token_in};

/// Parameters that carry the token itself and are never signed.
pub fn is_carrier(name: &str) -> bool {
    matches!(name, "token" | "bcdn_token" | "expires")
}

/// Parameters that belong to the token scheme, as a viewer may write them: in
/// any case, encoded or not, with space around it or as an item of a list
/// (`token[]`). Never in the cache key, never sent to the origin.
pub fn is_token_parameter(name: &str) -> bool {
    let reading = Reading::of(name);
    // Escapes of what is in no token are not read.
    let name = String::from_utf8_lossy(&reading.bytes).to_ascii_lowercase();
    let name = name.replace("%20", " ").replace("%5b", "[");
    let mut words = name.split([' ', '+', '\t', '[']);
    let name = words.find(|word| !word.is_empty()).unwrap_or_default();
    matches!(name, "token" | "bcdn_token" | "expires" | "limit") || name.starts_with("token_")
}

/// Whether a segment of a path is a token's block, as it may be misspelled.
pub fn is_block(segment: &str) -> bool {
    const NAME: &[u8] = b"bcdn_token=";
    let name = segment.as_bytes().get(..NAME.len());
    name.is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}

/// Whether a path holds a token, or the block of one, that is not taken from it
/// as a carrier is.
pub fn is_misplaced(path: &str) -> bool {
    let has_block =
        || memchr::memchr(b'=', path.as_bytes()).is_some() && path.split('/').any(is_block);
    is_in_path(path) || has_block()
}

/// Whether a text holds what looks like a token.
pub fn carries(text: &str) -> bool {
    may_carry(text) && Reading::of(text).tokens(false).next().is_some()
}

/// Whether a path holds a token of its own: what no signer puts there, and an
/// origin would be sent. A name that only looks like one is none.
pub fn is_in_path(path: &str) -> bool {
    let is_one = |Range { start, end }: Range<usize>| {
        let (before, token) = (&path.as_bytes()[..start], &path.as_bytes()[start..end]);
        let named = ends_with(before, b"=") || ends_with(before, b"%3d");
        token_in(token, || named).is_some()
    };
    let bytes = path.as_bytes();
    let may = memchr::memchr(b'%', bytes).is_some() || may_hold_value(bytes);
    may && Reading::of(path).tokens(false).any(is_one)
}

/// A text with what looks like a token in it replaced: whatever stands behind
/// `token=` or `bcdn_token=`; `HS256-` and what follows; a parameter's value
/// that has the length of a digest; 43 digits by themselves in a text that
/// names a token. In any case, encoded however often.
pub fn redact(text: &str) -> Cow<'_, str> {
    match may_carry(text) {
        true => without_tokens(text, false),
        false => text.into(),
    }
}

/// The same of another's page, where 43 digits by themselves name nothing of
/// ours.
fn redact_page(page: &str) -> Cow<'_, str> {
    match may_carry(page) || page.len() >= SHA256 {
        true => without_tokens(page, true),
        false => page.into(),
    }
}

fn without_tokens(text: &str, bare: bool) -> Cow<'_, str> {
    let (mut out, mut copied) = (String::new(), 0);
    for Range { start, end } in Reading::of(text).tokens(bare) {
        out.reserve(text.len());
        out.push_str(text.get(copied..start).unwrap_or_default());
        out.push_str("redacted");
        copied = end;
    }
    if copied == 0 {
        return text.into();
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out.into()
}

/// Of a Referer its origin and path, without a token.
pub fn redact_referer(referer: &str) -> Cow<'_, str> {
    let end = referer.find(['?', '#']).unwrap_or(referer.len());
    let page = &referer[..end];
    match authority_of(page) {
        Some(authority) if page[authority.clone()].contains('@') => {
            redact_page(&without_user(page, authority))
                .into_owned()
                .into()
        }
        _ => redact_page(page),
    }
}

/// A viewer's Referer as an origin may have it: of a page of the edge's own the
/// scheme and host alone, of any other what holds no token.
pub fn referer_for_origin(referer: &str, is_own: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let Some(authority) = authority_of(referer) else {
        return redact_page(referer);
    };
    let host = &referer[authority.clone()];
    let host = host.rsplit('@').next().unwrap_or_default();
    match is_own(host) {
        true => format!("{}{host}/", &referer[..authority.start]).into(),
        false => redact_page(referer),
    }
}

/// Where a URL's authority stands.
fn authority_of(url: &str) -> Option<Range<usize>> {
    let start = match url.starts_with("//") {
        true => 2,
        false => url.find("://")? + 3,
    };
    let length = url[start..].find(['/', '?', '#', '\\']);
    Some(start..length.map_or(url.len(), |length| start + length))
}

fn without_user(page: &str, authority: Range<usize>) -> String {
    let host = page[authority.clone()].rsplit('@').next();
    let (scheme, path) = (&page[..authority.start], &page[authority.end..]);
    format!("{scheme}{}{path}", host.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "HS256-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";
    const D: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

    #[test]
    fn a_text_loses_its_tokens_and_keeps_the_rest() {
        let table = [
            ("/v/a.ts", "/v/a.ts"),
            ("/v/a.ts?x=1&expires=5", "/v/a.ts?x=1&expires=5"),
            ("/a?token=T&expires=1", "/a?token=redacted&expires=1"),
            ("/a?Token=x", "/a?Token=redacted"),
            ("/a?%74oken=x&b=1", "/a?%74oken=redacted&b=1"),
            ("/a?%2574%6Fken%3dx&b=1", "/a?%2574%6Fken%3dredacted&b=1"),
            ("/a?t%6F%2%36Bken=x", "/a?t%6F%2%36Bken=x"),
            ("/a?token=ab/cd+ef==&b=1", "/a?token=redacted&b=1"),
            ("/a?token=", "/a?token="),
            (
                "/bcdn_token=T&expires=1&token_path=%2Fv%2F/v/a.ts?c=1",
                "/bcdn_token=redacted&expires=1&token_path=%2Fv%2F/v/a.ts?c=1",
            ),
            ("//bcdn_token=T/v/a.ts", "//bcdn_token=redacted/v/a.ts"),
            ("/v/BCDN_TOKEN=T/a.ts", "/v/BCDN_TOKEN=redacted/a.ts"),
            ("/v/a.ts;token=T;b", "/v/a.ts;token=redacted;b"),
            ("/v/a.ts#token=T", "/v/a.ts#token=redacted"),
            (
                "/v/%62cdn_token%3DT%26e/a",
                "/v/%62cdn_token%3Dredacted%26e/a",
            ),
            ("/v/token/a=1", "/v/token/a=1"),
        ];
        for (text, want) in table {
            assert_eq!(redact(text), want, "{text}");
            let shaped = redact(text) != text;
            assert_eq!(carries(text), shaped, "{text}");
        }
    }

    #[test]
    fn a_token_is_told_by_its_shape_where_no_name_tells_it() {
        let table = [
            (format!("/v/{T}/a.ts"), "/v/redacted/a.ts"),
            (format!("player {T}"), "player redacted"),
            (format!("/v/{}", T.to_lowercase()), "/v/redacted"),
            (format!("/v/%2F%48{}", &T[1..]), "/v/%2Fredacted"),
            (format!("/v?t={D}&e=1"), "/v?t=redacted&e=1"),
            (format!("/v?t={}", &D[..22]), "/v?t=redacted"),
            (format!("/{D}&expires=1/v"), "/redacted&expires=1/v"),
        ];
        for (text, want) in table {
            assert_eq!(redact(&text), want, "{text}");
        }
        let bare = [
            "/v?token=\"{}\"",
            "/v?token=';{}",
            "/v?token=;{}",
            "/v?token=&{}",
            "/v?token=&{}&expires=1",
            "/v?token:{}",
            "/v?token%3A{}",
            "/v?token={}",
            "/bcdn_token-{}&expires=1/v",
            "/bcdn_token_{}/v",
            "/bcdn_token{}/v",
            "/bcdn_token/{}/v/a.ts",
            "/token:{}/",
            "/%74oken:{}/",
            "{\"token\":\"{}\"}",
            "{\\\"token\\\":\\\"{}\\\"}",
            "Token {}",
        ];
        for place in bare {
            for digest in [D, &D[..22]] {
                // What `token=` ends at once names no 22 digits.
                let far = place.contains("=;") || place.contains("';") || place.contains("=&");
                let far = far || place.contains("\\\"");
                if far && digest.len() < D.len() {
                    continue;
                }
                let text = place.replace("{}", digest);
                assert_eq!(redact(&text), place.replace("{}", "redacted"));
                assert!(carries(&text), "{text}");
            }
        }
        for text in [format!("/x/{D}/v?token="), format!("/{D}/token/v")] {
            assert_eq!(redact(&text), text.replace(D, "redacted"));
        }
        // Content that is named by its digest keeps its name.
        let named = format!("/v/{D}/{D}.ts?x=1");
        assert_eq!(redact(&named), named);
    }

    #[test]
    fn a_referer_is_its_origin_and_path() {
        let table = [
            ("https://play.example/", "https://play.example/"),
            ("https://a:b@play.example/x?y#z", "https://play.example/x"),
            (
                "http://edge/bcdn_token=T/v/i.m3u8",
                "http://edge/bcdn_token=redacted/v/i.m3u8",
            ),
            (
                "http://edge/v%3Ftoken%3DT",
                "http://edge/v%3Ftoken%3Dredacted",
            ),
            (
                "http://p/x/AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE/y",
                "http://p/x/redacted/y",
            ),
            (
                "https://play.example/watch/the-film-of-all-films-in-forty-three-letters/s1",
                "https://play.example/watch/the-film-of-all-films-in-forty-three-letters/s1",
            ),
            ("android-app://com.example", "android-app://com.example"),
            ("/v/a?token=T", "/v/a"),
        ];
        for (referer, want) in table {
            assert_eq!(redact_referer(referer), want, "{referer}");
        }
    }

    #[test]
    fn an_origin_learns_of_our_own_pages_the_host_alone() {
        let table = [
            ("http://edge:80/bcdn_token=T/v/i.m3u8", "http://edge:80/"),
            ("HTTP://x@edge:80/v/i.m3u8", "HTTP://edge:80/"),
            ("//edge:80?token=T", "//edge:80/"),
            (
                "https://play.example/p?film=7",
                "https://play.example/p?film=7",
            ),
            (
                "https://play.example/p?u=http://edge/a%3Ftoken=T&b",
                "https://play.example/p?u=http://edge/a%3Ftoken=redacted&b",
            ),
        ];
        for (referer, want) in table {
            assert_eq!(referer_for_origin(referer, |host| host == "edge:80"), want);
        }
    }

    #[test]
    fn a_path_holds_a_token_where_it_has_the_shape_of_one() {
        let held = [
            format!("/v/a.ts?token={T}"),
            format!("/v/a.ts?token={D}&expires=1"),
            format!("/v/a.ts?token={}", &D[..22]),
            format!("/v/a.ts%3Ftoken%3D{D}"),
            format!("/v/{T}/a.ts"),
        ];
        for path in held {
            assert!(is_in_path(&path), "{path}");
        }
        let names = [
            format!("/v/{D}/{D}.ts"),
            format!("/token/{D}/a=1.ts"),
            "/v/token=1/a.ts".into(),
            "/v/a.ts?token=".into(),
            "/tokens/a-b=c.ts".into(),
        ];
        for path in names {
            assert!(!is_in_path(&path), "{path}");
        }
    }

    #[test]
    fn a_parameter_is_of_the_token_in_any_spelling() {
        for name in [
            "token",
            "TOKEN",
            "%74oken",
            "token_path",
            "Token_X",
            "limit",
            "Expires",
        ] {
            assert!(is_token_parameter(name), "{name}");
        }
        for name in ["", "tokens", "x", "CMCD", "xtoken"] {
            assert!(!is_token_parameter(name), "{name}");
        }
    }
}
