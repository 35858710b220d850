//! The users contract.

mod accounts;
mod fields;
mod listing;
mod once;
mod paths;
mod sign_up;

use serde_json::{Value, json};

use crate::harness::{Answer, TestGateway};

pub const USERS: &str = "/api/v1/users";
pub const COLLECTION: &str = "GET, POST, HEAD, OPTIONS";
pub const ITEM: &str = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS";

/// Somebody with that name, at that name's own address.
pub fn user(first_name: &str, last_name: &str) -> Value {
    json!({
        "first_name": first_name,
        "last_name": last_name,
        "email": format!("{}{last_name}@example.com", &first_name[..1]).to_lowercase(),
        "password": "myP@ssW0ord52",
        "address": "",
    })
}

/// `base` with other values for some fields; null removes one.
pub fn with(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

impl TestGateway {
    /// A new user, as the contract shows it.
    pub async fn user(&self, body: &Value) -> Value {
        let answer = self.post(USERS, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// The path of a user.
    pub fn path(&self, user: &Value) -> String {
        format!("{USERS}/{}", user["id"])
    }

    pub async fn user_count(&self) -> u64 {
        self.get(USERS).await.json()["count"].as_u64().unwrap()
    }
}

impl Answer {
    /// The text of `{"detail"}`, which must be all there is.
    pub fn detail(&self) -> String {
        let body = self.json();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        body["detail"].as_str().unwrap().to_owned()
    }
}
