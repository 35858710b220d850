//! The one client for calls to the outside: webhooks, and questions to other services.
//!
//! Guaranteed for every call:
//! - It ends by its deadline, which covers the name's resolution, the connection and the whole answer; a
//!   receiver that sends a byte now and then gains nothing by it.
//! - It reaches what the client's [`Reach`] admits, nothing else. Addresses are judged when a connection is
//!   made. Redirects are not followed and no proxy is used, so no one else chooses where it goes.
//! - At most [`BODY_LIMIT`] bytes of an answer's body are read.
//! - Errors name the host but neither path, query nor headers, which may hold secrets.
//!
//! Not guaranteed: that a call which ended with an error was not received. The name is resolved by the
//! operating system on a thread of its own, which may outlast the deadline even though the call does not.
//!
//! Limits and timeouts here may be changed freely. The resolver must stay in front of every connection: a
//! second client beside this one would be a way around it.

mod answer;
mod error;
mod target;

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tidings_domain::Clock;
use tokio::time::{Instant, timeout, timeout_at};

pub use answer::{Answer, BODY_LIMIT};
pub use bytes::Bytes;
pub use error::{BuildError, CallError};
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use url::Url;

#[cfg(doc)]
use crate::reach::Reach;
use crate::reach::{Forbidden, Resolver, Unresolved};

/// A connection that is not made by then will not be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// As many connections to one host are kept as are ever in use at a time.
const IDLE_PER_HOST: usize = 256;
/// Shorter than the keep-alive of common servers, so that the one to close first is seldom the server.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const HEADER_LIMIT: u32 = 16 * 1024;

/// The client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct OutwardClient {
    client: reqwest::Client,
    resolver: Resolver,
}

impl OutwardClient {
    /// A client for what this resolver admits; a [`Reach`] alone is one that asks the operating system for
    /// names.
    pub fn new(resolver: impl Into<Resolver>) -> Result<Self, BuildError> {
        install_crypto_provider();
        let resolver = resolver.into();
        let client = match builder(&resolver).build() {
            Ok(client) => client,
            Err(error) => {
                // The usual reason is a machine without certificates. Plain HTTP still works there.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no trusted certificates were found, so every https receiver will be refused"
                );
                builder(&resolver).tls_certs_only([]).build().map_err(BuildError)?
            }
        };
        Ok(Self { client, resolver })
    }

    /// Sends one POST. The clock is needed for a `Retry-After` that names a time of day.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
        clock: &dyn Clock,
    ) -> Result<Answer, CallError> {
        let request = self.client.post(url.clone()).headers(headers).body(body);
        self.call(url, request, deadline, clock).await
    }

    /// Sends one GET.
    pub async fn get(
        &self,
        url: &Url,
        headers: HeaderMap,
        deadline: Duration,
        clock: &dyn Clock,
    ) -> Result<Answer, CallError> {
        let request = self.client.get(url.clone()).headers(headers);
        self.call(url, request, deadline, clock).await
    }

    /// Judges a URL before there is anything to send: whether it could be called now, as far as that can be
    /// told without calling it. A name that has no address is not held against it.
    ///
    /// # Errors
    /// [`CallError::Unsuitable`] and [`CallError::Forbidden`]. Calls judge again: who answers for a name may
    /// answer otherwise the next time.
    pub async fn check(&self, url: &Url) -> Result<(), CallError> {
        let host = target::host(url, &self.resolver)?;
        match timeout(CONNECT_TIMEOUT, self.resolver.resolve(&host)).await {
            Ok(Err(Unresolved::Forbidden(Forbidden { address, reason }))) => {
                Err(CallError::Forbidden { host, address, reason })
            }
            _ => Ok(()),
        }
    }

    async fn call(
        &self,
        url: &Url,
        request: reqwest::RequestBuilder,
        deadline: Duration,
        clock: &dyn Clock,
    ) -> Result<Answer, CallError> {
        let host = target::host(url, &self.resolver)?;
        let end = Instant::now() + deadline;
        let call = async {
            let response = request
                .send()
                .await
                .map_err(|error| CallError::from_send(&error, &host))?;
            Answer::read(response, clock)
                .await
                .map_err(|error| CallError::from_read(&error, &host))
        };
        timeout_at(end, call).await.unwrap_or(Err(CallError::Timeout {
            host: host.clone(),
            deadline,
        }))
    }
}

/// Makes the TLS of this process use *ring*. Whoever builds a `reqwest` client of their own calls this
/// first; further calls do nothing.
pub fn install_crypto_provider() {
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn builder(resolver: &Resolver) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("Tidings/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .dns_resolver(Vetted(resolver.clone()))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http2_max_header_list_size(HEADER_LIMIT)
}

/// The resolver as `reqwest` wants it.
struct Vetted(Resolver);

impl Resolve for Vetted {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let admitted = match resolver.resolve(name.as_str()).await {
                Ok(admitted) => admitted,
                // Bare, so that the reason of a call that failed can be told by its root.
                Err(Unresolved::Forbidden(forbidden)) => return Err(forbidden.into()),
                Err(Unresolved::Unknown(error)) => return Err(error.into()),
            };
            // Port 0 is replaced by the URL's.
            let sockets = admitted.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets) as Addrs)
        })
    }
}
