//! In which country an address is, and which address a request comes from.
//!
//! Guaranteed: [`Locator`] answers within the deadline of its service, and soon once the service has
//! failed a few times in a row: then it is left alone but for one question now and then. Private and
//! loopback addresses are never asked about.
//!
//! Not guaranteed: that the answer is right or of this minute. It is kept for a while, and whoever sits
//! behind a tunnel is where the tunnel ends.
//!
//! May be changed safely: which sources there are and in which order. A source says *unknown* only if it
//! was asked and does not know; everything else is *unavailable*.

mod breaker;
mod client;
mod file;
mod service;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tidings_domain::{Clock, Country};

pub(crate) use self::client::client_address;
use self::file::CountryFile;
pub use self::service::Tuning;
use self::service::WebService;

/// Somebody who knows where addresses are.
pub trait GeoLocator: fmt::Debug + Send + Sync {
    fn locate(&self, address: IpAddr) -> BoxFuture<'_, Result<Country, Unlocated>>;
}

/// Why the country of an address is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unlocated {
    #[error("the address is in no country that is known")]
    Unknown,
    /// The text never holds the service's URL, which may contain a key.
    #[error("the country cannot be looked up: {0}")]
    Unavailable(String),
}

/// Why there is no locator.
#[derive(Debug, thiserror::Error)]
pub enum LocatorError {
    #[error("GEOIP_DATABASE: {path} cannot be read as a MaxMind database")]
    File {
        path: String,
        #[source]
        source: maxminddb::MaxMindDbError,
    },
    #[error(transparent)]
    Client(#[from] tidings_runtime::http_client::BuildError),
}

/// Asks one source after the other until one knows.
#[derive(Debug)]
pub struct Locator {
    /// Of private and loopback addresses.
    local: Option<Country>,
    sources: Vec<Box<dyn GeoLocator>>,
}

impl Locator {
    /// A web service at a URL with `{ip}` in it, and after it a file in MaxMind's format, if there is one.
    pub fn new(
        url: SecretString,
        database: Option<&Path>,
        local: Option<Country>,
        tuning: Tuning,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LocatorError> {
        let mut sources: Vec<Box<dyn GeoLocator>> = vec![Box::new(WebService::new(url, tuning, clock)?)];
        if let Some(path) = database {
            let file = CountryFile::open(path).map_err(|source| LocatorError::File {
                path: path.display().to_string(),
                source,
            })?;
            sources.push(Box::new(file));
        }
        Ok(Self { local, sources })
    }

    async fn ask(&self, address: IpAddr) -> Result<Country, Unlocated> {
        let address = address.to_canonical();
        if is_local(address) {
            return self.local.clone().ok_or(Unlocated::Unknown);
        }
        let mut answer = Err(Unlocated::Unknown);
        for source in &self.sources {
            answer = source.locate(address).await;
            if answer.is_ok() {
                break;
            }
        }
        answer
    }
}

impl GeoLocator for Locator {
    fn locate(&self, address: IpAddr) -> BoxFuture<'_, Result<Country, Unlocated>> {
        Box::pin(self.ask(address))
    }
}

/// Whether an address means something within a machine or a site only.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Counts what became of a question.
fn count(source: &'static str, outcome: &'static str) {
    metrics::counter!("tidings_geoip_lookups_total", "source" => source, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_local() {
        for local in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for local in ["::1", "fd00::1", "fe80::1"] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "203.0.113.7",
            "0.0.0.0",
            "2001:4860:4860::8888",
            "::",
        ] {
            assert!(!is_local(public.parse().unwrap()), "{public}");
        }
    }
}
