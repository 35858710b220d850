use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::body::BodyError;
use super::failure::{Failure, RETRY};
use super::fields::BadBody;
use super::repeatable::{self, BadKey};
use crate::access::Denied;
use crate::application::idempotency::Refused;

/// What every contract refuses alike, in the same words. Only the form in which it says so is its own.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Denied(Denied),
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
            Self::Denied(denied) => denied.status(),
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
            Self::Denied(denied) => denied.insert_headers(&mut answer),
            Self::MethodNotAllowed { allow } => drop(answer.insert_header((ALLOW, allow.as_str()))),
            Self::Failed(Failure::Unavailable) | Self::Repeated(Refused::InFlight) => {
                answer.insert_header((RETRY_AFTER, RETRY));
            }
            _ => {}
        }
        answer
    }
}

impl From<Denied> for Fault {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Failed(failure) => failure.into(),
            denied => Self::Denied(denied),
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
