//! The `[zone.origin]` table.

use super::section::Section;
use crate::origin::{Credentials, Deadlines, Endpoint, Kind, Settings};

/// Requests to one origin at a time, unless the zone says else: enough for a
/// busy node, few enough not to drown a small MinIO.
const DEFAULT_MAX_PULLS: u64 = 256;

pub(super) fn origin(zone: &Section<'_>) -> Option<Settings> {
    let table = zone.section("origin");
    let kind = match table.required_text("kind", "\"s3\" or \"http\"").as_deref() {
        Some("s3") => s3(&table),
        Some("http") => Some(Kind::Http {
            host: table.text("host"),
        }),
        Some(other) => {
            table.problem(
                "kind",
                format!("{other:?}"),
                "s3 or http",
                "MinIO, R2, Ceph and AWS are s3",
            );
            None
        }
        None => None,
    };
    let endpoints = table.list(
        "endpoints",
        "URLs such as \"http://minio:9000\", without a path",
        Endpoint::parse,
    );
    if endpoints.is_empty() && !table.has("endpoints") {
        let hint = "write endpoints = [\"http://minio:9000\"] under [zone.origin]";
        table.problem("endpoints", "no endpoint", "at least one URL", hint);
    }
    let missing_as = missing_as(&table);
    let defaults = Deadlines::default();
    let deadlines = Deadlines {
        connect: table
            .duration("connect_timeout")
            .unwrap_or(defaults.connect),
        first_byte: table
            .duration("first_byte_timeout")
            .unwrap_or(defaults.first_byte),
        between_bytes: table
            .duration("between_bytes_timeout")
            .unwrap_or(defaults.between_bytes),
        total: table.duration("total_timeout").unwrap_or(defaults.total),
        queue: table.duration("queue_timeout").unwrap_or(defaults.queue),
    };
    let max_pulls = table
        .integer("max_pulls", 1..=65_536)
        .unwrap_or(DEFAULT_MAX_PULLS) as usize;
    let ca_file = table.file("ca_file").map(|path| path.display().to_string());
    let headers = headers(&table);
    let sound = table.finish();
    let settings = Settings {
        kind: kind?,
        endpoints,
        headers,
        missing_as,
        deadlines,
        max_pulls,
        ca_file,
    };
    sound.then_some(settings)
}

fn s3(table: &Section<'_>) -> Option<Kind> {
    let bucket = table.required_text("bucket", "the bucket's name");
    let region = table
        .text("region")
        .unwrap_or_else(|| "us-east-1".to_owned());
    let style = table.parsed("style", "path or virtual", |text| match text {
        "path" => Some(false),
        "virtual" => Some(true),
        _ => None,
    });
    let access_key = table.secret("access_key", "the access key id");
    let secret_key = table.secret("secret_key", "the secret access key");
    let session_token = table.secret("session_token", "the session token");
    if table.has("access_key") != table.has("secret_key") {
        let hint =
            "set both access_key and secret_key, or neither for a bucket that everybody may read";
        table.problem(
            "secret_key",
            "one of access_key and secret_key",
            "both or neither",
            hint,
        );
    }
    let credentials = access_key
        .zip(secret_key)
        .map(|(access_key, secret_key)| Credentials {
            access_key: access_key.to_string(),
            secret_key,
            session_token,
        });
    Some(Kind::S3 {
        bucket: bucket?,
        region,
        virtual_host: style.unwrap_or(false),
        credentials,
    })
}

fn missing_as(table: &Section<'_>) -> Vec<u16> {
    if !table.has("missing_as") {
        return vec![404];
    }
    table
        .integers("missing_as", 400..=499)
        .into_iter()
        .map(|status| status as u16)
        .collect()
}

fn headers(table: &Section<'_>) -> Vec<(http::HeaderName, http::HeaderValue)> {
    let mut out = Vec::new();
    for (name, value) in table.pairs("headers") {
        match (name.parse(), value.parse()) {
            (Ok(name), Ok(value)) => out.push((name, value)),
            _ => {
                let found = format!("{name:?}");
                table.problem(
                    "headers",
                    found,
                    "HTTP header names with their values",
                    "as in { \"X-Origin-Key\" = \"…\" }",
                );
            }
        }
    }
    out
}
