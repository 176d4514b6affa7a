//! Pure: what an answer of an object store means, where it is no object. Stores
//! have words of their own for the same thing, so status, code and message are
//! read together; what is our fault never looks like a missing object.

use super::Failure;
use super::s3_codes::{
    self, BUCKET, CLOCK, COLD, CREDENTIAL, DENIED, MAY_BE_MISSING, MISSING, PASSING, REGION,
};
use super::s3_error::Words;

/// An answer, and what is known for judging it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub status: u16,
    pub words: &'a Words,
    /// Statuses that the zone reads as "there is no such object".
    pub missing_as: &'a [u16],
    /// The request bore a signature, made for this region.
    pub signed_for: Option<&'a str>,
    /// The request was for a part.
    pub ranged: bool,
    /// The store's clock differs from the time of the signature by more than
    /// stores tolerate.
    pub skewed: bool,
}

/// In a message, lower case: Garage says AccessDenied with "No such key: GK…"
/// and "Invalid signature", others "The access key … does not exist".
const CREDENTIAL_WORDS: &[&str] = &[
    "no such key",
    "access key",
    "accesskey",
    "signature",
    "credential",
    "security token",
    "secret key",
    "invalid key",
    "unknown key",
    "invalid token",
    "token has expired",
    "not authenticated",
];
/// Of an account or a key of encryption, where the code is AccessDenied.
const OUR_WORDS: &[&str] = &[
    "kms:",
    "kms key",
    "billing",
    "cap exceeded",
    "quota",
    "limit exceeded",
    "disabled",
    "suspended",
    "overdue",
    "payment",
];
const CLOCK_WORDS: &[&str] = &["too skewed", "request time", "request has expired", "clock"];

/// The status to go on with, 404 for whatever the zone reads as missing; or
/// what has gone wrong.
pub fn judge(facts: Facts<'_>) -> Result<u16, Failure> {
    let status = facts.status;
    if status < 300 || status == 304 {
        return Ok(status);
    }
    // Whatever its status, and whatever its message goes on to say.
    if status < 500 && says(facts.words, PASSING) {
        return Err(Failure::Throttled);
    }
    if let Some(failure) = fault(facts) {
        return Err(failure);
    }
    match status {
        _ if is_missing(facts) => Ok(404),
        404 | 410 | 451 => Ok(status),
        416 if facts.ranged => Ok(status),
        300..=399 => Err(Failure::Redirect),
        408 | 429 => Err(Failure::Throttled),
        501 | 505 => Err(Failure::Rejected),
        500.. => Err(Failure::ServerError),
        401 | 403 => Err(Failure::Denied),
        _ if says(facts.words, DENIED) => Err(Failure::Denied),
        _ => Err(Failure::Rejected),
    }
}

/// Whether the zone reads it as missing. A refusal only where it may come of a
/// missing object: one with a reason of its own comes of that.
fn is_missing(facts: Facts<'_>) -> bool {
    let words = facts.words;
    let refuses = matches!(facts.status, 401 | 403);
    let has_reason =
        (words.code.is_some() && !says(words, MAY_BE_MISSING) && !says(words, MISSING))
            || speaks(words, OUR_WORDS);
    facts.missing_as.contains(&facts.status) && !(refuses && has_reason)
}

/// What is wrong with our request, whatever the zone reads as missing.
fn fault(facts: Facts<'_>) -> Option<Failure> {
    let (status, words) = (facts.status, facts.words);
    // A server in trouble says so of itself.
    if status >= 500 {
        return says(words, BUCKET).then_some(Failure::NoSuchBucket);
    }
    if says(words, BUCKET) || is_about_the_bucket(facts) {
        return Some(Failure::NoSuchBucket);
    }
    if says(words, COLD) {
        return Some(Failure::ColdStorage);
    }
    if is_about_the_region(facts) {
        return Some(Failure::WrongRegion);
    }
    let refuses = matches!(status, 400 | 401 | 403);
    if says(words, CLOCK) || (refuses && facts.skewed) {
        return Some(Failure::Clock);
    }
    if says(words, CREDENTIAL) || says(words, &["AuthorizationHeaderMalformed"]) {
        return Some(Failure::Credential);
    }
    let signed = facts.signed_for.is_some();
    if refuses && signed && speaks(words, CLOCK_WORDS) {
        return Some(Failure::Clock);
    }
    if (refuses && signed && speaks(words, CREDENTIAL_WORDS)) || (status == 401 && signed) {
        return Some(Failure::Credential);
    }
    None
}

