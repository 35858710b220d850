use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::access::Denied;
use crate::application::contacts::ContactError;
use crate::application::idempotency::Refused;
use crate::application::messages::MessageError;
use crate::contracts::body::BodyError;
use crate::contracts::failure::{Failure, RETRY};
use crate::contracts::repeatable;

/// Everything but a success, in the contract's forms: `{"message"}` about the key and the service,
/// `{"id", "message"}` about something that does not exist, `{"error"}` about everything else. An internal
/// error has both, since clients look for either.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    BadRequest(String),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("{what} not found")]
    NotFound { what: &'static str, id: String },
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("the method is not allowed here; allowed: {allow}")]
    MethodNotAllowed { allow: String },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Repeated(#[from] Refused),
    #[error(transparent)]
    Failed(#[from] Failure),
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
            Self::Denied(denied) => denied.status(),
            Self::NotFound { .. } | Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body(error) => error.status(),
            Self::Repeated(refused) => repeatable::status(*refused),
            Self::Failed(failure) => failure.status(),
        }
    }

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
        let text = self.to_string();
        let (id, message, error) = match self {
            Self::NotFound { id, .. } => (Some(id.as_str()), true, false),
            Self::Denied(Denied::Unauthorized) => (None, true, false),
            Self::Failed(failure) | Self::Denied(Denied::Failed(failure)) => {
                (None, true, *failure == Failure::Internal)
            }
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

impl From<tidings_storage::Error> for Refusal {
    fn from(error: tidings_storage::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(error).into()
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
