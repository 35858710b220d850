//! The GUID contract.

mod cache;
mod expiry;
mod fields;
mod once;
mod pair;
mod paths;
mod races;
mod records;
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use tidings_domain::{Clock, Guid, SystemClock};

use crate::harness::{Answer, TestGateway};

/// Far in the future: 2100-01-01.
pub const LATER: &str = "4102444800";

/// The path of a GUID that nobody else knows.
pub fn path() -> String {
    format!("/guid/{}", Guid::random())
}

/// The machine's clock, moved forward.
#[derive(Debug, Clone, Default)]
pub struct MovedClock(Arc<AtomicI64>);

impl MovedClock {
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The present in Unix time, and so many seconds more.
    pub fn seconds(&self, more: i64) -> i64 {
        self.now().timestamp() + more
    }
}

impl Clock for MovedClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + Duration::seconds(self.0.load(Ordering::SeqCst))
    }
}

impl TestGateway {
    /// A new GUID, as the contract shows it.
    pub async fn guid(&self, body: &Value) -> Value {
        let answer = self.post("/guid", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// Sends it again as long as the database lets nobody in, which does nothing: on a busy machine it takes long to
    /// open as many connections as a race needs.
    pub async fn post_patiently(&self, path: &str, body: &Value) -> Answer {
        loop {
            let answer = self.post(path, body).await;
            if answer.status != 503 {
                return answer;
            }
        }
    }

    /// Registers this one, valid for long.
    pub async fn register(&self, path: &str, user: &str) {
        let answer = self.post(path, &json!({"user": user, "expire": LATER})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Whose it is, if there is one.
    pub async fn user_of(&self, path: &str) -> Option<String> {
        let answer = self.get(path).await;
        match answer.status.as_u16() {
            200 => Some(answer.json()["user"].as_str().unwrap().to_owned()),
            404 => None,
            _ => panic!("{answer:?}"),
        }
    }
}