/// A store that has no code for it says it in its message.
fn is_about_the_bucket(facts: Facts<'_>) -> bool {
    let says_so = [
        "bucket does not exist",
        "bucket doesn't exist",
        "bucket not found",
        "bucket was not found",
        "no such bucket",
        "bucket is not valid",
    ];
    matches!(facts.status, 400 | 403 | 404)
        && !says(facts.words, &["NoSuchKey", "NoSuchVersion"])
        && (speaks(facts.words, &says_so) || names_a_bucket(facts.words))
}

/// "Bucket media does not exist", and not "the object of bucket media does not exist".
fn names_a_bucket(words: &Words) -> bool {
    let message = words
        .message
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let said: Vec<&str> = message.trim_end_matches('.').split_whitespace().collect();
    let said = said.strip_prefix(&["the"]).unwrap_or(&said);
    matches!(said, ["bucket", _, "does", "not", "exist", ..])
}

fn is_about_the_region(facts: Facts<'_>) -> bool {
    let words = facts.words;
    if says(words, REGION) {
        return true;
    }
    // The scope of a signature names the region.
    let scope = ["region", "scope", "aws4_request", "location constraint"];
    let malformed = [
        "AuthorizationHeaderMalformed",
        "AuthorizationQueryParametersError",
    ];
    if says(words, &malformed) && (words.region.is_some() || speaks(words, &scope)) {
        return true;
    }
    // R2's "auto" is every region.
    let differs = |ours: &str| words.region.as_deref().is_some_and(|theirs| theirs != ours);
    let elsewhere = facts
        .signed_for
        .filter(|ours| *ours != "auto")
        .is_some_and(differs);
    match facts.status {
        300..=399 => words.region.is_some(),
        400 => elsewhere,
        403 => elsewhere && words.code.is_none(),
        _ => false,
    }
}

/// Whether the code is one of these.
fn says(words: &Words, codes: &[&str]) -> bool {
    let code = words.code.as_deref();
    code.is_some_and(|code| s3_codes::has(codes, code))
}

