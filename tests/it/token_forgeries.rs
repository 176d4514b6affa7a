//! Forgeries by length extension and by moved boundaries: each starts from a
//! token that a backend really signed, and none is let in.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::block_api::compress256;
use warren::path::EmptySegments;
use warren::token::message::{Message, Token};
use warren::token::{Evidence, Key, Policy, Refusal, Scheme, Target};

const KEY: &[u8] = b"0123456789abcdef";
const NOW: u64 = 1_800_000_000;
const EXPIRES: &str = "1800003600";

fn verdict(target: &str) -> &'static str {
    verdict_with(target, EmptySegments::Refused)
}

fn verdict_with(target: &str, empty: EmptySegments) -> &'static str {
    let mut policy = Policy::new(vec![Key::new("k", KEY).expect("not empty")]);
    policy.schemes = Scheme::ALL.to_vec();
    let evidence = Evidence {
        now: NOW,
        client_ip: IpAddr::from([192, 0, 2, 1]),
        country: None,
        revoked: None,
    };
    let decision = match Target::parse_with(target, empty) {
        Ok(target) => policy.verify(&target, &evidence).map(|_| ()),
        Err(bad) => Err(Refusal::BadPath(bad)),
    };
    decision.map_or_else(Refusal::name, |()| "ok")
}

fn token(scheme: Scheme, path: &str, expires: &str, params: &str) -> String {
    let key = Key::new("k", KEY).expect("not empty");
    Token::make(
        scheme,
        &key,
        Message {
            path,
            expires,
            ip: None,
            params,
        },
    )
    .text()
}

/// The padding that SHA-256 put behind `length` bytes.
fn glue(length: usize) -> Vec<u8> {
    let mut padding = vec![0x80];
    while (length + padding.len()) % 64 != 56 {
        padding.push(0);
    }
    padding.extend((length as u64 * 8).to_be_bytes());
    padding
}

