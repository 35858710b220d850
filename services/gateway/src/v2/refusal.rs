use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};

use super::problem::{self, Fault, Kind, Problem};
use crate::access::Denied;
use crate::application::api_keys::KeyError;
use crate::application::idempotency::Refused;
use crate::contracts::repeatable::BadKey;
use crate::contracts::{BodyError, Failure, RETRY};

/// Everything but a success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    #[error("{} wrong with the request", if .0.len() == 1 { "one thing is" } else { "several things are" })]
    Invalid(Vec<Fault>),
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its key opens this, but not for what it asks.
    #[error("{0}")]
    Forbidden(String),
    #[error("there is nothing at this address")]
    NotFound,
    #[error("allowed are {allow}")]
    MethodNotAllowed { allow: String },
    #[error("{0}")]
    Conflict(String),
    #[error("the resource does not have the version that If-Match names")]
    Changed,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Repeated(#[from] Refused),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Refusal {
    /// That one thing is wrong.
    pub(super) fn fault(pointer: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault {
            pointer: pointer.to_owned(),
            code,
            message: message.into(),
        }])
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Malformed(_) | Self::Body(BodyError::CutOff) => problem::MALFORMED,
            Self::Invalid(_) => problem::INVALID,
            Self::Key(_) => problem::BAD_KEY,
            Self::Denied(Denied::Unauthorized) => problem::UNAUTHORIZED,
            Self::Denied(Denied::Scope(_) | Denied::Role(_)) | Self::Forbidden(_) => problem::FORBIDDEN,
            Self::NotFound => problem::NOT_FOUND,
            Self::MethodNotAllowed { .. } => problem::METHOD,
            Self::Conflict(_) => problem::CONFLICT,
            Self::Changed => problem::PRECONDITION,
            Self::Body(BodyError::TooSlow) => problem::TOO_SLOW,
            Self::Body(BodyError::TooLarge) => problem::TOO_LARGE,
            Self::Body(BodyError::UnsupportedMediaType) => problem::MEDIA_TYPE,
            Self::Repeated(Refused::InFlight) => problem::IN_FLIGHT,
            Self::Repeated(Refused::Reused) => problem::REUSED,
            Self::Denied(Denied::TooMany { .. }) => problem::TOO_MANY,
            Self::Denied(Denied::Busy | Denied::TooLong) => problem::UNAVAILABLE,
            Self::Failed(failure) | Self::Denied(Denied::Failed(failure)) => match failure {
                Failure::Internal => problem::INTERNAL,
                Failure::Unavailable => problem::UNAVAILABLE,
            },
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        problem::status(self.kind())
    }

    /// Without a body, which [`problem::tell`] writes.
    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        match self {
            Self::Denied(denied) => denied.insert_headers(&mut answer),
            Self::MethodNotAllowed { allow } => drop(answer.insert_header((ALLOW, allow.as_str()))),
            Self::Failed(Failure::Unavailable) | Self::Repeated(Refused::InFlight) => {
                answer.insert_header((RETRY_AFTER, RETRY));
            }
            _ => {}
        }
        let mut answer = answer.finish();
        answer.extensions_mut().insert(Problem {
            kind: self.kind(),
            detail: self.to_string(),
            faults: match self {
                Self::Invalid(faults) => faults.clone(),
                _ => Vec::new(),
            },
        });
        answer
    }
}

impl actix_web::Responder for Refusal {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _: &actix_web::HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

impl From<tidings_storage::Error> for Refusal {
    fn from(error: tidings_storage::Error) -> Self {
        Failure::from(error).into()
    }
}

/// Of an answer; a body that cannot be read is [`Refusal::Malformed`].
impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown(_) => Self::NotFound,
            KeyError::AlreadyExpired => Self::fault("/expires_at", "in-the-past", "must lie ahead"),
            KeyError::Over { .. } => Self::Conflict(error.to_string()),
            KeyError::ScopeBeyond(_) | KeyError::RoleBeyond(_) => Self::Forbidden(error.to_string()),
            KeyError::Changed => Self::Changed,
            KeyError::Repeated(repeated) => repeated.0.into(),
            KeyError::Storage(error) => error.into(),
            KeyError::Random(_) => Failure::internal(&error).into(),
        }
    }
}
