//! What object stores say where they do not serve: each fault has its name, no
//! status of theirs that means ours reaches a viewer, and HEAD is no blind spot.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::edge::{Setup, TestEdge, metric, signed};
use crate::origin::{DevOrigin, DevOriginOptions, Fault, Reply, SeenRequest};
use crate::served::{Process, free_port};
use crate::tls::certify;

/// An answer of a store: status, code, message and header lines.
type Said = (
    u16,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

async fn store() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let origin = origin.expect("the origin starts");
    origin.put("/media/there.ts", "segment", "video/mp2t");
    origin
}

fn says((status, code, message, headers): Said) -> Reply {
    let body = match (code, message) {
        ("", "") => String::new(),
        _ => format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"),
    };
    let reply = Reply::new(status, body).with_header("Content-Type", "application/xml");
    let add = |reply: Reply, (name, value): &(&str, &str)| reply.with_header(name, value);
    headers.iter().fold(reply, add)
}

fn series(reason: &str) -> String {
    format!("warren_pull_failures_total{{reason=\"{reason}\",zone=\"test\"}}")
}

async fn ask(edge: &TestEdge, method: &str, path: &str) -> (u16, Option<String>) {
    let reply = edge.send(method, &signed(&edge.clock, path), &[]).await;
    let text = String::from_utf8_lossy(&reply.body);
    assert!(!text.contains('<'), "{method} {path}: {text}");
    let later = reply.header("retry-after").map(str::to_owned);
    (reply.status, later)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_ours_has_a_name_and_no_status_of_the_stores_for_get_and_head() {
    let region: &[(&str, &str)] = &[("x-amz-bucket-region", "eu-central-1")];
    let table: &[(Said, u16, &str)] = &[
        (
            (
                404,
                "NoSuchBucket",
                "The specified bucket does not exist",
                &[],
            ),
            502,
            "no_such_bucket",
        ),
        (
            (404, "Error", "no such bucket: media", &[]),
            502,
            "no_such_bucket",
        ),
        (
            (
                301,
                "PermanentRedirect",
                "use the specified endpoint",
                region,
            ),
            502,
            "wrong_region",
        ),
        (
            (307, "TemporaryRedirect", "Please re-send", &[]),
            502,
            "wrong_region",
        ),
        (
            (
                400,
                "AuthorizationHeaderMalformed",
                "the region 'us-east-1' is wrong; expecting 'eu-central-1'",
                &[],
            ),
            502,
            "wrong_region",
        ),
        ((400, "", "", region), 502, "wrong_region"),
        ((403, "InvalidAccessKeyId", "", &[]), 502, "credential"),
        ((403, "SignatureDoesNotMatch", "", &[]), 502, "credential"),
        (
            (403, "AccessDenied", "Forbidden: No such key: GK1", &[]),
            502,
            "credential",
        ),
        ((401, "Unauthorized", "", &[]), 502, "credential"),
        ((400, "ExpiredToken", "", &[]), 502, "credential"),
        ((403, "InvalidObjectState", "", &[]), 502, "cold_storage"),
        ((403, "SlowDown", "", &[]), 503, "throttled"),
        ((403, "BandwidthLimitExceeded", "", &[]), 503, "throttled"),
        ((403, "QuotaExceeded", "", &[]), 502, "denied"),
        ((403, "UserDisabled", "", &[]), 502, "denied"),
        (
            (403, "AccessDenied", "Transaction cap exceeded", &[]),
            502,
            "denied",
        ),
        ((400, "InvalidRequest", "", &[]), 502, "rejected"),
        ((405, "MethodNotAllowed", "", &[]), 502, "rejected"),
        ((411, "MissingContentLength", "", &[]), 502, "rejected"),
        ((412, "PreconditionFailed", "", &[]), 502, "rejected"),
        ((501, "NotImplemented", "", &[]), 502, "rejected"),
        ((409, "OperationAborted", "", &[]), 503, "throttled"),
        (
            (409, "ConditionalRequestConflict", "", &[]),
            503,
            "throttled",
        ),
        ((409, "InvalidRequest", "", &[]), 502, "rejected"),
        ((412, "AccessDenied", "", &[]), 502, "denied"),
        ((410, "NoSuchBucket", "", &[]), 502, "no_such_bucket"),
        ((429, "SlowDown", "", &[]), 503, "throttled"),
        ((503, "SlowDown", "", &[]), 503, "server_error"),
        ((500, "InternalError", "", &[]), 503, "server_error"),
        ((404, "NoSuchKey", "", &[]), 404, ""),
        ((403, "AccessDenied", "Access Denied.", &[]), 404, ""),
    ];
    for (said, status, reason) in table {
        let origin = store().await;
        let reply = says(*said);
        let bodiless = reply.body.is_empty();
        origin.on("/media/*", Arc::new(move |_| reply.clone()));
        let mut setup = Setup::s3(origin.addr());
        setup.origin.push_str("missing_as = [404, 403]\n");
        let edge = setup.start().await;
        for method in ["GET", "HEAD"] {
            let before = origin.requests().len();
            let (got, later) = ask(&edge, method, &format!("/{method}.ts")).await;
            assert_eq!(got, *status, "{method} {said:?}");
            let heals = *status == 503;
            assert_eq!(later.is_some(), heals, "{method} {said:?}: Retry-After");
            let asked = origin.requests().len() - before;
            let tries = if heals { 2 } else { 1 };
            let asks = method == "HEAD" || bodiless;
            let most = if asks { 2 * tries } else { tries };
            assert!(asked <= most, "{method} {said:?}: {asked} requests");
        }
        if !reason.is_empty() {
            let text = edge.metrics().await;
            let want = format!("{} 2", series(reason));
            assert!(text.contains(&want), "{said:?}: {want}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_raises_no_alarm_by_the_name_that_he_asks_for() {
    let names = [
        ("tom&signature.ts", "v/tom&amp;signature.ts"),
        ("enc signature.ts", "v/enc%20signature.ts"),
        ("enc clock.ts", "/media/v/enc%20clock.ts"),
        ("no such bucket.ts", "no+such+bucket.ts"),
        ("access key.ts", "v%2Faccess%20key.ts"),
    ];
    let origin = store().await;
    let mut setup = Setup::s3(origin.addr());
    setup.origin.push_str("missing_as = [404, 403]\n");
    let edge = setup.start().await;
    for (name, echoed) in names {
        let body =
            format!("<Error><Code>AccessDenied</Code><Message>not {echoed}</Message></Error>");
        let reply = Reply::new(403, body).with_header("Content-Type", "application/xml");
        origin.on("/media/*", Arc::new(move |_| reply.clone()));
        for method in ["GET", "HEAD"] {
            let got = ask(&edge, method, &format!("/v/{name}")).await.0;
            assert_eq!(got, 404, "{method} {echoed}");
        }
    }
    for reason in ["credential", "clock", "no_such_bucket"] {
        assert_eq!(edge.metric(&series(reason)).await, 0.0, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_passing_error_in_five_is_seen_by_nobody() {
    let origin = store().await;
    for at in 0..50 {
        origin.put(&format!("/media/{at}.ts"), "segment", "video/mp2t");
    }
    let edge = Setup::s3(origin.addr()).start().await;
    for at in 0..50 {
        let fault = match at % 20 {
            0 => Fault::ResetBeforeHead,
            5 => Fault::CloseBeforeHead,
            10 => Fault::Status {
                status: 500,
                code: None,
            },
            15 => Fault::Status {
                status: 503,
                code: Some("SlowDown".into()),
            },
            _ => continue,
        };
        origin.fault_times(&format!("/{at}.ts"), 1, fault);
    }
    for at in 0..50 {
        let method = if at % 2 == 0 { "GET" } else { "HEAD" };
        assert_eq!(
            ask(&edge, method, &format!("/{at}.ts")).await.0,
            200,
            "{at}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_is_learned_whatever_the_store_calls_it_and_with_head_too() {
    for (status, code) in [
        (400, "AccessDenied"),
        (400, "InvalidRequest"),
        (403, "RequestTimeTooSkewed"),
        (401, ""),
    ] {
        for method in ["GET", "HEAD"] {
            let origin = store().await;
            let ahead = 1_200;
            let refuses = move |request: &SeenRequest| {
                let theirs = warren::clock::Clock::default().wall() + Duration::from_secs(ahead);
                let date = httpdate::fmt_http_date(theirs);
                // YYYYMMDDTHHMM: to ten minutes.
                let signed = request.header("x-amz-date").unwrap_or_default().to_owned();
                let ours = amz(theirs);
                let reply = match signed[..12] == ours[..12]
                    || signed[..12] == amz(theirs - Duration::from_secs(600))[..12]
                {
                    true => Reply::new(200, "segment").with_header("ETag", "\"1\""),
                    false => says((status, code, "", &[])),
                };
                reply.with_header("Date", &date)
            };
            origin.on("/media/*", Arc::new(refuses));
            let edge = Setup::s3(origin.addr()).start().await;
            assert_eq!(
                ask(&edge, method, "/a.ts").await.0,
                200,
                "{method} {status} {code}"
            );
            assert!(origin.requests().len() <= 3);
            let before = origin.requests().len();
            assert_eq!(ask(&edge, method, "/b.ts").await.0, 200);
            assert_eq!(origin.requests().len() - before, 1, "known from then on");
        }
    }
}

/// `YYYYMMDDTHHMMSSZ`, cut to ten minutes where 12 characters are compared.
fn amz(at: SystemTime) -> String {
    let unix = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let ((year, month, day), (hour, minute, _)) = warren::origin::sigv4::civil(unix.as_secs());
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}00Z")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_wait_as_long_as_the_origin_asks_for_where_that_is_not_too_long() {
    let table: [(u16, &[(&str, &str)], &str); 6] = [
        (503, &[("Retry-After", "3")], "3"),
        (429, &[("Retry-After", "10")], "10"),
        (503, &[("Retry-After", "11")], "1"),
        (503, &[("Retry-After", "0")], "1"),
        (
            503,
            &[("Retry-After", "Tue, 01 Jan 2030 00:00:00 GMT")],
            "1",
        ),
        (500, &[], "1"),
    ];
    for (status, headers, want) in table {
        let origin = store().await;
        let said: Said = (status, "SlowDown", "", headers);
        origin.on("/media/*", Arc::new(move |_: &SeenRequest| says(said)));
        let edge = Setup::s3(origin.addr()).start().await;
        // Pulled, remembered, and passed through.
        for (method, path) in [("GET", "/a.ts"), ("GET", "/a.ts"), ("HEAD", "/b.ts")] {
            let (got, later) = ask(&edge, method, path).await;
            assert_eq!((got, later.as_deref()), (503, Some(want)), "{headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_for_what_is_not_there_does_not_double_the_requests() {
    let origin = store().await;
    let missing: Said = (404, "NoSuchKey", "", &[]);
    origin.on("/media/*", Arc::new(move |_: &SeenRequest| says(missing)));
    let edge = Setup::s3(origin.addr()).start().await;
    for at in 0..10 {
        assert_eq!(ask(&edge, "HEAD", &format!("/{at}.ts")).await.0, 404);
    }
    assert_eq!(origin.requests().len(), 11, "one for the reason");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_the_store_and_the_system_said_once_for_each_reason() {
    let origin = store().await;
    let bucket: Said = (
        404,
        "NoSuchBucket",
        "The specified bucket does not exist",
        &[],
    );
    let key: Said = (
        403,
        "InvalidAccessKeyId",
        "The key does not exist\r\nin our records",
        &[],
    );
    let region: Said = (
        400,
        "AuthorizationHeaderMalformed",
        "the region 'us-east-1' is wrong; expecting 'eu-central-1'",
        &[],
    );
    let busy: Said = (503, "SlowDown", "Please reduce your request rate.", &[]);
    let away: &[(&str, &str)] = &[("Location", "http://other.test/media/x?sig=hidden")];
    for (path, said) in [
        ("bucket", bucket),
        ("key", key),
        ("region", region),
        ("busy", busy),
        ("away", (302, "", "", away)),
    ] {
        origin.on(
            &format!("/media/{path}/*"),
            Arc::new(move |_: &SeenRequest| says(said)),
        );
    }
    let mut edge = Process::start(&Setup::s3(origin.addr()));
    let (http, admin) = edge.addresses();
    let clock = warren::clock::Clock::default();
    let table: &[(&str, &str, &str, &[&str])] = &[
        (
            "bucket",
            "ERROR",
            "no_such_bucket",
            &["\"code\":\"NoSuchBucket\"", "bucket does not exist"],
        ),
        (
            "key",
            "ERROR",
            "credential",
            &[
                "InvalidAccessKeyId",
                "\"access_key\":\"dev-…\"",
                "exist in our",
            ],
        ),
        (
            "region",
            "ERROR",
            "wrong_region",
            &["\"region_of_store\":\"eu-central-1\""],
        ),
        (
            "busy",
            "WARN",
            "server_error",
            &["SlowDown", "\"status\":503"],
        ),
        (
            "away",
            "WARN",
            "redirect",
            &[
                "\"status\":302",
                "\"cause\":\"http://other.test/media/x\"",
                "origin.redirects",
            ],
        ),
    ];
    for (path, level, reason, parts) in table {
        for at in 0..3 {
            let mut viewer = crate::edge::Connection::open(http).await;
            viewer
                .send("GET", &signed(&clock, &format!("/{path}/{at}.ts")), &[])
                .await;
            assert!(viewer.reply("GET").await.status >= 502);
        }
        let line = edge.line_with(&format!("\"reason\":\"{reason}\""));
        let endpoint = format!("\"endpoint\":\"{}\"", origin.addr());
        for part in [
            &format!("\"level\":\"{level}\"")[..],
            "\"zone\":\"test\"",
            &endpoint,
        ]
        .iter()
        .chain(*parts)
        {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("dev-secret-key"));
        assert_eq!(metric(admin, &series(reason)).await, 3.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_come_about_says_why() {
    let files = TempDir::new().expect("a folder");
    let (entry, _) = certify(files.path(), "elsewhere.test");
    let mut distrusted = Setup::s3(store().await.addr());
    distrusted.listen = "https = [\"127.0.0.1:0\"]\nhttp = [\"127.0.0.1:0\"]\n".into();
    distrusted.server = format!("[tls]\ncertificates = [{entry}]\n");
    let tls = distrusted.start().await;
    let table = [
        (
            format!("http://127.0.0.1:{}", free_port()),
            "connect_refused",
            503,
            "os error 111",
        ),
        (
            format!("https://{}", tls.running.https[0]),
            "certificate",
            502,
            "invalid peer certificate",
        ),
        (
            format!("https://{}", tls.running.http[0]),
            "connect_failed",
            503,
            "corrupt message",
        ),
        ("http://origin.invalid:1".to_owned(), "dns", 503, "lookup"),
    ];
    for (url, reason, status, cause) in table {
        let origin = store().await;
        let mut setup = Setup::s3(origin.addr());
        setup.origin = setup.origin.replace(&origin.url(), &url);
        let mut edge = Process::start(&setup);
        let (http, _) = edge.addresses();
        for at in 0..6 {
            let clock = warren::clock::Clock::default();
            let mut viewer = crate::edge::Connection::open(http).await;
            viewer
                .send("GET", &signed(&clock, &format!("/{at}.ts")), &[])
                .await;
            assert_eq!(viewer.reply("GET").await.status, status, "{url}");
        }
        let line = edge.line_with(&format!("\"reason\":\"{reason}\",\"path\""));
        assert!(line.contains(cause), "{cause} in {line}");
        assert!(line.contains("\"endpoint\":"), "{line}");
        if reason == "connect_refused" {
            // Until the endpoint is shut: a moment's trouble shuts none.
            for at in 0..12 {
                let clock = warren::clock::Clock::default();
                let mut viewer = crate::edge::Connection::open(http).await;
                let target = signed(&clock, &format!("/shut-{at}.ts"));
                viewer.send("GET", &target, &[]).await;
                assert_eq!(viewer.reply("GET").await.status, 503);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let line = edge.line_with("\"reason\":\"circuit_open\",\"path\"");
            assert!(line.contains(": connect_refused\""), "{line}");
        }
        for inner in ["context:", "cause:", "Upstream", "HttpPeer"] {
            assert!(!line.contains(inner), "the library's own words: {line}");
        }
    }
}