/// SHA-256 of key ‖ message ‖ glue ‖ `suffix`, from the token alone.
fn extend(token: &str, message_length: usize, suffix: &[u8]) -> String {
    let digest = URL_SAFE_NO_PAD.decode(token).expect("a token");
    let mut state = [0u32; 8];
    for (word, bytes) in state.iter_mut().zip(digest.chunks(4)) {
        *word = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    }
    let hashed = KEY.len() + message_length;
    let before = hashed + glue(hashed).len();
    let mut rest = suffix.to_vec();
    rest.extend(glue(before + suffix.len()));
    for block in rest.chunks(64) {
        compress256(&mut state, &[block.try_into().expect("whole blocks")]);
    }
    let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn the_extension_is_real_a_naive_hash_accepts_it() {
    use sha2::Digest;
    let message = format!("/v/a.ts{EXPIRES}");
    let forged = extend(
        &token(Scheme::Sha256, "/v/a.ts", EXPIRES, ""),
        message.len(),
        b"x=1",
    );
    let mut naive = sha2::Sha256::new();
    naive.update(KEY);
    naive.update(&message);
    naive.update(glue(KEY.len() + message.len()));
    naive.update(b"x=1");
    assert_eq!(forged, URL_SAFE_NO_PAD.encode(naive.finalize()));
}

#[test]
fn length_extensions_are_refused_wherever_the_glue_stands() {
    let signed = token(Scheme::Sha256, "/v/a.ts", EXPIRES, "");
    let length = "/v/a.ts".len() + EXPIRES.len();
    let padding = percent(&glue(KEY.len() + length));

    // In the path, with an expiry of the forger's choice.
    let forged = extend(&signed, length, b"/../secret.ts1830000000");
    let target = format!("/v/a.ts{EXPIRES}{padding}/secret.ts?token={forged}&expires=1830000000");
    assert_eq!(verdict(&target), "bad_path");

    // In a directory token for anything.
    let forged = extend(&signed, length, b"1830000000");
    let target = format!(
        "/any.ts?token={forged}&token_path=%2Fv%2Fa.ts{EXPIRES}{padding}&expires=1830000000"
    );
    assert_eq!(verdict(&target), "malformed");

    // In the last parameter's value.
    let signed = token(Scheme::Sha256, "/v/a.ts", EXPIRES, "limit=5");
    let length = length + "limit=5".len();
    let padding = percent(&glue(KEY.len() + length));
    let forged = extend(&signed, length, b"00");
    assert_eq!(
        verdict(&format!(
            "/v/a.ts?token={forged}&limit=5{padding}00&expires={EXPIRES}"
        )),
        "malformed"
    );

    // As a parameter's name.
    let signed = token(Scheme::Sha256, "/v/a.ts", EXPIRES, "");
    let padding = percent(&glue(KEY.len() + "/v/a.ts".len() + EXPIRES.len()));
    let forged = extend(&signed, "/v/a.ts".len() + EXPIRES.len(), b"x=1");
    assert_eq!(
        verdict(&format!(
            "/v/a.ts?token={forged}&{padding}x=1&expires={EXPIRES}"
        )),
        "malformed"
    );
}

#[test]
fn moved_boundaries_are_refused_and_their_neighbours_let_in() {
    let table: &[(&str, String, &str)] = &[
        (
            "digits of the path slide into the expiry",
            format!(
                "/chunk1?token={}&expires=71800003600",
                token(Scheme::Hs256, "/chunk17", EXPIRES, "")
            ),
            "malformed",
        ),
        (
            "digits of the expiry slide into the path",
            format!(
                "/chunk171?token={}&expires=800003600",
                token(Scheme::Hs256, "/chunk17", EXPIRES, "")
            ),
            "malformed",
        ),
        (
            "a ten-digit directory is read as the expiry and the rest as a parameter",
            format!(
                "/v/?token={}&expires=1830000000&/x.ts1800003600=",
                token(Scheme::Sha256, "/v/1830000000/x.ts", EXPIRES, "")
            ),
            "malformed",
        ),
        (
            "two parameters fold into one value, and the limit is gone",
            format!(
                "/a.ts?token={}&a=1%26limit%3D500&expires={EXPIRES}",
                token(Scheme::Hs256, "/a.ts", EXPIRES, "a=1&limit=500")
            ),
            "malformed",
        ),
        (
            "one value unfolds into two parameters",
            format!(
                "/a.ts?token={}&a=1&limit=9&expires={EXPIRES}",
                token(Scheme::Hs256, "/a.ts", EXPIRES, "a=1")
            ),
            "bad_signature",
        ),
        (
            "an expiry beyond the cap",
            format!(
                "/a.ts?token={}&expires=9999999999",
                token(Scheme::Hs256, "/a.ts", "9999999999", "")
            ),
            "expires_too_far",
        ),
        (
            "a leading zero in the expiry",
            format!(
                "/a.ts?token={}&expires=0180000360",
                token(Scheme::Hs256, "/a.ts", "0180000360", "")
            ),
            "malformed",
        ),
        (
            "a parameter twice in two cases",
            format!(
                "/a.ts?token={}&Limit=1&limit=2&expires={EXPIRES}",
                token(Scheme::Hs256, "/a.ts", EXPIRES, "")
            ),
            "malformed",
        ),
        (
            "a token in both carriers",
            format!(
                "/bcdn_token={0}&expires={EXPIRES}/a.ts?token={0}",
                token(Scheme::Hs256, "/a.ts", EXPIRES, "")
            ),
            "malformed",
        ),
        (
            "two blocks",
            format!(
                "/bcdn_token={0}&expires={EXPIRES}/bcdn_token={0}&expires={EXPIRES}/a.ts",
                token(Scheme::Hs256, "/a.ts", EXPIRES, "")
            ),
            "malformed",
        ),
        (
            "a token whose last character has stray bits",
            {
                let mut stray = token(Scheme::Sha256, "/a.ts", EXPIRES, "");
                let last = stray.pop().expect("a token has characters");
                let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let at = alphabet
                    .iter()
                    .position(|c| char::from(*c) == last)
                    .expect("in the alphabet");
                stray.push(char::from(alphabet[at + 1]));
                format!("/a.ts?token={stray}&expires={EXPIRES}")
            },
            "malformed",
        ),
        (
            "the limit of an md5 token was never signed",
            format!(
                "/a.ts?token={}&limit=9&expires={EXPIRES}",
                token(Scheme::Md5, "/a.ts", EXPIRES, "")
            ),
            "bad_signature",
        ),
        (
            "neighbour: a ten-digit directory with its own token",
            format!(
                "/v/1830000000/x.ts?token={}&expires={EXPIRES}",
                token(Scheme::Sha256, "/v/1830000000/x.ts", EXPIRES, "")
            ),
            "ok",
        ),
        (
            "neighbour: an equals sign in a signed value",
            format!(
                "/a.ts?token={}&CMCD=br%3D128&expires={EXPIRES}",
                token(Scheme::Hs256, "/a.ts", EXPIRES, "CMCD=br=128")
            ),
            "ok",
        ),
        (
            "neighbour: the plain md5 token",
            format!(
                "/a.ts?token={}&expires={EXPIRES}",
                token(Scheme::Md5, "/a.ts", EXPIRES, "")
            ),
            "ok",
        ),
    ];
    for (name, target, want) in table {
        assert_eq!(verdict(target), *want, "{name}: {target}");
    }
}

#[test]
fn one_flipped_bit_of_a_token_is_a_bad_signature() {
    for scheme in Scheme::ALL {
        let good = token(scheme, "/a.ts", EXPIRES, "");
        let prefix = good.len() - 20;
        for at in prefix..good.len() - 1 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(
                verdict(&format!("/a.ts?token={forged}&expires={EXPIRES}")),
                "bad_signature"
            );
        }
    }
}

