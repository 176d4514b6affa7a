//! Pure: the request that goes to the origin.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue};

use super::interim::Interims;
use super::redirect::Place;
use super::sigv4::Signer;
use super::{Endpoint, Kind, Settings, Validators};
use crate::path::{CanonicalPath, encode};
use crate::traces::TraceContext;

/// What is asked of an origin.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: CanonicalPath,
    /// Without `?`; S3 origins are sent none.
    pub query: String,
    /// Confirm a stored object instead of sending it again.
    pub validators: Option<Validators>,
    /// A Range value to pass on.
    pub range: Option<String>,
    /// The ETag that the range belongs to.
    pub if_range: Option<String>,
    /// End-to-end headers of the viewer that this zone forwards.
    pub forwarded: Vec<(HeaderName, HeaderValue)>,
    pub viewer: Viewer,
    /// How long the origin may hold its answer (a blocking playlist reload),
    /// where that is longer than the first-byte deadline.
    pub hold: Option<Duration>,
    /// Something stored covers for a failure: it need not be risked on an
    /// endpoint in doubt.
    pub covered: bool,
    /// Viewers see the origin's error pages, so that the first one is theirs.
    pub shows_errors: bool,
    /// Who is told of interim answers, where somebody is.
    pub interims: Option<Interims>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
}

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
        }
    }
}

/// For whom the origin is asked.
#[derive(Debug, Clone)]
pub struct Viewer {
    pub ip: IpAddr,
    /// What the origin is told of the scheme.
    pub https: bool,
    pub request_id: String,
    /// The host that it was asked for at, where the origin is told.
    pub host: Option<String>,
    /// The span that this request is, where it is traced.
    pub trace: Option<TraceContext>,
    pub zone_id: u32,
    /// Edges that the request has been through.
    pub loop_count: u32,
}

impl Request {
    /// A number that tells objects apart, whatever of them is asked for.
    pub fn object(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.path.as_str().hash(&mut hasher);
        hasher.finish()
    }

    /// Its bytes for an endpoint, signed where that is needed.
    pub fn to_wire(
        &self,
        settings: &Settings,
        endpoint: &Endpoint,
        signer: Option<&Signer>,
        now: SystemTime,
    ) -> Vec<u8> {
        let host = self.host(settings, endpoint);
        let place = self.place(settings, endpoint);
        let signer = signer.map(|signer| (signer, now));
        self.wire(
            &host,
            &place.target,
            &settings.headers,
            &self.forwarded,
            signer,
        )
    }

    /// Whether redirects are followed for it.
    pub fn follows(&self, settings: &Settings) -> bool {
        !settings.redirects.is_empty()
    }

    /// The Host that it goes with.
    pub fn host(&self, settings: &Settings, endpoint: &Endpoint) -> String {
        let told = self.viewer.host.clone();
        let told = told.filter(|_| !settings.has_own_host());
        told.unwrap_or_else(|| address(settings, endpoint, &self.path).0)
    }

    /// Where it goes at an endpoint.
    pub fn place(&self, settings: &Settings, endpoint: &Endpoint) -> Place {
        let (_, path) = address(settings, endpoint, &self.path);
        Place {
            endpoint: endpoint.clone(),
            target: self.target(settings, &path),
        }
    }

    /// Whether a redirect leads to what may be asked for there: of a store to an
    /// object below the same folder of the bucket, as any request of a viewer's
    /// does; elsewhere it is the zone that has named the host.
    pub fn may_follow(&self, settings: &Settings, from: &Endpoint, place: &Place) -> bool {
        if !settings.is_s3() || !from.is_same_host(&place.endpoint) {
            return true;
        }
        let own = self.place(settings, from).target;
        let key = encode(self.path.as_str());
        let folder = own.strip_suffix(&*key);
        let object = folder.and_then(|folder| place.target.strip_prefix(folder));
        // A query is another operation.
        let object = object.filter(|path| !path.contains('?'));
        let object = object.and_then(|path| CanonicalPath::parse(path).ok());
        object.is_some_and(|path| names_object(&settings.kind, &path))
    }

