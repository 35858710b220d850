use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tidings_domain::{Clock, Country};
use tidings_runtime::http_client::{BuildError, HeaderMap, OutwardClient, Url};
use tidings_runtime::reach::Reach;

use super::breaker::Breaker;
use super::{GeoLocator, Unlocated, count};

const SOURCE: &str = "service";
/// Addresses whose countries are kept.
const CACHED: u64 = 10_000;

/// How a web service is dealt with.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// For one question in all.
    pub deadline: Duration,
    /// How long an answer is good for.
    pub kept: Duration,
    /// Failures in a row after which it is left alone.
    pub failures: u32,
    /// For how long.
    pub pause: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            kept: Duration::from_secs(60 * 60),
            failures: 3,
            pause: Duration::from_secs(30),
        }
    }
}

/// A service that answers as ipapi.co does.
#[derive(Debug)]
pub(super) struct WebService {
    url: SecretString,
    deadline: Duration,
    client: OutwardClient,
    clock: Arc<dyn Clock>,
    breaker: Breaker,
    /// Questions about one address at the same time are one question. Only answers are kept: neither a
    /// failure nor an address that was unknown today.
    cache: Cache<IpAddr, Country>,
}

/// What is needed of an answer. Other services of this kind have only some of these fields.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    error: bool,
    reason: Option<String>,
    country_code: Option<String>,
    country: Option<String>,
    country_name: Option<String>,
}

impl WebService {
    pub(super) fn new(url: SecretString, tuning: Tuning, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        Ok(Self {
            url,
            deadline: tuning.deadline,
            client: OutwardClient::new(Reach::Anything)?,
            clock,
            breaker: Breaker::new(tuning.failures, tuning.pause),
            cache: Cache::builder().max_capacity(CACHED).time_to_live(tuning.kept).build(),
        })
    }

    async fn cached(&self, address: IpAddr) -> Result<Country, Unlocated> {
        let entry = self
            .cache
            .entry(address)
            .or_try_insert_with(self.guarded(address))
            .await;
        match entry {
            Ok(entry) => {
                if !entry.is_fresh() {
                    count("cache", "found");
                }
                Ok(entry.into_value())
            }
            Err(error) => Err(Unlocated::clone(&error)),
        }
    }

    /// Asks, unless the service has not answered lately.
    async fn guarded(&self, address: IpAddr) -> Result<Country, Unlocated> {
        let Some(pass) = self.breaker.pass() else {
            count(SOURCE, "rejected");
            return Err(Unlocated::Unavailable("it has not answered lately".to_owned()));
        };
        let begun = Instant::now();
        let answer = self.ask(address).await;
        metrics::histogram!("tidings_geoip_lookup_duration_seconds").record(begun.elapsed());
        match &answer {
            Ok(_) => {
                pass.succeeded();
                count(SOURCE, "found");
            }
            Err(Unlocated::Unknown) => {
                pass.succeeded();
                count(SOURCE, "unknown");
            }
            Err(error) => {
                count(SOURCE, "failed");
                tracing::debug!(%error, "no country");
                if pass.failed() {
                    tracing::warn!(%error, "the country lookup does not answer and is left alone for a while");
                }
            }
        }
        answer
    }

    async fn ask(&self, address: IpAddr) -> Result<Country, Unlocated> {
        let unavailable = |reason: &str| Unlocated::Unavailable(reason.to_owned());
        let url = self.url.expose_secret().replace("{ip}", &address.to_string());
        let url = Url::parse(&url).map_err(|_| unavailable("GEOIP_URL is not a URL"))?;
        let answer = self
            .client
            .get(&url, HeaderMap::new(), self.deadline, &*self.clock)
            .await
            .map_err(|error| Unlocated::Unavailable(error.to_string()))?;
        if answer.status != 200 {
            return Err(Unlocated::Unavailable(format!("status {}", answer.status)));
        }
        read(&answer.body)
    }
}

fn read(body: &str) -> Result<Country, Unlocated> {
    let answer: Answer =
        serde_json::from_str(body).map_err(|_| Unlocated::Unavailable("the answer cannot be read".to_owned()))?;
    if answer.error {
        return Err(match answer.reason.as_deref() {
            // Says more about the one who asks than about the address.
            Some(reason) if reason.to_ascii_lowercase().contains("limit") => {
                Unlocated::Unavailable("asked too often".to_owned())
            }
            _ => Unlocated::Unknown,
        });
    }
    let name = answer.country_name.as_deref();
    let codes = [answer.country_code.as_deref(), answer.country.as_deref()];
    codes
        .into_iter()
        .flatten()
        .find_map(|code| Country::described(code, name))
        .or_else(|| name.or(answer.country.as_deref()).and_then(Country::from_name))
        .ok_or(Unlocated::Unknown)
}

impl GeoLocator for WebService {
    fn locate(&self, address: IpAddr) -> BoxFuture<'_, Result<Country, Unlocated>> {
        Box::pin(self.cached(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_all_their_forms() {
        let found = |code: &str, name: &str| Ok(Country::described(code, Some(name)).unwrap());
        // As ipapi.co has it, in part.
        let full = r#"{"ip": "203.0.113.7", "version": "IPv4", "city": "Lyon", "country": "FR", "country_name": "France",
            "country_code": "FR", "in_eu": true, "latitude": 45.7, "postal": null}"#;
        assert_eq!(read(full), found("FR", "France"));
        assert_eq!(read(r#"{"country": "CH"}"#), found("CH", "Switzerland"));
        assert_eq!(read(r#"{"country_name": "Switzerland"}"#), found("CH", "Switzerland"));
        assert_eq!(read(r#"{"country": "Spain"}"#), found("ES", "Spain"));
        for unknown in [
            r#"{"ip": "127.0.0.1", "error": true, "reason": "Reserved IP Address", "reserved": true}"#,
            r#"{"country": null, "country_name": null}"#,
            r#"{"country": "Undefined"}"#,
            "{}",
        ] {
            assert_eq!(read(unknown), Err(Unlocated::Unknown), "{unknown}");
        }
        for failed in ["", "FR", "<html>", "[]", r#"{"error": true, "reason": "RateLimited"}"#] {
            assert!(matches!(read(failed), Err(Unlocated::Unavailable(_))), "{failed}");
        }
    }
}
