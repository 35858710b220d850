use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};
use tidings_domain::TextFault;

use super::listing::BadParameter;
use crate::application::users::{NotAdmitted, Problem, Problems, UserError};
use crate::contracts::failure::Failure;
use crate::contracts::fault::Fault;

/// Everything but a success, in the contract's forms: `{"field": ["…"]}` about fields,
/// `{"non_field_errors": ["…"]}` about all of a body, `{"detail": "…"}` about everything else.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("fields are not as they must be")]
    Fields(Problems),
    #[error("parameters cannot be read")]
    Query(Vec<BadParameter>),
    /// What it is instead; `None` for null.
    #[error("the body is not an object")]
    NotAnObject(Option<&'static str>),
    #[error("JSON parse error - {0}")]
    Json(serde_json::Error),
    #[error("Only users located in Switzerland can be created (remote address in {0})")]
    Elsewhere(String),
    #[error("Not found.")]
    NotFound,
    #[error("Invalid page.")]
    InvalidPage,
    #[error("Method \"{0}\" not allowed.")]
    MethodNotAllowed(Method),
    #[error(transparent)]
    Fault(Fault),
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Fields(_) | Self::Query(_) | Self::NotAnObject(_) | Self::Json(_) => StatusCode::BAD_REQUEST,
            Self::Elsewhere(_) => StatusCode::FORBIDDEN,
            Self::NotFound | Self::InvalidPage => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Fault(fault) => fault.status(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = match self {
            Self::Fault(fault) => fault.answer(),
            _ => HttpResponse::build(self.status_code()),
        };
        answer.json(self.body())
    }
}

impl Refusal {
    fn body(&self) -> Value {
        match self {
            Self::Fields(problems) => fields(problems),
            Self::Query(bad) => bad
                .iter()
                .map(|(name, text)| ((*name).to_owned(), json!([text])))
                .collect(),
            Self::NotAnObject(kind) => {
                let text = match kind {
                    Some(kind) => format!("Invalid data. Expected a dictionary, but got {kind}."),
                    None => "No data provided".to_owned(),
                };
                json!({ "non_field_errors": [text] })
            }
            _ => json!({ "detail": self.to_string() }),
        }
    }
}

fn fields(problems: &Problems) -> Value {
    let fields: Map<_, _> = problems
        .iter()
        .map(|(field, problems)| {
            let texts: Vec<_> = problems.iter().map(|problem| text(*problem)).collect();
            (field.name().to_owned(), texts.into())
        })
        .collect();
    Value::Object(fields)
}

fn text(problem: Problem) -> String {
    match problem {
        Problem::Missing => "This field is required.".to_owned(),
        Problem::Null => "This field may not be null.".to_owned(),
        Problem::NotText => "Not a valid string.".to_owned(),
        Problem::Taken => "user with this email already exists.".to_owned(),
        Problem::Text(TextFault::Blank) => "This field may not be blank.".to_owned(),
        Problem::Text(TextFault::TooLong { max }) => format!("Ensure this field has no more than {max} characters."),
        Problem::Text(TextFault::Nul) => "Null characters are not allowed.".to_owned(),
        Problem::Text(TextFault::NotAnEmail) => "Enter a valid email address.".to_owned(),
    }
}

impl actix_web::Responder for Refusal {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _: &actix_web::HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(NotAdmitted { country }: NotAdmitted) -> Self {
        Self::Elsewhere(country.map_or_else(|| "Undefined".to_owned(), |country| country.name().to_owned()))
    }
}

impl<E: Into<Fault>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Problems(problems) => Self::Fields(problems),
            UserError::Refused(refused) => refused.into(),
            UserError::Storage(error) => error.into(),
            UserError::Hash(error) => Failure::internal(&error).into(),
        }
    }
}
