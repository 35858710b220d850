use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, Route, web};

use super::policy::Need;
use super::{Caller, Denied, Policy};
use crate::application::Application;
use crate::application::api_keys::Holder;
use crate::contracts::Failure;
use crate::observe::Trace;

/// What all guards go by.
#[derive(Debug, Clone)]
pub(crate) struct Gatekeeper {
    pub(crate) application: Application,
    /// Whether contracts that were published without authentication need no key.
    pub(crate) open_contracts: bool,
}

/// Puts a guard in front of a route. Those whom it denies are told in the form of `R`. A route without a
/// policy admits nobody.
pub(crate) fn guarded<R>(route: Route, policy: Option<Policy>) -> Route
where
    R: ResponseError + From<Denied> + 'static,
{
    route.wrap(from_fn(move |request: ServiceRequest, next: Next<BoxBody>| {
        guard::<R>(request, next, policy)
    }))
}

async fn guard<R>(
    request: ServiceRequest,
    next: Next<BoxBody>,
    policy: Option<Policy>,
) -> Result<ServiceResponse<BoxBody>, Error>
where
    R: ResponseError + From<Denied>,
{
    match admit(request.request(), policy).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.call(request).await
        }
        Err(denied) => {
            let refusal = R::from(denied).error_response();
            Ok(request.into_response(refusal))
        }
    }
}

async fn admit(request: &HttpRequest, policy: Option<Policy>) -> Result<Caller, Denied> {
    let gatekeeper = request.app_data::<web::Data<Gatekeeper>>().ok_or(Failure::Internal)?;
    let trace = Trace::find(request).ok_or(Failure::Internal)?;
    let Some(policy) = policy else {
        tracing::error!("the operation has no policy");
        return Err(Failure::Internal.into());
    };
    let need = match policy {
        Policy::Open => return Ok(Caller::new(None, trace)),
        Policy::Contract(_) if gatekeeper.open_contracts => None,
        Policy::Key(need) | Policy::Contract(need) => Some(need),
    };
    let holder = match bearer(request) {
        Some(token) => gatekeeper.application.holder(token).await.map_err(Failure::from),
        None => Ok(None),
    };
    match need {
        // Who asks is only of interest for the events. Nobody is kept out because that cannot be found out.
        None => Ok(Caller::new(holder.unwrap_or_default(), trace)),
        Some(need) => {
            let holder = holder?.ok_or(Denied::Unauthorized)?;
            need.check(&holder)?;
            Ok(Caller::new(Some(holder), trace))
        }
    }
}

impl Need {
    fn check(self, holder: &Holder) -> Result<(), Denied> {
        if holder.role < self.role {
            return Err(Denied::Role(self.role));
        }
        match holder.scopes.has(self.scope) {
            true => Ok(()),
            false => Err(Denied::Scope(self.scope)),
        }
    }
}

/// What stands after `Authorization: Bearer`.
fn bearer(request: &HttpRequest) -> Option<&[u8]> {
    let header = request.headers().get(AUTHORIZATION)?;
    let mut parts = header.as_bytes().splitn(2, |byte| *byte == b' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_scheme_may_be_written_any_way() {
        let bearer_of = |header: &str| {
            let request = TestRequest::default().insert_header((AUTHORIZATION, header));
            bearer(&request.to_http_request()).map(<[u8]>::to_vec)
        };
        for good in ["Bearer a-key", "bearer a-key", "BEARER  a-key "] {
            assert_eq!(bearer_of(good).unwrap(), b"a-key", "{good}");
        }
        assert_eq!(bearer_of("Bearer a-key, a-key").unwrap(), b"a-key, a-key");
        for bad in ["a-key", "Bearer", "Basic a-key", "Signature a-key"] {
            assert_eq!(bearer_of(bad), None, "{bad}");
        }
        assert_eq!(bearer(&TestRequest::default().to_http_request()), None);
    }
}
