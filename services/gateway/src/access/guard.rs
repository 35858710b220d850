use std::net::IpAddr;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, Route, web};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::limits::{Limits, Standing, Turnstile};
use super::policy::Need;
use super::{Caller, Denied, Policy};
use crate::application::Application;
use crate::application::api_keys::Holder;
use crate::contracts::{Failure, Surroundings};
use crate::observe::Trace;

/// For all of a request: its body, its turn at the database and its answer have shorter times of their own. Whoever
/// is still waiting then is told to come back.
const TIME: Duration = Duration::from_secs(45);

/// What all guards go by.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    application: Application,
    open_contracts: bool,
    turnstile: Turnstile,
}

impl Gatekeeper {
    /// `open_contracts` is whether contracts that were published without authentication need no key.
    pub(crate) fn new(application: Application, open_contracts: bool, limits: Limits) -> Self {
        Self {
            application,
            open_contracts,
            turnstile: Turnstile::new(limits),
        }
    }
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
    let (asked, mut standing) = (request.request().clone(), Standing::default());
    let answered = async {
        let (caller, _place) = admit(&asked, policy, &mut standing).await?;
        asked.extensions_mut().insert(caller);
        match timeout(TIME, next.call(request)).await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(Denied::TooLong),
        }
    };
    let mut answer = match answered.await {
        Ok(answer) => answer?,
        Err(denied) => ServiceResponse::new(asked, R::from(denied).error_response()),
    };
    standing.tell(answer.headers_mut());
    Ok(answer)
}

/// Who asks, and a place for the request, to be kept until it is answered.
async fn admit(
    request: &HttpRequest,
    policy: Option<Policy>,
    standing: &mut Standing,
) -> Result<(Caller, OwnedSemaphorePermit), Denied> {
    let gatekeeper = request.app_data::<web::Data<Gatekeeper>>().ok_or(Failure::Internal)?;
    let trace = Trace::find(request).ok_or(Failure::Internal)?;
    let Some(policy) = policy else {
        tracing::error!("the operation has no policy");
        return Err(Failure::Internal.into());
    };
    let turnstile = &gatekeeper.turnstile;
    let place = turnstile.enter()?;
    if let Some(address) = address(request) {
        turnstile.count_address(address, standing)?;
    }
    let need = match policy {
        Policy::Open => return Ok((Caller::new(None, trace), place)),
        Policy::Contract(_) if gatekeeper.open_contracts => None,
        Policy::Key(need) | Policy::Contract(need) => Some(need),
    };
    let holder = match bearer(request) {
        Some(token) => gatekeeper.application.holder(token).await.map_err(Failure::from),
        None => Ok(None),
    };
    let holder = match need {
        // Who asks is only of interest for the events. Nobody is kept out because that cannot be found out.
        None => holder.unwrap_or_default(),
        Some(_) => Some(holder?.ok_or(Denied::Unauthorized)?),
    };
    if let Some(holder) = &holder {
        turnstile.count_key(&holder.id, standing)?;
        need.map_or(Ok(()), |need| need.check(holder))?;
    }
    Ok((Caller::new(holder, trace), place))
}

/// Where a request comes from: who a trusted proxy says, or whoever is at the other end of the connection.
fn address(request: &HttpRequest) -> Option<IpAddr> {
    let surroundings = request.app_data::<web::Data<Surroundings>>();
    let named = surroundings.and_then(|surroundings| surroundings.client(request));
    named.or_else(|| Some(request.peer_addr()?.ip()))
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
