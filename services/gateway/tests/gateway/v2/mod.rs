//! `/api/v2`, and the keys that are made there.

mod api_keys;
mod keys;
mod problems;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Answer, TestGateway, send};

pub const KEYS: &str = "/api/v2/api-keys";

/// A key as it was issued.
pub struct IssuedKey {
    pub id: String,
    pub token: String,
}

impl TestGateway {
    /// Makes a key with the configured one.
    pub async fn issue(&self, role: &str, scopes: &[&str]) -> IssuedKey {
        self.issue_with(json!({"name": "a key", "role": role, "scopes": scopes}))
            .await
    }

    pub async fn issue_with(&self, body: Value) -> IssuedKey {
        let answer = self.post(KEYS, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        IssuedKey {
            id: text("id"),
            token: text("key"),
        }
    }

    /// A request with this key instead of the configured one.
    pub fn with_key(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.open(method, path).bearer_auth(token)
    }

    /// What `GET /contacts` answers to whoever shows this.
    pub async fn admits(&self, token: &str) -> u16 {
        send(self.with_key(token, Method::GET, "/contacts"))
            .await
            .status
            .as_u16()
    }
}

impl Answer {
    /// The problem that this is, of that kind and status.
    pub fn problem(&self, name: &str, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        let kind = problem["type"].as_str().unwrap();
        assert!(kind.ends_with(&format!("/problems/{name}")), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["correlation_id"], self.header("x-correlation-id").unwrap());
        for field in ["title", "detail", "instance"] {
            assert!(!problem[field].as_str().unwrap().is_empty(), "{problem}");
        }
        problem
    }
}