/// Whether the message has one of these, which are lower case. What names a
/// bucket or an object (`arn:aws:s3:::media/a.ts`) is no word of it.
fn speaks(words: &Words, parts: &[&str]) -> bool {
    let Some(message) = &words.message else {
        return false;
    };
    let is_word = |word: &&str| !word.contains(":s3:::");
    let words: Vec<&str> = message.split(' ').filter(is_word).collect();
    let message = words.join(" ").to_ascii_lowercase();
    parts.iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(code: &str, message: &str, region: &str) -> Words {
        let word = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Words {
            code: word(code),
            message: word(message),
            region: word(region),
            endpoint: None,
        }
    }

    const MISSING: Result<u16, Failure> = Ok(404);

    /// Status, code, message, region that it names; what it means, and what
    /// with `missing_as = [404, 403]`.
    type Row = (
        u16,
        &'static str,
        &'static str,
        &'static str,
        Result<u16, Failure>,
        Result<u16, Failure>,
    );

    fn same(
        status: u16,
        code: &'static str,
        message: &'static str,
        region: &'static str,
        failure: Failure,
    ) -> Row {
        (status, code, message, region, Err(failure), Err(failure))
    }

    #[test]
    fn stores_words_for_the_same_thing_have_the_same_name() {
        use Failure::{
            Clock, ColdStorage, Credential, Denied, NoSuchBucket, Redirect, Rejected, ServerError,
            Throttled, WrongRegion,
        };
        let table: &[Row] = &[
            (
                404,
                "NoSuchKey",
                "The specified key does not exist.",
                "",
                MISSING,
                MISSING,
            ),
            (404, "NoSuchVersion", "", "", MISSING, MISSING),
            (404, "", "", "", MISSING, MISSING),
            (
                404,
                "NoSuchKey",
                "Key not found in the bucket",
                "",
                MISSING,
                MISSING,
            ),
            (410, "", "", "", Ok(410), Ok(410)),
            same(
                404,
                "NoSuchBucket",
                "The specified bucket does not exist",
                "",
                NoSuchBucket,
            ),
            same(
                404,
                "",
                "The specified bucket does not exist.",
                "",
                NoSuchBucket,
            ),
            same(404, "404", "Bucket not found: media", "", NoSuchBucket),
            same(
                400,
                "InvalidBucketName",
                "The specified bucket is not valid.",
                "",
                NoSuchBucket,
            ),
            same(
                301,
                "PermanentRedirect",
                "must be addressed using the specified endpoint",
                "",
                WrongRegion,
            ),
            same(
                307,
                "TemporaryRedirect",
                "Please re-send this request",
                "",
                WrongRegion,
            ),
            same(301, "", "", "eu-central-1", WrongRegion),
            same(
                400,
                "AuthorizationHeaderMalformed",
                "the region 'us-east-1' is wrong; expecting 'eu-central-1'",
                "eu-central-1",
                WrongRegion,
            ),
            same(
                400,
                "AuthorizationHeaderMalformed",
                "unexpected scope: 20260101/us-east-1/s3/aws4_request",
                "",
                WrongRegion,
            ),
            same(400, "", "", "eu-central-1", WrongRegion),
            same(403, "", "", "eu-central-1", WrongRegion),
            same(
                400,
                "IllegalLocationConstraintException",
                "",
                "",
                WrongRegion,
            ),
            same(
                400,
                "AuthorizationHeaderMalformed",
                "a non-empty Access Key (AKID) must be provided",
                "",
                Credential,
            ),
            same(403, "InvalidAccessKeyId", "", "", Credential),
            same(
                403,
                "InvalidAccessKeyId",
                "Malformed Access Key Id",
                "us-east-1",
                Credential,
            ),
            same(403, "SignatureDoesNotMatch", "", "", Credential),
            same(
                400,
                "ExpiredToken",
                "The provided token has expired.",
                "",
                Credential,
            ),
            same(400, "InvalidToken", "", "", Credential),
            same(
                403,
                "AccessDenied",
                "Forbidden: No such key: GK31c2f218a2e44f485b94239e",
                "",
                Credential,
            ),
            same(
                403,
                "AccessDenied",
                "Forbidden: Invalid signature",
                "",
                Credential,
            ),
            same(401, "Unauthorized", "Unauthorized", "", Credential),
            same(401, "", "", "", Credential),
            same(
                403,
                "10042",
                "The access key does not exist",
                "",
                Credential,
            ),
            same(403, "RequestTimeTooSkewed", "", "", Clock),
            same(
                400,
                "AccessDenied",
                "The difference between the request time and the current time is too large",
                "",
                Clock,
            ),
            same(
                403,
                "InvalidObjectState",
                "The operation is not valid for the object's storage class",
                "",
                ColdStorage,
            ),
            same(400, "InvalidObjectState", "", "", ColdStorage),
            (
                403,
                "AccessDenied",
                "Access Denied",
                "",
                Err(Denied),
                MISSING,
            ),
            (
                403,
                "AccessDenied",
                "User: arn:aws:iam::1:user/edge is not authorized to perform: s3:GetObject",
                "",
                Err(Denied),
                MISSING,
            ),
            (403, "forbidden", "", "", Err(Denied), MISSING),
            (
                403,
                "AccessDenied",
                "not authorized to perform: s3:GetObject on arn:aws:s3:::billing-kms:disabled/a",
                "",
                Err(Denied),
                MISSING,
            ),
            (
                403,
                "",
                "edge does not have storage.objects.get access to the object (or it may not exist).",
                "",
                Err(Denied),
                MISSING,
            ),
            same(403, "AllAccessDisabled", "", "", Denied),
            same(403, "UserProjectAccountProblem", "", "", Denied),
            same(403, "UserDisabled", "", "", Denied),
            same(403, "QuotaExceeded", "", "", Denied),
            same(403, "SomethingNew", "", "", Denied),
            same(
                403,
                "AccessDenied",
                "Cannot download file, download bandwidth or transaction (Class B) cap exceeded.",
                "",
                Denied,
            ),
            same(
                403,
                "AccessDenied",
                "User: arn:aws:iam::1:user/edge is not authorized to perform: kms:Decrypt",
                "",
                Denied,
            ),
            same(
                403,
                "",
                "The billing account for the owning project is disabled in state absent",
                "",
                Denied,
            ),
            same(404, "NoSuchAccessPoint", "", "", NoSuchBucket),
            same(404, "NamespaceNotFound", "", "", NoSuchBucket),
            same(404, "AccountNotFound", "", "", NoSuchBucket),
            same(404, "NoSuchUser", "", "", Credential),
            same(404, "", "Bucket media does not exist", "", NoSuchBucket),
            (
                404,
                "",
                "The object of bucket media does not exist",
                "",
                Ok(404),
                MISSING,
            ),
            same(403, "SlowDown", "for this access key", "", Throttled),
            same(403, "slowdown", "", "", Throttled),
            same(403, "RequestLimitExceeded", "", "", Throttled),
            same(403, "BandwidthLimitExceeded", "", "", Throttled),
            same(404, "TooManyRequests", "", "", Throttled),
            (403, "", "", "us-east-1", Err(Denied), MISSING),
            (
                403,
                "AccessDenied",
                "",
                "eu-central-1",
                Err(Denied),
                MISSING,
            ),
            (403, "", "", "", Err(Denied), MISSING),
            same(400, "AccessDenied", "", "", Denied),
            same(400, "InvalidRequest", "", "", Rejected),
            same(400, "", "", "", Rejected),
            same(405, "MethodNotAllowed", "", "", Rejected),
            same(411, "MissingContentLength", "", "", Rejected),
            same(412, "PreconditionFailed", "", "", Rejected),
            same(416, "InvalidRange", "", "", Rejected),
            same(501, "NotImplemented", "", "", Rejected),
            same(302, "", "", "", Redirect),
            same(
                503,
                "SlowDown",
                "Please reduce your request rate.",
                "",
                ServerError,
            ),
            same(
                500,
                "InternalError",
                "the signature could not be checked",
                "",
                ServerError,
            ),
            same(429, "", "", "", Throttled),
            same(
                400,
                "RequestTimeout",
                "Your socket connection to the server was not read from",
                "",
                Throttled,
            ),
            same(409, "OperationAborted", "", "", Throttled),
        ];
        for (status, code, message, region, want, want_403) in table {
            let words = words(code, message, region);
            for (missing_as, want) in [(&[404][..], want), (&[404, 403][..], want_403)] {
                let facts = Facts {
                    status: *status,
                    words: &words,
                    missing_as,
                    signed_for: Some("us-east-1"),
                    ranged: false,
                    skewed: false,
                };
                assert_eq!(
                    judge(facts),
                    *want,
                    "{status} {code} {message:?} {missing_as:?}"
                );
            }
        }
    }

    #[test]
    fn a_clock_is_suspected_of_a_refusal_alone() {
        let judge = |status, code, skewed, signed| {
            judge(Facts {
                status,
                words: &words(code, "", ""),
                missing_as: &[404, 403],
                signed_for: signed,
                ranged: true,
                skewed,
            })
        };
        let signed = Some("us-east-1");
        for status in [400, 401, 403] {
            assert_eq!(
                judge(status, "InvalidRequest", true, signed),
                Err(Failure::Clock)
            );
        }
        assert_eq!(judge(404, "NoSuchKey", true, signed), MISSING);
        assert_eq!(
            judge(404, "NoSuchBucket", true, signed),
            Err(Failure::NoSuchBucket)
        );
        assert_eq!(judge(416, "", true, signed), Ok(416));
        assert_eq!(judge(503, "", true, signed), Err(Failure::ServerError));
        assert_eq!(judge(403, "", false, None), MISSING, "an open bucket");
    }
}
