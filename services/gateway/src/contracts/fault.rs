use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::body::BodyError;
use super::caller::NotAdmitted;
use super::failure::{Failure, RETRY};
use super::fields::BadBody;
use super::repeatable::{self, BadKey};
use crate::application::idempotency::Refused;

/// What every contract refuses alike, in the same words. Only the form in which it says so is its own.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the API key is missing or wrong: send it as `Authorization: Bearer <key>`")]
    Unauthorized,
    #[error("the method is not allowed here; allowed: {allow}")]
    MethodNotAllowed { allow: String },
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Fields(#[from] BadBody),
    #[error(transparent)]
    Repeated(#[from] Refused),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Fault {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Key(_) | Self::Fields(_) => StatusCode::BAD_REQUEST,
            Self::Body(error) => error.status(),
            Self::Repeated(refused) => repeatable::status(*refused),
            Self::Failed(failure) => failure.status(),
        }
    }

    /// The answer, but for its body.
    pub(super) fn answer(&self) -> HttpResponseBuilder {
        let mut answer = HttpResponse::build(self.status());
        match self {
            Self::Unauthorized => answer.insert_header((WWW_AUTHENTICATE, "Bearer")),
            Self::MethodNotAllowed { allow } => answer.insert_header((ALLOW, allow.as_str())),
            Self::Failed(Failure::Unavailable) | Self::Repeated(Refused::InFlight) => {
                answer.insert_header((RETRY_AFTER, RETRY))
            }
            _ => &mut answer,
        };
        answer
    }
}

impl From<NotAdmitted> for Fault {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::Unauthorized => Self::Unauthorized,
            NotAdmitted::Failed(failure) => failure.into(),
        }
    }
}

impl From<tidings_storage::Error> for Fault {
    fn from(error: tidings_storage::Error) -> Self {
        Failure::from(error).into()
    }
}

/// Of an answer; a body that cannot be read is somebody else's fault.
impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(error).into()
    }
}
