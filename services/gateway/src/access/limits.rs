//! How often somebody may ask, and how much is done at a time.
//!
//! Guaranteed: of one key, and of one address, no more requests are let through than its bucket holds and is
//! refilled with. An address is asked for before its key is looked at, so that wrong keys are counted, too.
//! What is kept of whoever asked takes up [`HELD`] buckets at most, however many addresses somebody has;
//! those that ask most are the last to be forgotten. More than so many requests at a time are refused at once
//! rather than left waiting.
//!
//! Not guaranteed: anything across processes. Each gateway has buckets of its own.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;
use tidings_runtime::settings::RateLimit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Denied;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Buckets of one kind at most.
const HELD: u64 = 50_000;

/// What a gateway lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one key.
    pub per_key: Option<RateLimit>,
    /// Of one IPv4 address, or of one IPv6 network of 64 bits, which is what a household gets.
    pub per_address: Option<RateLimit>,
    /// Requests that are carried out at a time.
    pub at_a_time: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_key: None,
            per_address: None,
            at_a_time: 1024,
        }
    }
}

/// The buckets, and the places for requests under way.
#[derive(Debug)]
pub(super) struct Turnstile {
    keys: Option<Buckets<Arc<str>>>,
    addresses: Option<Buckets<IpAddr>>,
    places: Arc<Semaphore>,
}

impl Turnstile {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            keys: limits.per_key.and_then(|limit| Buckets::new("key", limit)),
            addresses: limits.per_address.and_then(|limit| Buckets::new("address", limit)),
            places: Arc::new(Semaphore::new(limits.at_a_time)),
        }
    }

    /// A place for one request, until it is dropped.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Denied> {
        self.places.clone().try_acquire_owned().map_err(|_| Denied::Busy)
    }

    /// Counts a request from that address.
    pub(super) fn count_address(&self, address: IpAddr, standing: &mut Standing) -> Result<(), Denied> {
        match &self.addresses {
            Some(buckets) => standing.note(buckets.take(network(address))),
            None => Ok(()),
        }
    }

    /// Counts a request with that key.
    pub(super) fn count_key(&self, id: &Arc<str>, standing: &mut Standing) -> Result<(), Denied> {
        match &self.keys {
            Some(buckets) => standing.note(buckets.take(id.clone())),
            None => Ok(()),
        }
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(prefix).into()
        }
        address => address,
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// One bucket for everybody of a kind who asked lately.
struct Buckets<K> {
    name: &'static str,
    limit: RateLimit,
    quota: Quota,
    held: Cache<K, Arc<Bucket>>,
    clock: DefaultClock,
}

impl<K> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// What is left in a bucket.
struct Level {
    name: &'static str,
    limit: RateLimit,
    left: u32,
    /// Until it is full again, or, if nothing was left, until there is something in it.
    wait: Duration,
    refused: bool,
}

impl<K: Hash + Eq + Send + Sync + 'static> Buckets<K> {
    /// `None` for a limit that does not limit anything.
    fn new(name: &'static str, limit: RateLimit) -> Option<Self> {
        Some(Self {
            name,
            limit,
            quota: Quota::with_period(limit.per / limit.requests.max(1))?.allow_burst(NonZeroU32::new(limit.requests)?),
            // A bucket that nobody has taken from for that long is full, as a new one is.
            held: Cache::builder().max_capacity(HELD).time_to_idle(limit.per).build(),
            clock: DefaultClock::default(),
        })
    }

    fn take(&self, whose: K) -> Level {
        let bucket = self.held.get_with(whose, || {
            let bucket = RateLimiter::direct_with_clock(self.quota, self.clock.clone());
            Arc::new(bucket.with_middleware())
        });
        let level = |left, wait, refused| Level {
            name: self.name,
            limit: self.limit,
            left,
            wait,
            refused,
        };
        match bucket.check() {
            Ok(snapshot) => {
                let left = StateSnapshot::remaining_burst_capacity(&snapshot);
                let taken = self.limit.requests.saturating_sub(left);
                level(left, self.quota.replenish_interval() * taken, false)
            }
            Err(not_until) => level(0, not_until.wait_time_from(self.clock.now()), true),
        }
    }
}

/// How whoever asks stands with the limits, for the headers of the answer.
#[derive(Default)]
pub(super) struct Standing(Vec<Level>);

