//! Strict verification of AWS Signature Version 4 in the Authorization header, for service `s3`.
//!
//! Source: "Authenticating Requests: Using the Authorization Header" in the Amazon S3 API
//! reference. Query (presigned) and chunked-upload signatures are not known here.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::DevOriginOptions;
use super::object::hex;
use super::record::SeenRequest;
use super::s3_error::{S3Error, denied, invalid_uri, malformed, mismatch, unknown_access_key};
use super::sigv4_canonical::{amz_date, canonical_request, parse_amz_date};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// SHA-256 of nothing: the payload of every GET and HEAD.
const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// S3's tolerance between the signature's time and its own.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// An access key the origin knows.
#[derive(Clone, Debug)]
pub struct Credential {
    pub access_key: String,
    pub secret_key: String,
    /// With a session, requests must carry its token in `x-amz-security-token`.
    pub session: Option<Session>,
}

/// A temporary credential's token.
#[derive(Clone, Debug)]
pub struct Session {
    pub token: String,
    /// Answers ExpiredToken.
    pub expired: bool,
}

impl Credential {
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            session: None,
        }
    }

    pub fn with_session(mut self, token: &str, expired: bool) -> Self {
        self.session = Some(Session {
            token: token.to_owned(),
            expired,
        });
        self
    }
}

/// Whether `authorization` signs `request` for this origin at `now`; the error names the first rule
/// it breaks.
pub(super) fn verify(
    request: &SeenRequest,
    authorization: &str,
    options: &DevOriginOptions,
    now: SystemTime,
) -> Result<(), S3Error> {
    let claim = Claim::parse(authorization)?;
    let credential = options
        .credentials
        .iter()
        .find(|known| known.access_key == claim.access_key);
    let credential = credential.ok_or_else(unknown_access_key)?;
    let date = signing_date(request)?;
    claim.check_scope(&options.region, &date)?;
    check_skew(&date, now)?;
    check_session(request, credential)?;
    let payload_hash = payload_hash(request)?;
    claim.check_signed_headers(request, options.refuse_signed_range)?;
    let canonical =
        canonical_request(request, &claim.signed_headers, payload_hash).ok_or_else(invalid_uri)?;
    let expected = claim.signature_of(&canonical, credential, &date);
    let holds: bool = expected.as_bytes().ct_eq(claim.signature.as_bytes()).into();
    if holds { Ok(()) } else { Err(mismatch()) }
}

