//! The public vectors: what `sign` must emit and what the edge must decide.

use std::net::IpAddr;

use serde_json::Value;
use warren::token::sign::{Form, Options, SignError, sign};
use warren::token::{Evidence, Key, Policy, Refusal, Scheme, Target};

fn vectors(name: &str) -> Vec<Value> {
    let path = format!(
        "{}/tests/fixtures/vectors/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).expect("the vectors are part of the repository");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn text<'v>(vector: &'v Value, field: &str) -> &'v str {
    vector[field].as_str().unwrap_or_default()
}

fn all_schemes(keys: Vec<Key>) -> Policy {
    let mut policy = Policy::new(keys);
    policy.schemes = Scheme::ALL.to_vec();
    policy
}

fn reason(policy: &Policy, target: &str, evidence: &Evidence<'_>) -> &'static str {
    let decision = match Target::parse(target) {
        Ok(target) => policy.verify(&target, evidence).map(|_| ()),
        Err(bad) => Err(Refusal::BadPath(bad)),
    };
    decision.map_or_else(Refusal::name, |()| "ok")
}

fn options(vector: &Value) -> Options {
    let params = &vector["params"];
    let given = |name: &str| Some(text(params, name).to_owned()).filter(|value| !value.is_empty());
    Options {
        form: if params["directory"] == true {
            Form::Path
        } else {
            Form::Query
        },
        token_path: given("token_path"),
        ip: text(vector, "ip").parse().ok(),
        countries: given("token_countries"),
        countries_blocked: given("token_countries_blocked"),
        limit: params["limit"].as_u64().filter(|limit| *limit > 0),
        ignore_params: params["token_ignore_params"] == true,
        force: vector["edge_refuses"].is_string() || text(params, "token_path").contains('%'),
        ..Options::default()
    }
}

#[test]
fn sign_emits_every_vector_and_the_edge_accepts_or_refuses_it_by_name() {
    let vectors = vectors("sign");
    let known = vectors
        .iter()
        .filter_map(|v| Some((v, Scheme::from_name(text(v, "scheme"))?)));
    for (vector, scheme) in known {
        let name = text(vector, "name");
        let key =
            Key::new("k", text(vector, "security_key").as_bytes()).expect("a vector has a key");
        let expires = vector["expires"].as_u64().expect("a vector has an expiry");
        let options = options(vector);
        let signed = sign(text(vector, "url"), &key, scheme, expires, &options);
        let Some(want) = vector["expected_url"].as_str() else {
            assert!(
                matches!(signed, Err(SignError::Duplicate(_))),
                "{name}: {signed:?}"
            );
            continue;
        };
        assert_eq!(signed.as_deref(), Ok(want), "{name}");
        if options.force {
            let unforced = Options {
                force: false,
                ..options.clone()
            };
            let refused = sign(text(vector, "url"), &key, scheme, expires, &unforced);
            assert!(
                matches!(
                    refused,
                    Err(SignError::EdgeRefuses { .. } | SignError::HoldsEscape(_))
                ),
                "{name}: {refused:?}"
            );
        }
        let country = options
            .countries
            .as_deref()
            .map(|list| list.trim().to_ascii_uppercase());
        let evidence = Evidence {
            now: expires - 60,
            client_ip: options.ip.unwrap_or(IpAddr::from([192, 0, 2, 1])),
            country: country.and_then(|list| list.as_bytes()[..2].try_into().ok()),
            revoked: None,
        };
        let target = &want[want[8..].find('/').expect("an absolute URL") + 8..];
        let want = vector["edge_refuses"].as_str().unwrap_or("ok");
        assert_eq!(
            reason(&all_schemes(vec![key]), target, &evidence),
            want,
            "{name}"
        );
    }
    assert_eq!(vectors.len(), 116);
}

#[test]
fn a_vector_of_an_unknown_scheme_is_refused_by_name() {
    for vector in vectors("sign")
        .iter()
        .filter(|v| Scheme::from_name(text(v, "scheme")).is_none())
    {
        let key =
            Key::new("k", text(vector, "security_key").as_bytes()).expect("a vector has a key");
        let url = text(vector, "expected_url");
        let target = &url[url[8..].find('/').expect("an absolute URL") + 8..];
        let now = vector["expires"].as_u64().expect("a vector has an expiry") - 60;
        let evidence = Evidence {
            now,
            client_ip: IpAddr::from([192, 0, 2, 1]),
            country: None,
            revoked: None,
        };
        assert_eq!(
            reason(&all_schemes(vec![key]), target, &evidence),
            text(vector, "edge_refuses")
        );
    }
}

#[test]
fn verify_decides_every_vector_as_written() {
    let vectors = vectors("verify");
    for vector in &vectors {
        let keys = vector["keys"]
            .as_array()
            .expect("a vector has keys")
            .iter()
            .map(|key| {
                Key::new("k", key.as_str().unwrap_or_default().as_bytes())
                    .expect("a vector has a key")
            });
        let mut policy = all_schemes(keys.collect());
        policy.validate_ip = vector["token_ip_validation"] == true;
        let evidence = Evidence {
            now: vector["now"].as_u64().expect("a vector has a clock"),
            client_ip: text(vector, "client_ip")
                .parse()
                .expect("a vector has an address"),
            country: text(vector, "country").as_bytes().try_into().ok(),
            revoked: None,
        };
        let got = reason(&policy, text(vector, "target"), &evidence);
        let name = text(vector, "name");
        let wanted = vector["reason_any_of"]
            .as_array()
            .expect("a vector has reasons");
        assert!(
            wanted.iter().any(|want| want == got),
            "{name}: {got} is not among {wanted:?}"
        );
        assert_eq!(vector["allow"] == true, got == "ok", "{name}");
    }
    assert_eq!(vectors.len(), 42);
}
