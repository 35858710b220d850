//! Providers that are spoken to over HTTP: a POST of JSON for each letter, under a bearer token.
//!
//! `Idempotency-Key` is the letter's id, so that a provider which knows the header can tell a letter that it
//! is handed again. What it answers decides: 2xx means taken; of 4xx all but 408, 409, 425 and 429 mean that
//! there is no use in trying again; everything else, and no answer, means later.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tidings_domain::Clock;
use tidings_runtime::http_client::{Answer, HeaderMap, HeaderName, HeaderValue, OutwardClient, Url};

use super::answer::shown;
use super::{Again, Channel, Failure, Letter, Receipt};

/// Where a provider is, and what it knows us by.
#[derive(Debug, Clone)]
pub struct HttpProvider {
    /// It may contain a key.
    pub url: SecretString,
    pub token: SecretString,
}

/// How a provider wants a letter written.
pub(super) type Form = fn(&Letter) -> Value;

/// The form of the providers of email and SMS, which has no place for a subject.
pub(super) fn recipient_and_message(letter: &Letter) -> Value {
    json!({ "recipient": letter.recipient, "message": letter.message })
}

pub(super) struct HttpChannel {
    url: Url,
    form: Form,
    token: SecretString,
    authorization: HeaderValue,
    client: OutwardClient,
    clock: Arc<dyn Clock>,
}

impl HttpChannel {
    /// The error does not show what it refuses.
    pub(super) fn new(
        provider: &HttpProvider,
        form: Form,
        client: OutwardClient,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let url =
            Url::parse(provider.url.expose_secret()).map_err(|error| format!("the URL cannot be read: {error}"))?;
        let bearer = format!("Bearer {}", provider.token.expose_secret());
        let mut authorization =
            HeaderValue::from_str(&bearer).map_err(|_| "its token does not fit into a header".to_owned())?;
        authorization.set_sensitive(true);
        Ok(Self {
            url,
            form,
            token: provider.token.clone(),
            authorization,
            client,
            clock,
        })
    }

    async fn attempt(&self, letter: &Letter, deadline: Duration) -> Result<Receipt, Failure> {
        let body = (self.form)(letter).to_string();
        let call = self
            .client
            .post(&self.url, self.headers(letter), body.into(), deadline, &*self.clock);
        match call.await {
            Ok(answer) => self.judge(&answer),
            Err(error) => Err(Failure {
                answer: error.to_string(),
                again: Again::Later(None),
            }),
        }
    }

    fn headers(&self, letter: &Letter) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", self.authorization.clone());
        for (name, value) in [
            ("content-type", "application/json"),
            ("idempotency-key", &letter.id.to_string()),
            ("x-correlation-id", letter.origin.correlation_id.as_str()),
            ("traceparent", &letter.origin.traceparent.to_string()),
        ] {
            // None of these can be unfit for a header, and one that were would be left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers
    }

    fn judge(&self, answer: &Answer) -> Result<Receipt, Failure> {
        let said = shown(&answer.body, [self.token.expose_secret()]);
        let said = match said.as_str() {
            "" => answer.status.to_string(),
            said => format!("{}: {said}", answer.status),
        };
        let again = match answer.status {
            200..=299 => return Ok(Receipt { answer: said }),
            408 | 409 | 425 | 429 => Again::Later(answer.retry_after),
            400..=499 => Again::Never,
            _ => Again::Later(answer.retry_after),
        };
        Err(Failure { answer: said, again })
    }
}

impl Channel for HttpChannel {
    fn send<'a>(&'a self, letter: &'a Letter, deadline: Duration) -> BoxFuture<'a, Result<Receipt, Failure>> {
        Box::pin(self.attempt(letter, deadline))
    }
}

impl fmt::Debug for HttpChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Path and query may hold a key.
        f.debug_struct("HttpChannel")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}
