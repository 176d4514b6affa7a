//! Whatever a signer of the vendor's makes is let in: one signer of our own for
//! each way in which those differ, each with a thousand random inputs.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use warren::token::{Evidence, Key, Policy, Scheme, Target};

const KEY: &str = "5b2f0c1e-7d55-4d0e-9c53-0f5a1c7b9e21";
const EXPIRES: u64 = 1_893_456_000;
const VIEWER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 42);

/// How a signer goes about it. The default is the first one's: everything
/// decoded, parameters by bytes, everything encoded in the URL.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    sha256: bool,
    signs_encoded_path: bool,
    encoded_token_path: bool,
    /// As a URL parser encodes a path: what must be, and no more.
    lenient_path: bool,
    order: Order,
    /// Raw in a query for a space, or for itself.
    plus: Plus,
    address: Address,
}

#[derive(Debug, Clone, Copy, Default)]
enum Order {
    #[default]
    Bytes,
    /// Node's `localeCompare`.
    Locale,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Plus {
    #[default]
    Encoded,
    RawForItself,
    RawForSpace,
}

#[derive(Debug, Clone, Copy, Default)]
enum Address {
    #[default]
    None,
    Whole,
    /// The last byte zero.
    Net24,
}

/// What a backend asks a signer for.
#[derive(Debug, Clone)]
struct Input {
    /// Segments, decoded.
    path: Vec<String>,
    params: Vec<(String, String)>,
    path_form: bool,
    /// So many segments of the path are the folder.
    folder: Option<usize>,
    ignore: bool,
}

fn percent(text: &str, stays: impl Fn(u8) -> bool) -> String {
    let encode = |byte: u8| match stays(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What the WHATWG's parser leaves alone in a path. A `%` of a name is the
/// caller's to encode.
fn path_stays(byte: u8) -> bool {
    byte.is_ascii_graphic() && !br##""#<>?`{}%^"##.contains(&byte)
}

/// The place of a character in the order of ICU's root collation.
fn collation(name: &str) -> Vec<usize> {
    const ORDER: &str = "_-.0123456789abcdefghijklmnopqrstuvwxyz";
    let place = |c: char| ORDER.find(c.to_ascii_lowercase()).expect("a name's letter");
    name.chars().map(place).collect()
}

/// The target that the signer makes.
fn target(way: Way, input: &Input) -> String {
    let stays = |byte| {
        if way.lenient_path {
            path_stays(byte)
        } else {
            unreserved(byte)
        }
    };
    let encoded: Vec<String> = input.path.iter().map(|name| percent(name, stays)).collect();
    let (decoded_path, path) = (joined(&input.path), joined(&encoded));
    let folder = input.folder.map(|segments| match way.encoded_token_path {
        true => format!("{}/", joined(&encoded[..segments])),
        false => format!("{}/", joined(&input.path[..segments])),
    });
    let mut params = input.params.clone();
    if input.ignore {
        params = vec![("token_ignore_params".into(), "true".into())];
    }
    params.extend(
        folder
            .clone()
            .map(|folder| ("token_path".to_owned(), folder)),
    );
    match way.order {
        Order::Bytes => params.sort(),
        Order::Locale => params.sort_by_key(|(name, _)| collation(name)),
    }
    let pairs = |value: &dyn Fn(&str) -> String| -> Vec<String> {
        let pair = |(name, text): &(String, String)| format!("{name}={}", value(text));
        params.iter().map(pair).collect()
    };
    let message = pairs(&str::to_owned).join("&");
    let in_url = pairs(&|text| match way.plus {
        Plus::Encoded => percent(text, unreserved),
        Plus::RawForItself => percent(text, |byte| unreserved(byte) || byte == b'+'),
        Plus::RawForSpace => percent(text, unreserved).replace("%20", "+"),
    });
    let own_path = if way.signs_encoded_path {
        &path
    } else {
        &decoded_path
    };
    let signed_path = folder.as_ref().unwrap_or(own_path);
    let token = token(way, signed_path, &message);
    let tail: String = in_url.iter().map(|pair| format!("&{pair}")).collect();
    match input.path_form {
        true => format!("/bcdn_token={token}{tail}&expires={EXPIRES}{path}"),
        false => format!("{path}?token={token}{tail}&expires={EXPIRES}"),
    }
}

fn joined(names: &[String]) -> String {
    names.iter().map(|name| format!("/{name}")).collect()
}

fn token(way: Way, path: &str, params: &str) -> String {
    let [a, b, c, _] = VIEWER.octets();
    let address = match way.address {
        Address::None => None,
        Address::Whole => Some(VIEWER),
        Address::Net24 => Some(Ipv4Addr::new(a, b, c, 0)),
    };
    if way.sha256 {
        let address = address.map(|ip| ip.to_string()).unwrap_or_default();
        let digest = Sha256::digest(format!("{KEY}{path}{EXPIRES}{address}{params}"));
        return URL_SAFE_NO_PAD.encode(digest);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).expect("any length");
    mac.update(format!("{path}{EXPIRES}").as_bytes());
    mac.update(&address.map(|ip| ip.octets().to_vec()).unwrap_or_default());
    mac.update(params.as_bytes());
    let flag = if address.is_some() { "1-" } else { "" };
    let digest = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("HS256-{flag}{digest}")
}

fn input() -> impl Strategy<Value = Input> {
    // Ten digits before a name and `=` are refused by our own signer; a name
    // that is a dot, or reads as an escape, is no object's.
    let name = "[a-zA-Z0-9 éß日+!'(),;:@$*~_.\\-]{1,10}(\\.ts|\\.m3u8)?";
    let name = name.prop_filter("no dots alone", |name| name != "." && name != "..");
    let param = ("[a-zA-Z][a-zA-Z0-9_.-]{0,6}", "[a-zA-Z0-9 éß+/=,:-]{1,12}");
    let reserved = [
        "token",
        "expires",
        "limit",
        "bcdn_token",
        "token_path",
        "token_countries",
        "token_countries_blocked",
        "token_ignore_params",
    ];
    let params = prop::collection::vec(param, 0..5).prop_map(move |params| {
        let mut taken: Vec<String> = reserved.map(str::to_owned).to_vec();
        let mut first = |(name, _): &(String, String)| {
            let lower = name.to_ascii_lowercase();
            let new = !taken.contains(&lower);
            taken.push(lower);
            new
        };
        params.into_iter().filter(|param| first(param)).collect()
    });
    let path = prop::collection::vec(name, 2..5);
    (
        path,
        params,
        any::<bool>(),
        any::<Option<bool>>(),
        any::<bool>(),
    )
        .prop_map(|(path, params, path_form, folder, ignore)| Input {
            folder: folder.map(|deep| if deep { path.len() - 1 } else { 1 }),
            path,
            params,
            path_form,
            ignore,
        })
}

/// What the edge says of it.
fn verdict(target: &str) -> Result<(), String> {
    let mut policy = Policy::new(vec![Key::new("k", KEY.as_bytes()).expect("a key")]);
    policy.schemes = vec![Scheme::Hs256, Scheme::Sha256];
    let evidence = Evidence {
        now: EXPIRES - 60,
        client_ip: IpAddr::V4(VIEWER),
        country: None,
        revoked: None,
    };
    let parsed = Target::parse(target).map_err(|bad| format!("{bad:?}"))?;
    let grant = policy.verify(&parsed, &evidence);
    grant
        .map(|_| ())
        .map_err(|refusal| refusal.name().to_owned())
}

/// A thousand URLs of one signer, and none of them with another path.
fn lets_in(way: Way) {
    let config = ProptestConfig {
        cases: 1000,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let run = runner.run(&input(), |input| {
        let url = target(way, &input);
        prop_assert_eq!(verdict(&url), Ok(()), "{:?}: {}", way, url);
        let elsewhere = Input {
            path: input.path.iter().map(|name| format!("x{name}")).collect(),
            ..input
        };
        let own = target(way, &elsewhere);
        let (path, moved) = (joined_path(&url), joined_path(&own));
        let moved = url.replacen(&path, &moved, 1);
        prop_assert!(
            moved != url && verdict(&moved).is_err(),
            "{:?}: {}",
            way,
            moved
        );
        Ok(())
    });
    run.unwrap_or_else(|found| panic!("{found}"));
}

/// The object's path in a target of either form.
fn joined_path(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    match path.strip_prefix("/bcdn_token=") {
        Some(rest) => rest[rest.find('/').expect("a path")..].to_owned(),
        None => path.to_owned(),
    }
}

macro_rules! signers {
    ($($name:ident: $way:expr;)*) => { $(
        #[test]
        fn $name() {
            for sha256 in [false, true] {
                lets_in(Way { sha256, ..$way });
            }
        }
    )* };
}

signers! {
    a_signer_of_decoded_paths_is_let_in: Way::default();
    a_signer_of_the_urls_own_path_is_let_in: Way {
        signs_encoded_path: true,
        ..Way::default()
    };
    a_signer_of_a_path_as_a_url_parser_leaves_it_is_let_in: Way {
        signs_encoded_path: true,
        lenient_path: true,
        ..Way::default()
    };
    a_signer_of_an_encoded_folder_is_let_in: Way {
        encoded_token_path: true,
        ..Way::default()
    };
    a_signer_of_a_folder_as_a_url_parser_leaves_it_is_let_in: Way {
        encoded_token_path: true,
        lenient_path: true,
        ..Way::default()
    };
    a_signer_that_sorts_as_node_does_is_let_in: Way {
        order: Order::Locale,
        ..Way::default()
    };
    a_signer_that_leaves_a_plus_is_let_in: Way {
        plus: Plus::RawForItself,
        ..Way::default()
    };
    a_signer_that_writes_a_space_as_a_plus_is_let_in: Way {
        plus: Plus::RawForSpace,
        ..Way::default()
    };
    a_signer_of_a_whole_address_is_let_in: Way {
        address: Address::Whole,
        ..Way::default()
    };
    a_signer_of_a_network_is_let_in: Way {
        address: Address::Net24,
        ..Way::default()
    };
    a_signer_of_all_that_differs_is_let_in: Way {
        signs_encoded_path: true,
        encoded_token_path: true,
        lenient_path: true,
        order: Order::Locale,
        plus: Plus::RawForSpace,
        address: Address::Net24,
        ..Way::default()
    };
}
