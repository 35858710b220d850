use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use serde_json::json;

use crate::access::Denied;
use crate::contracts::BodyError;

/// Everything but a success, as `{"error": "…"}`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the token is missing or wrong: send it as `Authorization: Bearer <token>`")]
    Unauthorized,
    #[error("{0}")]
    Bad(String),
    #[error("the method is not allowed here; allowed: {allow}")]
    MethodNotAllowed { allow: String },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the sandbox was told to fail")]
    Told {
        status: StatusCode,
        retry_after: Option<u32>,
    },
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body(error) => error.status(),
            Self::Denied(denied) => denied.status(),
            Self::Told { status, .. } => *status,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        match self {
            Self::Unauthorized => answer.insert_header((WWW_AUTHENTICATE, "Bearer")),
            Self::MethodNotAllowed { allow } => answer.insert_header((ALLOW, allow.as_str())),
            Self::Told {
                retry_after: Some(seconds),
                ..
            } => answer.insert_header((RETRY_AFTER, seconds.to_string())),
            Self::Denied(denied) => {
                denied.insert_headers(&mut answer);
                &mut answer
            }
            _ => &mut answer,
        };
        answer.json(json!({ "error": self.to_string() }))
    }
}

impl Responder for Refusal {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}
