use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use super::fields::Wrong;
use crate::application::users::ForUserError;
use crate::contracts::fault::Fault;

/// Everything but a success, in the contract's one form: `{"error": "…"}`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Wrong(Wrong),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The one that a body names.
    #[error("there is no user with this user_id")]
    UnknownUser,
    #[error(transparent)]
    Fault(Fault),
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) | Self::UnknownUser => StatusCode::NOT_FOUND,
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

impl From<ForUserError> for Refusal {
    fn from(error: ForUserError) -> Self {
        match error {
            ForUserError::UnknownUser => Self::UnknownUser,
            ForUserError::Refused(refused) => refused.into(),
            ForUserError::Storage(error) => error.into(),
        }
    }
}
