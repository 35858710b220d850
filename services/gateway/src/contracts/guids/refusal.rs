use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;
use tidings_domain::Invalid;

use crate::application::guids::GuidError;
use crate::application::idempotency::Refused;
use crate::contracts::body::BodyError;
use crate::contracts::caller::NotAdmitted;
use crate::contracts::failure::{Failure, RETRY};
use crate::contracts::fields::BadBody;
use crate::contracts::repeatable::{self, BadKey};

/// Everything but a success, in the contract's one form: `{"error": "…"}`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("expire must not lie in the past")]
    Past,
    #[error(transparent)]
    Fields(#[from] BadBody),
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error("the API key is missing or wrong: send it as `Authorization: Bearer <key>`")]
    Unauthorized,
    #[error("there is no such GUID, or it has expired")]
    NotFound,
    #[error("the method is not allowed here; allowed: {allow}")]
    MethodNotAllowed { allow: String },
    #[error("this GUID exists and has not expired")]
    Exists,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Repeated(#[from] Refused),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Past | Self::Fields(_) | Self::Key(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Exists => StatusCode::CONFLICT,
            Self::Body(error) => error.status(),
            Self::Repeated(refused) => repeatable::status(*refused),
            Self::Failed(failure) => failure.status(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        match self {
            Self::Unauthorized => answer.insert_header((WWW_AUTHENTICATE, "Bearer")),
            Self::MethodNotAllowed { allow } => answer.insert_header((ALLOW, allow.as_str())),
            Self::Failed(Failure::Unavailable) | Self::Repeated(Refused::InFlight) => {
                answer.insert_header((RETRY_AFTER, RETRY))
            }
            _ => &mut answer,
        };
        answer.json(json!({ "error": self.to_string() }))
    }
}

impl actix_web::Responder for Refusal {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _: &actix_web::HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::Unauthorized => Self::Unauthorized,
            NotAdmitted::Failed(failure) => failure.into(),
        }
    }
}

impl From<tidings_storage::Error> for Refusal {
    fn from(error: tidings_storage::Error) -> Self {
        Failure::from(error).into()
    }
}

/// Of an answer; a body that cannot be read is [`Refusal::Fields`].
impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<GuidError> for Refusal {
    fn from(error: GuidError) -> Self {
        match error {
            GuidError::Invalid(invalid) => invalid.into(),
            GuidError::Past => Self::Past,
            GuidError::Exists => Self::Exists,
            GuidError::Refused(refused) => refused.into(),
            GuidError::Storage(error) => error.into(),
        }
    }
}