    fn target(&self, settings: &Settings, path: &str) -> String {
        match settings.is_s3() || self.query.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", self.query),
        }
    }

    /// Its bytes for where a redirect leads. What the zone and the viewer say to
    /// the origin alone goes nowhere else.
    pub fn to_wire_at(&self, settings: &Settings, from: &Endpoint, place: &Place) -> Vec<u8> {
        let host = place.endpoint.authority();
        if from.is_same_host(&place.endpoint) {
            return self.wire(
                &self.host(settings, from),
                &place.target,
                &settings.headers,
                &self.forwarded,
                None,
            );
        }
        let secret = |name: &HeaderName| [AUTHORIZATION, COOKIE].contains(name);
        let mut forwarded = self.forwarded.clone();
        forwarded.retain(|(name, _)| !secret(name));
        self.wire(&host, &place.target, &[], &forwarded, None)
    }

    fn wire(
        &self,
        host: &str,
        target: &str,
        own: &[(HeaderName, HeaderValue)],
        forwarded: &[(HeaderName, HeaderValue)],
        signer: Option<(&Signer, SystemTime)>,
    ) -> Vec<u8> {
        let method = self.method.as_str();
        let mut wire = Wire(format!("{method} {target} HTTP/1.1\r\n").into_bytes());
        wire.header("host", host);
        wire.header("accept-encoding", "identity");
        wire.header("via", "1.1 warren");
        wire.header("x-forwarded-for", &self.viewer.ip.to_string());
        let scheme = if self.viewer.https { "https" } else { "http" };
        wire.header("x-forwarded-proto", scheme);
        if let Some(host) = &self.viewer.host {
            wire.header("x-forwarded-host", host);
        }
        wire.header("cdn-requestid", &self.viewer.request_id);
        if let Some(trace) = &self.viewer.trace {
            wire.header("traceparent", &trace.to_string());
        }
        wire.header("cdn-pullzoneid", &self.viewer.zone_id.to_string());
        wire.header("cdn-loopcount", &(self.viewer.loop_count + 1).to_string());
        self.conditions(&mut wire);
        for (name, value) in forwarded.iter().chain(own) {
            wire.raw_header(name.as_str().as_bytes(), value.as_bytes());
        }
        // Signed last, when nothing changes any more.
        if let Some((signer, now)) = signer {
            for (name, value) in signer.sign(method, host, target, own, now) {
                wire.header(name, &value);
            }
        }
        wire.0.extend_from_slice(b"\r\n");
        wire.0
    }

    fn conditions(&self, wire: &mut Wire) {
        if let Some(range) = &self.range {
            wire.header("range", range);
        }
        if let Some(etag) = &self.if_range {
            wire.header("if-range", etag);
        }
        if let Some(validators) = &self.validators {
            // Never both: some servers let the date decide, against RFC 9110
            // §13.1.3, and a second has room for two states.
            if let Some(etag) = &validators.etag {
                wire.header("if-none-match", etag);
            } else if let Some(last_modified) = &validators.last_modified {
                wire.header("if-modified-since", last_modified);
            }
        }
    }
}

/// Whether a header is about the body, the part or the condition that is asked
/// for: [`Request::to_wire`] says these in its own words, or goes without.
pub fn is_said_by_us(name: &str) -> bool {
    let own = ["accept-encoding", "content-length", "expect", "range"];
    own.contains(&name) || name.starts_with("if-")
}

/// The request of a health check: unsigned, because it asks for no object.
pub fn health_check(settings: &Settings, endpoint: &Endpoint) -> Vec<u8> {
    let path = settings.health.path.as_deref().unwrap_or("/");
    let mut wire = Wire(format!("GET {path} HTTP/1.1\r\n").into_bytes());
    wire.header("host", &settings.host(endpoint));
    wire.header("via", "1.1 warren");
    wire.0.extend_from_slice(b"\r\n");
    wire.0
}

/// Whether a path names an object of this origin, and not something else that
/// its server does. To an S3 server the bucket itself is such a path: GET lists
/// it (ListObjects), HEAD asks whether it is there (HeadBucket), and stores that
/// trim slashes read `//` as the same. Where the bucket is in the host, servers
/// of the MinIO family answer `/minio/…` with their own API whatever the host.
pub fn names_object(kind: &Kind, path: &CanonicalPath) -> bool {
    let Kind::S3 { virtual_host, .. } = kind else {
        return true;
    };
    let key = path.as_str().trim_start_matches('/');
    let first = key.split('/').next().unwrap_or_default();
    !(first.is_empty() || *virtual_host && STORE_APIS.contains(&first))
}

/// First segments of paths that MinIO and RustFS keep to themselves.
const STORE_APIS: [&str; 2] = ["minio", "rustfs"];

/// Host and encoded path of an object at an endpoint.
pub fn address(settings: &Settings, endpoint: &Endpoint, path: &CanonicalPath) -> (String, String) {
    let (base, path) = (&endpoint.path, settings.path_of(path));
    match &settings.kind {
        Kind::S3 {
            bucket,
            virtual_host: true,
            ..
        } => (
            format!("{bucket}.{}", endpoint.authority()),
            format!("{base}{path}"),
        ),
        Kind::S3 { bucket, .. } => (
            settings.host(endpoint),
            format!("{base}/{}{path}", encode(bucket)),
        ),
        Kind::Http { .. } => (settings.host(endpoint), format!("{base}{path}")),
    }
}

struct Wire(Vec<u8>);

impl Wire {
    fn header(&mut self, name: &str, value: &str) {
        self.raw_header(name.as_bytes(), value.as_bytes());
    }

    fn raw_header(&mut self, name: &[u8], value: &[u8]) {
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Credentials, Deadlines, HealthCheck};
    use crate::path::EmptySegments;
    use std::time::UNIX_EPOCH;
    use zeroize::Zeroizing;

