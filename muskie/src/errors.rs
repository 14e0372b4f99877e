//! Every refusal of the front door, and what it looks like on the wire.
//!
//! [`Error::answer`] is the one place where a failure gets its status, code and message. It has no
//! catch-all arm, so a new variant has to choose. Source: rest-api.md section 8.2.

mod ports;

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use libmanta::mahi::InvalidToken;
use libmanta::{JobId, PreconditionFailed};

use crate::config::Surface;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request is refused. Paths are as the client sent them: cleaned, still escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    AccountBlocked {
        login: String,
    },
    AccountDoesNotExist {
        login: String,
    },
    AuthorizationFailed {
        caller: String,
        path: String,
    },
    AuthorizationRequired,
    AuthorizationSchemeNotAllowed {
        scheme: String,
    },
    ContentDispositionInvalid {
        header: String,
    },
    ContentMd5Invalid,
    ContentMd5Mismatch {
        computed: String,
        sent: String,
    },
    DirectoryDoesNotExist {
        parent: String,
    },
    DirectoryLimitExceeded {
        directory: String,
    },
    DirectoryNotEmpty {
        path: String,
    },
    ExpectedUpgrade {
        path: String,
    },
    HeaderTooLong {
        what: &'static str,
        limit: usize,
    },
    InputNameTooLong {
        limit: usize,
    },
    Internal,
    InvalidAlgorithm {
        algorithm: String,
    },
    /// The end of a session that there is not.
    InvalidAttachType {
        given: String,
    },
    InvalidAuthenticationToken(InvalidToken),
    InvalidAuthorization,
    InvalidContent {
        reason: String,
    },
    InvalidDurabilityLevel {
        max: u8,
    },
    InvalidHttpAuthenticationToken,
    InvalidJob {
        reason: String,
    },
    InvalidJobState {
        id: JobId,
        state: &'static str,
    },
    InvalidKeyId,
    InvalidLink {
        location: String,
    },
    InvalidLimit {
        value: String,
    },
    InvalidMaxContentLength {
        value: String,
    },
    InvalidParameter {
        name: &'static str,
        value: String,
    },
    InvalidQueryStringAuthentication {
        reason: String,
    },
    InvalidResource {
        path: String,
    },
    InvalidRole {
        name: String,
    },
    InvalidRoleTag {
        name: String,
    },
    InvalidSignature,
    InvalidSignatureHeader {
        reason: String,
    },
    InvalidUpdate {
        header: &'static str,
        on_directory: bool,
    },
    InvalidVersion {
        version: String,
        method: String,
        path: String,
    },
    IsDirectory {
        method: String,
        path: String,
    },
    KeyDoesNotExist {
        key: String,
    },
    LinkNotObject {
        location: String,
    },
    LocationRequired,
    MalformedBody,
    MaxContentLengthExceeded {
        received_bytes: u64,
    },
    MethodNotAllowed {
        method: String,
        allow: &'static str,
    },
    MissingPermission {
        action: &'static str,
    },
    MultiRange,
    /// The document of an upload that is to be created.
    MultipartCreation {
        reason: String,
    },
    MultipartInvalid {
        upload: String,
        reason: String,
    },
    /// The upload, and why.
    MultipartState(String, &'static str),
    NoMatchingRoleTag,
    NoRoute {
        path: String,
    },
    NotAcceptable {
        path: String,
        content_type: String,
    },
    NotEnoughSpace {
        megabytes: u64,
    },
    NotFound {
        path: String,
    },
    ParentNotDirectory {
        parent: String,
    },
    PayloadTooLarge {
        limit: usize,
    },
    Precondition(PreconditionFailed),
    QueryParameterForbidden {
        parameters: String,
    },
    RangeNotSatisfiable {
        size_bytes: u64,
    },
    RequestExpired {
        date: String,
    },
    /// What they were decided on is no longer there. Decided again a few times before anybody is told.
    RightsOutdated,
    RootDirectory {
        method: String,
        path: String,
    },
    SecureTransportRequired,
    ServiceUnavailable,
    /// Somebody else is at that end of it.
    SessionTaken {
        path: String,
    },
    SnaplinksDisabled,
    SnaplinksUnsupported,
    SourceObjectNotFound {
        location: String,
    },
    SourceSnaplinksDisabled,
    StorageExhausted,
    Throttled,
    TransferEncodingUnknown {
        value: String,
    },
    UnsupportedMediaType {
        media_type: String,
    },
    UploadAbandoned,
    UploadTimeout,
    UserDoesNotExist {
        account: String,
        user: String,
    },
}

