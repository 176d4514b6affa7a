//! The `[zone.origin]` table.

use std::time::Duration;

use http::HeaderName;

use super::section::Section;
use super::zone::goes_on;
use crate::origin::redirect::RedirectHost;
use crate::origin::{Credentials, Deadlines, Endpoint, HealthCheck, Kind, Settings};
use crate::path::{CanonicalPath, encode};

/// Requests to one origin at a time, unless the zone says else: enough for a
/// busy node, few enough not to drown a small MinIO.
const DEFAULT_MAX_PULLS: u64 = 256;
/// Between two health checks of an endpoint, where there is another to go to.
const DEFAULT_HEALTH_INTERVAL: Duration = Duration::from_secs(5);

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
        "URLs such as \"http://minio:9000\", without a query",
        Endpoint::parse,
    );
    if endpoints.is_empty() && !table.has("endpoints") {
        let hint = "write endpoints = [\"http://minio:9000\"] under [zone.origin]";
        table.problem("endpoints", "no endpoint", "at least one URL", hint);
    }
    let prefix = table.parsed("prefix", "a folder such as \"/public/media\"", |text| {
        let folder = text.trim_end_matches('/');
        let path = CanonicalPath::parse(&encode(folder)).ok()?;
        Some(path.as_str().to_owned())
    });
    let tls_name = table.parsed("tls_name", "a host name", |text| {
        let endpoint = Endpoint::parse(&format!("https://{text}"))?;
        (endpoint.host == text).then_some(endpoint.host)
    });
    let https = endpoints.iter().any(|endpoint| endpoint.tls);
    if tls_name.is_some() && !https {
        let hint = "leave it out, or write endpoints = [\"https://…\"]";
        table.problem(
            "tls_name",
            "no https endpoint",
            "beside https endpoints",
            hint,
        );
    }
    let is_http = matches!(kind, Some(Kind::Http { .. }));
    let forward_host = is_http && table.flag("forward_host", false);
    let hosts = "hosts such as \"store.example.net\" or \"*.example.net\"";
    let redirects = table.list("redirects", hosts, RedirectHost::parse);
    let missing_as = missing_as(&table);
    let defaults = Deadlines::default();
    let time = |name, default| table.duration_or(name, default);
    let deadlines = Deadlines {
        connect: time("connect_timeout", defaults.connect),
        first_byte: time("first_byte_timeout", defaults.first_byte),
        between_bytes: time("between_bytes_timeout", defaults.between_bytes),
        total: time("total_timeout", defaults.total),
        queue: time("queue_timeout", defaults.queue),
        answer: time("answer_timeout", defaults.answer),
    };
    let max_pulls = table.integer_or("max_pulls", 1..=65_536, DEFAULT_MAX_PULLS) as usize;
    let ca_file = ca_file(&table);
    let mut headers = table.headers("headers");
    let own = ["host", "via", "x-amz-date", "x-amz-content-sha256"];
    let is_own = |name: &HeaderName| !goes_on(name) || own.contains(&name.as_str());
    for (name, _) in headers.iter().filter(|(name, _)| is_own(name)) {
        let allowed = "a header that frames no message, and that the edge does not say itself";
        let hint = "the edge would say it twice: for Host there is origin.host";
        table.problem("headers", name.to_string(), allowed, hint);
    }
    // A key may be among them: it is printed nowhere.
    headers
        .iter_mut()
        .for_each(|(_, value)| value.set_sensitive(true));
    let health = health(&table, endpoints.len());
    let sound = table.finish();
    let settings = Settings {
        kind: kind?,
        endpoints,
        prefix: prefix.unwrap_or_default(),
        tls_name,
        forward_host,
        redirects,
        headers,
        missing_as,
        deadlines,
        max_pulls,
        ca_file,
        health,
    };
    sound.then_some(settings)
}

fn ca_file(table: &Section<'_>) -> Option<String> {
    let path = table.file("ca_file")?;
    if let Err(why) = crate::listen::check_authorities(&path) {
        let hint = "name the PEM file with your certificate authority, or remove the key";
        table.file_problem("ca_file", why, "a PEM file with certificates", hint);
    }
    Some(path.display().to_string())
}

fn health(table: &Section<'_>, endpoints: usize) -> HealthCheck {
    let path = table.parsed(
        "health_path",
        "a path such as \"/minio/health/live\"",
        |text| {
            let sound = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
            sound.then(|| text.to_owned())
        },
    );
    let default = match endpoints {
        0 | 1 => Duration::ZERO,
        _ => DEFAULT_HEALTH_INTERVAL,
    };
    let interval = table.duration_or("health_interval", default);
    HealthCheck { path, interval }
}

fn s3(table: &Section<'_>) -> Option<Kind> {
    let bucket = table.required_text("bucket", "the bucket's name");
    let region = table
        .text("region")
        .unwrap_or_else(|| "us-east-1".to_owned());
    table.shows("region", "us-east-1");
    table.shows("style", "path");
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
    table.shows("missing_as", vec![404]);
    if !table.has("missing_as") {
        return vec![404];
    }
    table
        .integers("missing_as", 400..=499)
        .into_iter()
        .map(|status| status as u16)
        .collect()
}
