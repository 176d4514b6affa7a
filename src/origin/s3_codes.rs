//! Pure: the codes of object stores, by what they mean.

pub const CLOCK: &[&str] = &[
    "RequestTimeTooSkewed",
    "RequestExpired",
    "RequestInTheFuture",
];

pub const BUCKET: &[&str] = &[
    "NoSuchBucket",
    "NoSuchBucketException",
    "InvalidBucketName",
    "BucketNotFound",
    "NoSuchTenant",
    "ContainerNotFound",
    "NoSuchAccessPoint",
    "NamespaceNotFound",
    "AccountNotFound",
];

pub const REGION: &[&str] = &[
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "IllegalLocationConstraintException",
    "IllegalLocationConstraint",
    "InvalidLocationConstraint",
    "InvalidRegion",
    "InvalidRegionName",
    "IncorrectEndpoint",
    "AccessPointNotRedirect",
];

pub const CREDENTIAL: &[&str] = &[
    "InvalidAccessKeyId",
    "InvalidAccessKey",
    "SignatureDoesNotMatch",
    "InvalidSignature",
    "InvalidSignatureException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "InvalidTokenId",
    "TokenRefreshRequired",
    "SecurityTokenExpired",
    "InvalidSecurityToken",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "NotSignedUp",
    "InvalidSecurity",
    "InvalidCredentials",
    "NoSuchUser",
    "AuthFailure",
    "AuthenticationRequired",
    "Unauthorized",
    "UnauthorizedAccess",
    "CredentialsNotSupported",
    "AccessKeyDisabled",
    "InactiveAccessKey",
    "UserSuspended",
    "AccountProblem",
    "MissingAuthenticationToken",
];

pub const COLD: &[&str] = &[
    "InvalidObjectState",
    "ObjectNotInActiveTier",
    "ObjectArchived",
];

pub const DENIED: &[&str] = &[
    "AccessDenied",
    "AccessForbidden",
    "Forbidden",
    "AllAccessDisabled",
];

pub const PASSING: &[&str] = &[
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "ServerBusy",
    "XMinioBackendDown",
    "KMS.ThrottlingException",
    "RequestTimeout",
    "ServiceUnavailable",
    "InternalError",
    "TooManyRequests",
    "RequestLimitExceeded",
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestThrottledException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestThrottled",
    "TooManyRequestsException",
    "RequestTimeoutException",
    "QpsLimitExceeded",
    "BandwidthLimitExceeded",
    "OperationAborted",
    "ConditionalRequestConflict",
];
/// Of an object that is not there.
pub const MISSING: &[&str] = &["NoSuchKey", "NoSuchVersion", "NoSuchObject"];
/// Of a missing object too, to who may not list.
pub const MAY_BE_MISSING: &[&str] = &["AccessDenied", "Forbidden"];
/// Of our account, whatever is asked for.
const ACCOUNT: &[&str] = &[
    "AllAccessDisabled",
    "QuotaExceeded",
    "UserDisabled",
    "UserProjectAccountProblem",
    "UserProjectMissing",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
];

/// Whether the codes have this one; some stores write it in lower case.
pub fn has(codes: &[&str], code: &str) -> bool {
    codes.iter().any(|known| known.eq_ignore_ascii_case(code))
}

/// Whether it is a code that nobody writes by chance: of several words in one.
pub fn is_telling(word: &str) -> bool {
    let capitals = word.bytes().filter(u8::is_ascii_uppercase).count();
    let known = [
        MISSING, CLOCK, BUCKET, REGION, CREDENTIAL, COLD, DENIED, PASSING, ACCOUNT,
    ];
    capitals > 1 && known.iter().any(|codes| codes.contains(&word))
}
