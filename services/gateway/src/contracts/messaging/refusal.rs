use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::application::contacts::ContactError;
use crate::application::messages::MessageError;
use crate::contracts::failure::Failure;
use crate::contracts::fault::Fault;

/// Everything but a success, in the contract's forms: `{"message"}` about the key and the service,
/// `{"id", "message"}` about something that does not exist, `{"error"}` about everything else. An internal
/// error has both, since clients look for either.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    BadRequest(String),
    #[error("{what} not found")]
    NotFound { what: &'static str, id: String },
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error(transparent)]
    Fault(Fault),
}

#[derive(Serialize)]
struct Form<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound { .. } | Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Fault(fault) => fault.status(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = match self {
            Self::Fault(fault) => fault.answer(),
            _ => HttpResponse::build(self.status_code()),
        };
        let text = self.to_string();
        let (id, message, error) = match self {
            Self::NotFound { id, .. } => (Some(id.as_str()), true, false),
            Self::Fault(Fault::Failed(Failure::Internal)) => (None, true, true),
            Self::Fault(fault) if fault.status() == StatusCode::UNAUTHORIZED => (None, true, false),
            Self::Fault(fault) if fault.status() == StatusCode::SERVICE_UNAVAILABLE => (None, true, false),
            _ => (None, false, true),
        };
        answer.json(Form {
            id,
            message: message.then_some(text.as_str()),
            error: error.then_some(text.as_str()),
        })
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

impl From<ContactError> for Refusal {
    fn from(error: ContactError) -> Self {
        match error {
            ContactError::Invalid(_) | ContactError::PhoneTaken => Self::BadRequest(error.to_string()),
            ContactError::Refused(refused) => refused.into(),
            ContactError::Storage(error) => error.into(),
        }
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Invalid(_) | MessageError::UnknownSender | MessageError::UnknownRecipient => {
                Self::BadRequest(error.to_string())
            }
            MessageError::Refused(refused) => refused.into(),
            MessageError::Storage(error) => error.into(),
        }
    }
}
