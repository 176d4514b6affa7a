//! Our signer against AWS's own, byte for byte.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue};
use warren::origin::sigv4::Signer;
use warren::path::encode;
use zeroize::Zeroizing;

/// Headers of a zone; a store reads two of them.
const OWN: [(&str, &str); 3] = [
    ("x-amz-request-payer", "requester"),
    ("x-own", "1"),
    ("x-amz-meta-two", "a  b"),
];

fn oracle(
    method: &str,
    host: &str,
    path: &str,
    token: Option<&str>,
    own: &[(&str, &str)],
    now: SystemTime,
) -> String {
    let identity = Credentials::new(
        "AKEXAMPLE",
        "secret/key+x",
        token.map(str::to_owned),
        None,
        "test",
    )
    .into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = aws_sigv4::http_request::PayloadChecksumKind::XAmzSha256;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name("s3")
        .time(now)
        .settings(settings)
        .build()
        .expect("parameters")
        .into();
    let url = format!("http://{host}{path}");
    let signed = own.iter().copied();
    let signed = signed.filter(|(name, _)| name.starts_with("x-amz-"));
    let request = SignableRequest::new(
        method,
        &url,
        [("host", host)].into_iter().chain(signed),
        SignableBody::Bytes(b""),
    )
    .expect("a request");
    let (instructions, _) = sign(request, &params).expect("signed").into_parts();
    let header = instructions
        .headers()
        .find(|(name, _)| *name == "authorization");
    header
        .map(|(_, value)| value.to_owned())
        .expect("an authorization")
}

#[test]
fn every_signature_is_the_one_that_aws_makes() {
    let keys = [
        "/b/a.ts",
        "/b/with space.ts",
        "/b/ümläut+~.ts",
        "/b/100%.ts",
        "/b//double",
        "/b/a=b&c;d,e:f@g!$'()*.ts",
        "/",
    ];
    let days = [1_893_456_000, 951_782_399, 1_709_164_800, 1_800_000_000];
    for token in [None, Some("session/token+==")] {
        let credentials = warren::origin::Credentials {
            access_key: "AKEXAMPLE".into(),
            secret_key: Zeroizing::new("secret/key+x".into()),
            session_token: token.map(|token| Zeroizing::new(token.into())),
        };
        let signer = Signer::new(credentials, "eu-central-1".into());
        for (key, seconds) in keys
            .iter()
            .flat_map(|key| days.iter().map(move |day| (key, *day)))
        {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            for (method, host, own) in [
                ("GET", "minio:9000", &OWN[..0]),
                ("HEAD", "bucket.s3.example", &OWN[..0]),
                ("GET", "minio:9000", &OWN[..]),
            ] {
                let path = encode(key);
                let headers = own.iter().map(|(name, value)| {
                    let name = HeaderName::from_static(name);
                    (name, HeaderValue::from_static(value))
                });
                let headers: Vec<_> = headers.collect();
                let ours = signer.sign(method, host, &path, &headers, now);
                let ours = ours
                    .iter()
                    .find(|(name, _)| *name == "authorization")
                    .map(|(_, value)| value.as_str());
                let theirs = oracle(method, host, &path, token, own, now);
                assert_eq!(ours, Some(theirs.as_str()), "{method} {key} at {seconds}");
            }
        }
    }
}
