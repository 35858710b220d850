use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;
use tidings_domain::Invalid;

use crate::application::guids::GuidError;
use crate::contracts::fault::Fault;

/// Everything but a success, in the contract's one form: `{"error": "…"}`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Invalid(Invalid),
    #[error("expire must not lie in the past")]
    Past,
    #[error("there is no such GUID, or it has expired")]
    NotFound,
    #[error("this GUID exists and has not expired")]
    Exists,
    #[error(transparent)]
    Fault(Fault),
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Past => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Exists => StatusCode::CONFLICT,
            Self::Fault(fault) => fault.status(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = match self {
            Self::Fault(fault) => fault.answer(),
            _ => HttpResponse::build(self.status_code()),
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

impl<E: Into<Fault>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl From<GuidError> for Refusal {
    fn from(error: GuidError) -> Self {
        match error {
            GuidError::Invalid(invalid) => Self::Invalid(invalid),
            GuidError::Past => Self::Past,
            GuidError::Exists => Self::Exists,
            GuidError::Refused(refused) => refused.into(),
            GuidError::Storage(error) => error.into(),
        }
    }
}