impl Standing {
    fn note(&mut self, level: Level) -> Result<(), Denied> {
        let denied = level.refused.then(|| Denied::TooMany {
            seconds: seconds(level.wait).max(1),
        });
        self.0.push(level);
        denied.map_or(Ok(()), Err)
    }

    /// Adds `RateLimit-Policy` and `RateLimit`, as the working group for HTTP APIs drafts them.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let mut insert = |name, items: Vec<String>| {
            if let Ok(value) = HeaderValue::try_from(items.join(", ")) {
                headers.insert(name, value);
            }
        };
        if self.0.is_empty() {
            return;
        }
        let policy = |level: &Level| {
            let (requests, window) = (level.limit.requests, seconds(level.limit.per));
            format!("\"{}\";q={requests};w={window}", level.name)
        };
        let state = |level: &Level| format!("\"{}\";r={};t={}", level.name, level.left, seconds(level.wait));
        insert(POLICY, self.0.iter().map(policy).collect());
        insert(LIMIT, self.0.iter().map(state).collect());
    }
}

/// Whole ones, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(requests: u32) -> RateLimit {
        RateLimit {
            requests,
            per: Duration::from_secs(3600),
        }
    }

    #[test]
    fn a_household_is_one_address() {
        let same = |one: &str, other: &str| network(one.parse().unwrap()) == network(other.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && same("1.2.3.4", "::ffff:1.2.3.4"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1") && !same("1.2.3.4", "1.2.3.5"));
    }

    #[test]
    fn what_is_kept_of_strangers_is_bounded_and_who_asks_most_is_not_forgotten() {
        let buckets = Buckets::new("address", limit(100)).unwrap();
        let often: IpAddr = "192.0.2.1".parse().unwrap();
        let mut refused = false;
        for number in 0..3 * HELD as u32 {
            buckets.take(IpAddr::from(number.to_be_bytes()));
            if number % 64 == 0 {
                refused |= buckets.take(often).refused;
            }
        }
        buckets.held.run_pending_tasks();
        assert!(buckets.held.entry_count() <= HELD, "{}", buckets.held.entry_count());
        assert!(refused, "its bucket was forgotten");
    }

    #[test]
    fn the_headers_say_what_is_left() {
        let turnstile = Turnstile::new(Limits {
            per_key: Some(limit(2)),
            per_address: Some(limit(3600)),
            at_a_time: 1,
        });
        let ask = || {
            let (mut standing, mut headers) = (Standing::default(), HeaderMap::new());
            let address = turnstile.count_address("1.2.3.4".parse().unwrap(), &mut standing);
            let key = address.and_then(|()| turnstile.count_key(&"a".into(), &mut standing));
            standing.tell(&mut headers);
            let text = |name| headers.get(name).unwrap().to_str().unwrap().to_owned();
            (key, text(LIMIT), text(POLICY))
        };
        let (first, state, policy) = ask();
        assert_eq!(first, Ok(()));
        assert_eq!(state, "\"address\";r=3599;t=1, \"key\";r=1;t=1800");
        assert_eq!(policy, "\"address\";q=3600;w=3600, \"key\";q=2;w=3600");
        assert_eq!(ask().0, Ok(()));
        let (third, state, _) = ask();
        assert!(
            matches!(third, Err(Denied::TooMany { seconds: 1790..=1800 })),
            "{third:?}"
        );
        assert!(state.contains("\"key\";r=0;t="), "{state}");
    }

    #[test]
    fn there_are_so_many_places() {
        let turnstile = Turnstile::new(Limits {
            at_a_time: 1,
            ..Limits::default()
        });
        let place = turnstile.enter().unwrap();
        assert_eq!(turnstile.enter().unwrap_err(), Denied::Busy);
        drop(place);
        assert!(turnstile.enter().is_ok());
    }

    proptest! {
        #[test]
        fn no_limit_that_can_be_set_and_no_address_panics(requests in 0..=1_000_000_u32, millis in 1_000..=86_400_000_u64, address in any::<IpAddr>()) {
            let limit = RateLimit { requests, per: Duration::from_millis(millis) };
            if let Some(buckets) = Buckets::new("address", limit) {
                buckets.take(network(address));
            }
        }
    }
}