/// What the client sees of an [`Error`].
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    /// Seconds to wait before trying again, where that may help.
    pub(crate) retry_after: Option<&'static str>,
}

impl Answer {
    fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    fn later(mut self, seconds: &'static str) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The versions disagree about one code.
    pub(crate) fn on(mut self, surface: Surface) -> Self {
        if self.code == "RangeNotSatisfiable" && surface == Surface::Manta {
            self.code = "RequestedRangeNotSatisfiable";
        }
        self
    }

    /// The two keys in the documented order, no newline.
    pub(crate) fn body(&self) -> String {
        let mut body = Vec::with_capacity(32 + self.code.len() + self.message.len());
        body.extend_from_slice(b"{\"code\":");
        crate::json::string(&mut body, self.code);
        body.extend_from_slice(b",\"message\":");
        crate::json::string(&mut body, &self.message);
        body.push(b'}');
        String::from_utf8(body).unwrap_or_default()
    }
}

const ALGORITHMS: &str = "RSA-SHA1, RSA-SHA256, RSA-SHA384, RSA-SHA512, DSA-SHA1, DSA-SHA256, \
     ECDSA-SHA256, ECDSA-SHA384, ECDSA-SHA512, ED25519-SHA512";

impl Error {
    pub(crate) fn answer(&self) -> Answer {
        use Answer as A;
        match self {
            Self::AccountBlocked { login } => A::new(
                403,
                "AccountBlocked",
                format!("{login} is not an active account"),
            ),
            Self::AccountDoesNotExist { login } => A::new(
                403,
                "AccountDoesNotExist",
                format!("{login} does not exist"),
            ),
            Self::AuthorizationFailed { caller, path } => A::new(
                403,
                "AuthorizationFailed",
                format!("{caller} is not allowed to access {path}"),
            ),
            Self::AuthorizationRequired => {
                A::new(401, "AuthorizationRequired", "Authorization is required")
            }
            Self::AuthorizationSchemeNotAllowed { scheme } => A::new(
                403,
                "AuthorizationSchemeNotAllowed",
                format!("{scheme} is not allowed (use 'signature')"),
            ),
            Self::ContentDispositionInvalid { header } => A::new(
                400,
                "BadRequest",
                format!("invalid content-disposition header: {header}"),
            ),
            Self::ContentMd5Invalid => A::new(400, "BadRequest", "Content-MD5 invalid"),
            Self::ContentMd5Mismatch { computed, sent } => A::new(
                400,
                "ContentMD5Mismatch",
                format!("Content-MD5 expected {computed}, but was {sent}"),
            ),
            Self::DirectoryDoesNotExist { parent } => A::new(
                404,
                "DirectoryDoesNotExist",
                format!("{parent} does not exist"),
            ),
            Self::DirectoryLimitExceeded { directory } => A::new(
                409,
                "DirectoryLimitExceeded",
                format!("{directory} cannot exceed 1,000,000 entries"),
            ),
            Self::DirectoryNotEmpty { path } => {
                A::new(400, "DirectoryNotEmpty", format!("{path} is not empty"))
            }
            Self::HeaderTooLong { what, limit } => A::new(
                400,
                "BadRequest",
                format!("{what} cannot exceed {limit} bytes"),
            ),
            Self::InputNameTooLong { limit } => A::new(
                400,
                "BadRequest",
                format!("the name of an input cannot exceed {limit} bytes"),
            ),
            Self::ExpectedUpgrade { path } => A::new(
                400,
                "ExpectedUpgrade",
                format!("{path} requires a Websocket Upgrade"),
            ),
            Self::Internal => A::new(500, "InternalError", "an unexpected error occurred"),
            Self::InvalidAlgorithm { algorithm } => A::new(
                401,
                "InvalidAlgorithm",
                format!(
                    "{} is not a supported signing algorithm. Supported algorithms are {ALGORITHMS}",
                    algorithm.to_ascii_uppercase()
                ),
            ),
            // Key and value have always been swapped here.
            Self::InvalidAttachType { given } => A::new(
                400,
                "InvalidParameter",
                format!("\"type\" is invalid for \"{given}\""),
            ),
            Self::InvalidAuthenticationToken(why) => {
                A::new(403, "InvalidAuthenticationToken", why.to_string())
            }
            Self::InvalidAuthorization => {
                A::new(400, "InvalidHeader", "Invalid Authorization header")
            }
            Self::InvalidContent { reason } => {
                A::new(400, "InvalidContent", format!("Invalid JSON: {reason}"))
            }
            Self::InvalidDurabilityLevel { max } => A::new(
                400,
                "InvalidDurabilityLevel",
                format!("durability-level must be between 1 and {max}"),
            ),
            Self::InvalidHttpAuthenticationToken => A::new(
                403,
                "InvalidHttpAuthenticationToken",
                "Invalid HTTP Auth Token",
            ),
            Self::InvalidJob { reason } => A::new(400, "InvalidJob", reason.clone()),
            Self::InvalidJobState { id, state } => A::new(
                409,
                "InvalidJobState",
                format!("job {id} is in state '{state}'"),
            ),
            Self::InvalidKeyId => A::new(
                403,
                "InvalidKeyId",
                "the KeyId token you provided is invalid",
            ),
            Self::InvalidLimit { value } => A::new(
                400,
                "InvalidArgumentError",
                format!("limit={value} is invalid: must be between [1, 1024]"),
            ),
            Self::InvalidMaxContentLength { value } => A::new(
                400,
                "InvalidMaxContentLength",
                format!("{value} is an invalid max-content-length value"),
            ),
            Self::InvalidParameter { name, value } => A::new(
                400,
                "InvalidParameter",
                format!("\"{value}\" is invalid for \"{name}\""),
            ),
            Self::InvalidQueryStringAuthentication { reason } => {
                A::new(403, "InvalidQueryStringAuthentication", reason.clone())
            }
            Self::InvalidResource { path } => {
                A::new(400, "InvalidResource", format!("\"{path}\" is invalid"))
            }
            Self::InvalidRole { name } => {
                A::new(409, "InvalidRole", format!("Role \"{name}\" is invalid."))
            }
            Self::InvalidRoleTag { name } => A::new(
                409,
                "InvalidRoleTag",
                format!("Role tag \"{name}\" is invalid."),
            ),
            Self::InvalidSignature => A::new(
                403,
                "InvalidSignature",
                "The signature we calculated does not match the one you sent",
            ),
            Self::InvalidSignatureHeader { reason } => A::new(
                400,
                "InvalidHeader",
                format!("Invalid Signature Authorization header: {reason}"),
            ),
            Self::InvalidUpdate {
                header,
                on_directory: false,
            } => A::new(
                400,
                "InvalidUpdate",
                format!("overwrite of \"{header}\" forbidden"),
            ),
            Self::InvalidUpdate {
                header,
                on_directory: true,
            } => A::new(
                400,
                "InvalidUpdate",
                format!("overwrite of \"{header}\" forbidden on a directory"),
            ),
            Self::InvalidVersion {
                version,
                method,
                path,
            } => A::new(
                400,
                "InvalidVersion",
                format!("{version} is not supported by {method} {path}"),
            ),
            Self::IsDirectory { method, path } => A::new(
                400,
                "OperationNotAllowedOnDirectory",
                format!("{path} is a directory: {method} is not allowed"),
            ),
            Self::KeyDoesNotExist { key } => {
                A::new(403, "KeyDoesNotExist", format!("{key} does not exist"))
            }
            Self::InvalidLink { location } => {
                A::new(400, "InvalidLink", format!("{location} is an invalid link"))
            }
            Self::LinkNotObject { location } => {
                A::new(400, "LinkNotObject", format!("{location} is not an object"))
            }
            Self::LocationRequired => A::new(
                400,
                "LocationRequired",
                "An HTTP Location header must be specified",
            ),
            Self::MalformedBody => {
                A::new(400, "BadRequest", "the chunks of the body are malformed")
            }
            Self::MaxContentLengthExceeded { received_bytes } => A::new(
                413,
                "MaxContentLengthExceeded",
                format!("request has exceeded {received_bytes} bytes"),
            ),
            Self::MethodNotAllowed { method, allow: _ } => {
                A::new(405, "MethodNotAllowed", format!("{method} is not allowed"))
            }
            Self::MissingPermission { action } => A::new(
                403,
                "MissingPermission",
                format!("missing role allowing {action}"),
            ),
            Self::MultiRange => A::new(501, "NotImplemented", "multi-range requests not supported"),
            Self::MultipartCreation { reason } => A::new(
                409,
                "MultipartUploadInvalidArgument",
                format!("cannot create upload: {reason}"),
            ),
            Self::MultipartInvalid { upload, reason } => A::new(
                409,
                "MultipartUploadInvalidArgument",
                format!("upload {upload}: {reason}"),
            ),
            Self::MultipartState(upload, reason) => A::new(
                409,
                "InvalidMultipartUploadState",
                format!("upload {upload}: {reason}"),
            ),
            Self::NoMatchingRoleTag => A::new(
                403,
                "NoMatchingRoleTag",
                "None of your active roles are present on the resource.",
            ),
            Self::NoRoute { path } => {
                A::new(404, "ResourceNotFound", format!("{path} does not exist"))
            }
            Self::NotAcceptable { path, content_type } => A::new(
                406,
                "NotAcceptable",
                format!("{path} accepts {content_type}"),
            ),
            Self::NotEnoughSpace { megabytes } => A::new(
                507,
                "NotEnoughSpace",
                format!("not enough free space for {megabytes} MB"),
            ),
            Self::NotFound { path } => {
                A::new(404, "ResourceNotFound", format!("{path} was not found"))
            }
            Self::ParentNotDirectory { parent } => A::new(
                400,
                "ParentNotDirectory",
                format!("{parent} is not a directory"),
            ),
            Self::PayloadTooLarge { limit } => A::new(
                413,
                "PayloadTooLarge",
                format!("Request body size exceeds {limit}"),
            ),
            Self::Precondition(why) => A::new(412, "PreconditionFailed", why.to_string()),
            Self::QueryParameterForbidden { parameters } => A::new(
                403,
                "QueryParameterForbidden",
                format!("Use of these query parameters is restricted to operators: {parameters}"),
            ),
            Self::RangeNotSatisfiable { size_bytes: _ } => A::new(416, "RangeNotSatisfiable", ""),
            Self::RequestExpired { date } => A::new(
                400,
                "RequestExpired",
                format!("Date header {date} is too old"),
            ),
            Self::RootDirectory { method, path } => A::new(
                400,
                "OperationNotAllowedOnRootDirectory",
                format!("{method} is not allowed on {path}"),
            ),
            Self::SecureTransportRequired => A::new(
                403,
                "SecureTransportRequired",
                "Manta requires a secure transport (SSL/TLS)",
            ),
            Self::RightsOutdated | Self::ServiceUnavailable => A::new(
                503,
                "ServiceUnavailable",
                "manta is unable to serve this request",
            )
            .later("1"),
            Self::SessionTaken { path } => {
                A::new(409, "EntityAlreadyExists", format!("{path} already exists"))
            }
            Self::SnaplinksDisabled => A::new(
                403,
                "SnaplinksDisabledError",
                "snaplinks have been disabled for this account",
            ),
            Self::SnaplinksUnsupported => A::new(
                403,
                "SnaplinksDisabledError",
                "Manta v2 does not support SnapLinks.",
            ),
            Self::SourceObjectNotFound { location } => A::new(
                404,
                "SourceObjectNotFound",
                format!("{location} was not found"),
            ),
            Self::SourceSnaplinksDisabled => A::new(
                403,
                "SnaplinksDisabledError",
                "owner of source object has snaplinks disabled",
            ),
            Self::StorageExhausted => A::new(
                503,
                "InternalError",
                "No storage nodes available for this request",
            )
            .later("30"),
            Self::Throttled => {
                A::new(503, "ThrottledError", "manta throttled this request").later("1")
            }
            Self::TransferEncodingUnknown { value } => A::new(
                501,
                "NotImplemented",
                format!("transfer-encoding {value} is not supported (use 'chunked')"),
            ),
            Self::UnsupportedMediaType { media_type } => {
                A::new(415, "UnsupportedMediaType", media_type.clone())
            }
            Self::UploadAbandoned => A::new(
                499,
                "UploadAbandoned",
                "request was aborted prematurely by the client",
            ),
            Self::UploadTimeout => {
                A::new(408, "UploadTimeout", "request took too long to send data")
            }
            Self::UserDoesNotExist { account, user } => A::new(
                403,
                "UserDoesNotExist",
                format!("{account}/{user} does not exist"),
            ),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = self.answer();
        write!(f, "{}: {}", answer.code, answer.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_code_and_message_and_is_escaped() {
        let error = Error::NotFound {
            path: "/a/stor/\"\u{1}\u{e9}".into(),
        };
        assert_eq!(
            error.answer().body(),
            "{\"code\":\"ResourceNotFound\",\"message\":\"/a/stor/\\\"\\u0001\u{e9} was not found\"}"
        );
        assert_eq!(
            Error::RangeNotSatisfiable { size_bytes: 6 }.answer().body(),
            "{\"code\":\"RangeNotSatisfiable\",\"message\":\"\"}"
        );
    }

    #[test]
    fn statuses_outside_the_registry_are_kept() {
        assert_eq!(Error::UploadAbandoned.answer().status.as_u16(), 499);
        assert_eq!(
            Error::NotEnoughSpace { megabytes: 1 }
                .answer()
                .status
                .as_u16(),
            507
        );
    }
}
