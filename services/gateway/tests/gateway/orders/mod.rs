//! The kit-order contract.

mod fields;
mod once;
mod paths;
mod people;
mod placing;
mod telling;

use serde_json::{Value, json};

use crate::harness::TestGateway;
use crate::users::user;

pub const NOTHING: &str = "01912d3c-7a10-7c3e-9a52-3f0d7d1c9b11";

pub fn shipping() -> Value {
    json!({
        "delivery_name": "Serge Karamazov",
        "first_line": "12 Gloucester Road",
        "second_line": "",
        "town": "London",
        "postcode": "SW7 4TB",
        "country": "United Kingdom",
    })
}

pub fn order(user_id: &Value, sequencing: &str) -> Value {
    json!({"user_id": user_id, "sequencing_type": sequencing, "shipping_info": shipping()})
}

impl TestGateway {
    /// The id of a new user with that first name.
    pub async fn person(&self, name: &str) -> Value {
        self.user(&user(name, "Karamazov")).await["id"].clone()
    }

    /// An order, as the contract shows it.
    pub async fn place(&self, body: &Value) -> Value {
        let answer = self.post("/orders", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    pub async fn set_phone(&self, user_id: &Value, phone: &str) {
        let answer = self.patch(&format!("/users/{user_id}"), &json!({"phone": phone})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// How many of them there are, which must be what is shown.
    pub async fn listed(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        let data = body["data"].as_array().unwrap().clone();
        assert_eq!(body, json!({"data": data, "count": data.len()}));
        data
    }
}
