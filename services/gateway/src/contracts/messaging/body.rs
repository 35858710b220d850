use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde_json::Value;

use super::Refusal;
use super::fields::Fields;
use crate::contracts::body;

/// A request's body.
#[derive(Debug)]
pub(super) struct Body(body::Body);

impl Body {
    /// Reads it as the JSON object that it has to be.
    pub(super) fn fields(&self) -> Result<Fields, Refusal> {
        match serde_json::from_slice(self.0.bytes()) {
            Ok(Value::Object(fields)) => Ok(Fields::new(fields)),
            Ok(_) => Err(Refusal::BadRequest("the body must be a JSON object".to_owned())),
            Err(error) => Err(Refusal::BadRequest(format!("the body is not valid JSON: {error}"))),
        }
    }

    pub(super) fn whole(&self) -> &body::Body {
        &self.0
    }
}

impl FromRequest for Body {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (headers, payload) = (request.headers().clone(), payload.take());
        Box::pin(async move { Ok(Self(body::Body::read(&headers, payload).await?)) })
    }
}
