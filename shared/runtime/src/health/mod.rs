//! What "ready" depends on, and the pages that say so.
//!
//! Ready means that the process can do its own work: its database and broker answer. What lies outside,
//! such as a webhook receiver, is never asked: a stranger's outage must not take the service down with it.

mod routes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;

pub use routes::{METRICS_PATH, PATHS, metrics_route, routes};

/// How long one check may take before it counts as failed.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// What the build says about itself, at `/version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    pub version: &'static str,
    pub commit: &'static str,
    /// RFC 3339.
    pub built_at: &'static str,
}

/// What a check has to add to its "ok".
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckDetail {
    /// Shown beside the dependency's status.
    pub text: Option<String>,
    /// Shown at the top of the report under their own names, such as `delivery_lag_seconds`.
    pub numbers: BTreeMap<&'static str, f64>,
}

impl CheckDetail {
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::default()
        }
    }

    pub fn number(mut self, name: &'static str, value: f64) -> Self {
        self.numbers.insert(name, value);
        self
    }
}

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    Unavailable,
}

/// The state of one dependency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The state of all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readiness {
    /// `ok` if every dependency is.
    pub status: Status,
    pub checks: BTreeMap<String, CheckReport>,
    #[serde(flatten)]
    pub numbers: BTreeMap<&'static str, f64>,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.status == Status::Ok
    }
}

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<CheckDetail, String>> + Send + Sync>;

/// The checks of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<RwLock<BTreeMap<String, Check>>>,
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check, in place of one of the same name. Its error is shown to whoever may read the page,
    /// so it must not contain secrets.
    pub fn register<F>(&self, name: impl Into<String>, check: F)
    where
        F: Fn() -> BoxFuture<'static, Result<CheckDetail, String>> + Send + Sync + 'static,
    {
        let mut checks = self.checks.write().unwrap_or_else(PoisonError::into_inner);
        checks.insert(name.into(), Arc::new(check));
    }

    /// Runs all checks at the same time, each within [`DEADLINE`].
    pub async fn ready(&self) -> Readiness {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        run(checks).await
    }

    /// The same for the check of this name alone, if there is one.
    pub async fn ready_as_to(&self, name: &str) -> Option<Readiness> {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (name, check) = checks.get_key_value(name)?;
        Some(run([(name.clone(), check.clone())].into()).await)
    }
}

async fn run(checks: BTreeMap<String, Check>) -> Readiness {
    let results = join_all(checks.into_iter().map(|(name, check)| async move {
        let result = tokio::time::timeout(DEADLINE, check()).await;
        (
            name,
            result.unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}"))),
        )
    }))
    .await;
    let mut report = Readiness {
        status: Status::Ok,
        checks: BTreeMap::new(),
        numbers: BTreeMap::new(),
    };
    for (name, result) in results {
        let check = match result {
            Ok(detail) => {
                report.numbers.extend(detail.numbers);
                CheckReport {
                    status: Status::Ok,
                    detail: detail.text,
                }
            }
            Err(error) => {
                report.status = Status::Unavailable;
                CheckReport {
                    status: Status::Unavailable,
                    detail: Some(error),
                }
            }
        };
        report.checks.insert(name, check);
    }
    report
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(checks.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(detail: CheckDetail) -> BoxFuture<'static, Result<CheckDetail, String>> {
        Box::pin(async { Ok(detail) })
    }

    #[tokio::test]
    async fn without_checks_a_process_is_ready() {
        assert!(Health::new().ready().await.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_names_each_dependency() {
        let health = Health::new();
        health.register("database", || {
            ok(CheckDetail::text("sqlite").number("delivery_lag_seconds", 1.5))
        });
        health.register("broker", || Box::pin(async { Err("connection refused".to_owned()) }));
        health.register("hanging", || Box::pin(std::future::pending()));
        let report = serde_json::to_value(health.ready().await).unwrap();
        assert_eq!(
            report,
            serde_json::json!({
                "status": "unavailable",
                "checks": {
                    "broker": {"status": "unavailable", "detail": "connection refused"},
                    "database": {"status": "ok", "detail": "sqlite"},
                    "hanging": {"status": "unavailable", "detail": "no answer within 1s"},
                },
                "delivery_lag_seconds": 1.5,
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn checks_run_at_the_same_time() {
        let health = Health::new();
        for name in ["one", "two", "three"] {
            health.register(name, || Box::pin(std::future::pending()));
        }
        let start = tokio::time::Instant::now();
        health.ready().await;
        assert!(start.elapsed() < 2 * DEADLINE);
    }
}