    fn settings(kind: Kind) -> Settings {
        Settings {
            kind,
            endpoints: Vec::new(),
            headers: vec![(
                HeaderName::from_static("x-own"),
                HeaderValue::from_static("1"),
            )],
            missing_as: vec![404],
            deadlines: Deadlines::default(),
            max_pulls: 1,
            prefix: String::new(),
            tls_name: None,
            forward_host: false,
            redirects: Vec::new(),
            ca_file: None,
            health: HealthCheck::default(),
        }
    }

    fn s3(virtual_host: bool) -> Kind {
        Kind::S3 {
            bucket: "media".into(),
            region: "us-east-1".into(),
            virtual_host,
            credentials: None,
        }
    }

    fn request(path: &str) -> Request {
        Request {
            method: Method::Get,
            path: CanonicalPath::parse(path).expect("a path"),
            query: "_HLS_msn=1".into(),
            validators: Some(Validators {
                etag: Some("\"e\"".into()),
                last_modified: Some("Tue, 01 Jan 2030 00:00:00 GMT".into()),
            }),
            range: None,
            if_range: None,
            forwarded: Vec::new(),
            viewer: Viewer {
                ip: [192, 0, 2, 1].into(),
                https: true,
                host: None,
                request_id: "00ff".into(),
                trace: None,
                zone_id: 7,
                loop_count: 0,
            },
            hold: None,
            covered: false,
            shows_errors: false,
            interims: None,
        }
    }

    fn wire(request: &Request, kind: Kind, signer: Option<&Signer>) -> String {
        let endpoint = Endpoint::parse("http://minio:9000").expect("an endpoint");
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        String::from_utf8(request.to_wire(&settings(kind), &endpoint, signer, now)).expect("ASCII")
    }

    #[test]
    fn a_path_is_encoded_once_for_s3_and_its_query_stays_here() {
        let request = request("/hls/seg%200001+%C3%BC.ts");
        let path_style = wire(&request, s3(false), None);
        assert!(
            path_style.starts_with(
                "GET /media/hls/seg%200001%2B%C3%BC.ts HTTP/1.1\r\nhost: minio:9000\r\n"
            ),
            "{path_style}"
        );
        let virtual_host = wire(&request, s3(true), None);
        assert!(
            virtual_host.starts_with(
                "GET /hls/seg%200001%2B%C3%BC.ts HTTP/1.1\r\nhost: media.minio:9000\r\n"
            )
        );
        let http = wire(
            &request,
            Kind::Http {
                host: Some("packager".into()),
            },
            None,
        );
        assert!(http.starts_with(
            "GET /hls/seg%200001%2B%C3%BC.ts?_HLS_msn=1 HTTP/1.1\r\nhost: packager\r\n"
        ));
        for line in [
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-proto: https",
            "cdn-loopcount: 1",
            "x-own: 1",
            "if-none-match: \"e\"",
        ] {
            assert!(http.contains(&format!("\r\n{line}\r\n")), "{line}");
        }
        assert!(!http.contains("if-modified-since"), "the tag goes alone");
    }

    #[test]
    fn a_path_that_names_an_operation_of_the_store_is_no_object() {
        let http = || Kind::Http { host: None };
        let table = [
            ("the bucket", s3(false), "/", false),
            ("the bucket, in the host", s3(true), "/", false),
            ("slashes alone", s3(false), "//", false),
            ("many slashes", s3(true), "////", false),
            ("an encoded query", s3(false), "/%3Facl", true),
            ("an object", s3(false), "/a.ts", true),
            ("a folder's marker", s3(false), "/v/", true),
            ("behind a slash", s3(false), "//a.ts", true),
            ("MinIO's API", s3(true), "/minio/health/live", false),
            (
                "MinIO's API, behind a slash",
                s3(true),
                "//minio/admin/v3/info",
                false,
            ),
            (
                "a folder of that name in the bucket",
                s3(false),
                "/minio/a.ts",
                true,
            ),
            ("a name that begins so", s3(true), "/minions/a.ts", true),
            ("another server's start page", http(), "/", true),
        ];
        for (name, kind, path, want) in table {
            let path = CanonicalPath::parse_with(path, EmptySegments::Kept).expect("a path");
            assert_eq!(names_object(&kind, &path), want, "{name}");
        }
    }

    #[test]
    fn range_and_conditions_are_never_signed() {
        let credentials = Credentials {
            access_key: "AK".into(),
            secret_key: Zeroizing::new("SK".into()),
            session_token: Some(Zeroizing::new("ST".into())),
        };
        let signer = Signer::new(credentials, "us-east-1".into());
        let ranged = Request {
            range: Some("bytes=0-1".into()),
            ..request("/a.ts")
        };
        let wire = wire(&ranged, s3(false), Some(&signer));
        assert!(
            wire.contains(
                "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, "
            ),
            "{wire}"
        );
        assert!(
            wire.contains("\r\nrange: bytes=0-1\r\n")
                && wire.contains("\r\nx-amz-security-token: ST\r\n")
        );
    }
}