#[test]
fn a_path_that_holds_a_scheme_is_signed_as_the_path_that_it_is() {
    let key = Key::new("k", KEY).expect("not empty");
    let path = "/mirror/http://origin.test/a.ts";
    let options = warren::token::sign::Options {
        empty_segments: EmptySegments::Kept,
        ..Default::default()
    };
    let url = warren::token::sign::sign(path, &key, Scheme::Hs256, NOW + 3600, &options);
    let url = url.expect("signs");
    assert_eq!(verdict_with(&url, EmptySegments::Kept), "ok");
    assert_eq!(verdict(&url), "bad_path");
}

#[test]
fn a_token_for_a_name_that_looks_encoded_opens_no_other_object() {
    for scheme in [Scheme::Hs256, Scheme::Sha256, Scheme::Md5] {
        let of = |signed: &str, asked: &str| {
            let token = token(scheme, signed, EXPIRES, "");
            verdict(&format!("{asked}?token={token}&expires={EXPIRES}"))
        };
        // What a viewer has chosen as a name, its right URL, and his neighbour's.
        let table = [
            ("/u/%61dmin.ts", "/u/%2561dmin.ts", "/u/%61dmin.ts"),
            ("/u/%2Dx.ts", "/u/%252Dx.ts", "/u/%2Dx.ts"),
            ("/u/%7e.ts", "/u/%257e.ts", "/u/%7e.ts"),
            ("/%75/a%20b.ts", "/%2575/a%2520b.ts", "/%75/a%20b.ts"),
        ];
        for (name, right, wrong) in table {
            assert_eq!(of(name, right), "ok", "{name}");
            assert_eq!(of(name, wrong), "bad_signature", "{name}");
        }
        // The encoded path, as signers in the field hash it.
        for path in ["/u/a%20b.ts", "/u/%C3%A9.ts", "/u/100%25.ts", "/u/a%2bb.ts"] {
            assert_eq!(of(path, path), "ok", "{path}");
        }
        let mut policy = Policy::new(vec![Key::new("k", KEY).expect("not empty")]);
        policy.schemes = Scheme::ALL.to_vec();
        policy.encoded_path = false;
        let evidence = Evidence {
            now: NOW,
            client_ip: IpAddr::from([192, 0, 2, 1]),
            country: None,
            revoked: None,
        };
        let token = token(scheme, "/u/a%20b.ts", EXPIRES, "");
        let target = format!("/u/a%20b.ts?token={token}&expires={EXPIRES}");
        let target = Target::parse(&target).expect("a target");
        let refused = policy.verify(&target, &evidence).err();
        assert_eq!(refused, Some(Refusal::BadSignature), "switched off");
    }
}

#[test]
fn what_the_edge_would_refuse_or_read_in_two_ways_is_not_signed() {
    use warren::token::sign::{Options, SignError, sign};
    let key = Key::new("k", KEY).expect("not empty");
    let of = |path: &str, options: &Options| {
        sign(path, &key, Scheme::Hs256, NOW + 3600, options).map(|_| ())
    };
    let table = [
        ("/u/%2561dmin.ts", None),
        ("/u/100%25.ts", Some(Ok(()))),
        ("//v/a.ts", Some(Err("bad_path"))),
        ("/v//a.ts", Some(Err("bad_path"))),
        ("/v/", Some(Ok(()))),
    ];
    for (path, want) in table {
        let got = of(path, &Options::default());
        match want {
            Some(Ok(())) => assert_eq!(got, Ok(()), "{path}"),
            Some(Err(want)) => assert!(
                matches!(&got, Err(SignError::EdgeRefuses { name, .. }) if *name == want),
                "{path}: {got:?}"
            ),
            None => assert!(
                matches!(got, Err(SignError::HoldsEscape(_))),
                "{path}: {got:?}"
            ),
        }
        let force = Options {
            force: true,
            ..Options::default()
        };
        assert_eq!(of(path, &force), Ok(()), "{path}");
    }
}