/// The Authorization header's fields.
struct Claim<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(authorization: &'a str) -> Result<Self, S3Error> {
        let fields = authorization
            .strip_prefix(ALGORITHM)
            .filter(|fields| fields.starts_with(' '));
        let fields = fields.ok_or_else(|| malformed("the algorithm is not AWS4-HMAC-SHA256"))?;
        let field = |name: &str| {
            let mut values = fields
                .split(',')
                .filter_map(|field| field.trim().split_once('='));
            values
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let credential = field("Credential").ok_or_else(|| malformed("Credential is missing"))?;
        let signed_headers =
            field("SignedHeaders").ok_or_else(|| malformed("SignedHeaders is missing"))?;
        let signature = field("Signature").ok_or_else(|| malformed("Signature is missing"))?;
        // From the right: an access key may contain slashes in MinIO.
        let mut scope = credential.rsplitn(5, '/');
        let mut part = || {
            scope
                .next()
                .ok_or_else(|| malformed("Credential has fewer than five parts"))
        };
        let (terminator, service, region, date, access_key) =
            (part()?, part()?, part()?, part()?, part()?);
        let signed_headers = signed_headers.split(';').collect();
        Ok(Self {
            access_key,
            date,
            region,
            service,
            terminator,
            signed_headers,
            signature,
        })
    }

    /// `date` is that of the request, in ISO 8601 basic format.
    fn check_scope(&self, region: &str, date: &str) -> Result<(), S3Error> {
        if self.terminator != "aws4_request" {
            return Err(malformed("the credential does not end in aws4_request"));
        }
        if self.service != "s3" {
            return Err(malformed("the service is not s3"));
        }
        if self.region != region {
            return Err(malformed(&format!(
                "the region '{}' is wrong; expecting '{region}'",
                self.region
            )));
        }
        if !date.starts_with(self.date) || self.date.len() != 8 {
            return Err(malformed(
                "the credential's date is not that of the request",
            ));
        }
        Ok(())
    }

    fn check_signed_headers(
        &self,
        request: &SeenRequest,
        refuse_range: bool,
    ) -> Result<(), S3Error> {
        let signs = |name: &str| self.signed_headers.contains(&name);
        let dated = signs("x-amz-date") || request.header("x-amz-date").is_none() && signs("date");
        let amz = request
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| name.starts_with("x-amz-"));
        if !signs("host") || !signs("x-amz-content-sha256") || !dated || !amz.into_iter().all(signs)
        {
            return Err(denied(
                "There were headers present in the request which were not signed",
            ));
        }
        // The list is sorted and each name in it was sent; a signer that differs made another
        // canonical request.
        let strictly_sorted = self.signed_headers.is_sorted_by(|one, next| one < next);
        let all_sent = self
            .signed_headers
            .iter()
            .all(|name| request.header(name).is_some());
        let range_is_fine = !refuse_range || !signs("range");
        if strictly_sorted && all_sent && range_is_fine {
            Ok(())
        } else {
            Err(mismatch())
        }
    }

    fn signature_of(&self, canonical_request: &str, credential: &Credential, date: &str) -> String {
        let scope = format!(
            "{}/{}/{}/{}",
            self.date, self.region, self.service, self.terminator
        );
        let hash = hex(&Sha256::digest(canonical_request));
        let string_to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{hash}");
        let mut key = hmac(
            format!("AWS4{}", credential.secret_key).as_bytes(),
            self.date,
        );
        for part in [self.region, self.service, self.terminator] {
            key = hmac(&key, part);
        }
        hex(&hmac(&key, &string_to_sign))
    }
}

/// `x-amz-date`, or `Date` in the same format.
fn signing_date(request: &SeenRequest) -> Result<String, S3Error> {
    let date = match (request.header("x-amz-date"), request.header("date")) {
        (Some(date), _) => parse_amz_date(date).map(|_| date.to_owned()),
        (None, Some(date)) => httpdate::parse_http_date(date).ok().map(amz_date),
        (None, None) => None,
    };
    date.ok_or_else(|| denied("AWS authentication requires a valid Date or x-amz-date header"))
}

fn check_skew(date: &str, now: SystemTime) -> Result<(), S3Error> {
    let signed_at = parse_amz_date(date).ok_or_else(|| denied("The date is not valid"))?;
    let distance = signed_at
        .duration_since(now)
        .unwrap_or_else(|past| past.duration());
    if distance <= MAX_SKEW {
        return Ok(());
    }
    let message = "The difference between the request time and the server's time is too large.";
    Err(S3Error::new(403, "RequestTimeTooSkewed", message))
}

fn check_session(request: &SeenRequest, credential: &Credential) -> Result<(), S3Error> {
    let invalid = || {
        S3Error::new(
            400,
            "InvalidToken",
            "The provided token is malformed or otherwise invalid.",
        )
    };
    match (&credential.session, request.header("x-amz-security-token")) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(invalid()),
        // A temporary access key is not known by itself.
        (Some(_), None) => Err(unknown_access_key()),
        (Some(session), Some(token)) if session.token != token => Err(invalid()),
        (Some(session), Some(_)) if session.expired => Err(S3Error::new(
            403,
            "ExpiredToken",
            "The provided token has expired.",
        )),
        (Some(_), Some(_)) => Ok(()),
    }
}

fn payload_hash(request: &SeenRequest) -> Result<&str, S3Error> {
    let missing = || {
        S3Error::new(
            400,
            "InvalidRequest",
            "Missing required header: x-amz-content-sha256",
        )
    };
    let hash = request.header("x-amz-content-sha256").ok_or_else(missing)?;
    if hash == EMPTY_HASH || hash == UNSIGNED_PAYLOAD {
        return Ok(hash);
    }
    let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    Err(S3Error::new(400, "XAmzContentSHA256Mismatch", message))
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
