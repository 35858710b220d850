use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::Refusal;
use crate::contracts::body;
use crate::contracts::fields::Fields;

/// A request's body.
#[derive(Debug)]
pub(super) struct Body(body::Body);

impl Body {
    /// Reads it as the JSON object that it has to be.
    pub(super) fn fields(&self) -> Result<Fields, Refusal> {
        Ok(Fields::read(self.0.bytes())?)
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
