use chrono::{DateTime, Utc};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::{NOTHING, order, shipping};
use crate::harness::on_each_database;
use crate::users::with;

#[tokio::test]
async fn an_order_is_placed_read_and_listed() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let answer = gateway
            .post("/orders", &order(&user_id, "whole-exome-sequencing"))
            .await;
        assert_eq!(answer.status, 201);
        let placed = answer.json();
        let id = placed["id"].as_str().unwrap();
        let created_at = placed["created_at"].as_str().unwrap();
        assert!(created_at.parse::<DateTime<Utc>>().is_ok() && created_at.len() == 24 && created_at.ends_with('Z'));
        let expected = json!({
            "id": id,
            "user_id": user_id,
            "sequencing_type": "whole-exome-sequencing",
            "shipping_info": shipping(),
            "channel": "sms",
            "created_at": created_at,
        });
        assert_eq!(placed, expected);
        let url = format!("http://{}/orders/{id}", gateway.addr);
        assert_eq!(answer.header("location"), Some(&url[..]));
        let read = gateway.get(&format!("/orders/{id}")).await;
        assert_eq!((read.status.as_u16(), read.json()), (200, expected.clone()));

        let second = gateway.place(&order(&user_id, "targeted-sequencing")).await;
        assert_eq!(second["channel"], "email");
        assert_eq!(gateway.listed("/orders").await, [expected.clone(), second.clone()]);

        // Two events, each about an order as it was answered.
        let events = gateway.events().await;
        let seen: Vec<_> = events[1..]
            .iter()
            .map(|event| {
                let payload: Value = serde_json::from_slice(&event.payload).unwrap();
                (event.topic.as_str(), event.event_type.as_str(), event.sequence, payload)
            })
            .collect();
        let event = |order| {
            (
                "orders-events",
                "tidings.order.placed",
                1,
                json!({"action": "create", "data": order}),
            )
        };
        assert_eq!(seen, [event(expected), event(second)]);
        assert_eq!(events[1].key, id);
    })
    .await;
}

#[tokio::test]
async fn the_channel_is_the_one_that_is_named_or_else_what_the_type_says() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        for (sequencing, named, channel) in [
            ("whole-exome-sequencing", None, "sms"),
            ("whole-exome-sequencing", Some("email"), "email"),
            ("whole-exome-sequencing", Some("sms"), "sms"),
            ("whole-genome-sequencing", None, "email"),
            ("whole-genome-sequencing", Some("sms"), "sms"),
            ("Whole-Exome-Sequencing", None, "email"),
            ("whole-exome-sequencing ", None, "email"),
            ("néant 👋", None, "email"),
        ] {
            let mut body = order(&user_id, sequencing);
            if let Some(named) = named {
                body["channel"] = json!(named);
            }
            let placed = gateway.place(&body).await;
            assert_eq!(placed["channel"], channel, "{sequencing:?} {named:?}");
            assert_eq!(placed["sequencing_type"], sequencing, "as it was sent");
        }
    })
    .await;
}

#[tokio::test]
async fn a_user_is_named_by_a_number_or_by_its_digits() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        for form in [
            user_id.clone(),
            json!(user_id.to_string()),
            json!(format!("0{user_id}")),
        ] {
            let placed = gateway.place(&order(&form, "x")).await;
            assert_eq!(placed["user_id"], user_id, "{form}: an integer in any case");
        }
        for nobody in [json!(99), json!("99"), json!(0), json!(i64::MAX)] {
            let answer = gateway.post("/orders", &order(&nobody, "x")).await;
            assert_eq!(answer.status, 404, "{nobody}");
            assert_eq!(answer.error(), "there is no user with this user_id");
        }
        assert_eq!(gateway.events().await.len(), 4, "nothing of those that were refused");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_order_is_not_found() {
    on_each_database(async |gateway| {
        for kind in ["order", "notification"] {
            for id in [
                NOTHING,
                "42",
                "null",
                &NOTHING.to_uppercase(),
                &NOTHING.replace('-', ""),
            ] {
                let answer = gateway.get(&format!("/{kind}s/{id}")).await;
                let error = format!("there is no such {kind}");
                assert_eq!((answer.status.as_u16(), answer.error()), (404, error), "{id}");
            }
        }
        assert!(gateway.listed("/orders").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn addresses_are_kept_as_they_are() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        for line in [
            "",
            "   ",
            " padded ",
            "Zürich\n8001",
            &"é".repeat(255),
            "'; DROP TABLE orders; --",
        ] {
            let all = [
                "delivery_name",
                "first_line",
                "second_line",
                "town",
                "postcode",
                "country",
            ];
            let lines: Value = all.iter().map(|name| ((*name).to_owned(), json!(line))).collect();
            let body = with(order(&user_id, "x"), json!({"shipping_info": lines, "unknown": [1]}));
            let placed = gateway.place(&body).await;
            assert_eq!(placed["shipping_info"], lines);
            let read = gateway
                .get(&format!("/orders/{}", placed["id"].as_str().unwrap()))
                .await;
            assert_eq!(read.json(), placed);
        }
    })
    .await;
}

/// Nobody orders for someone who is gone: each order comes before the user's end, or is refused.
#[tokio::test]
async fn an_order_for_someone_who_is_being_deleted_is_kept_or_refused() {
    on_each_database(async |gateway| {
        for round in 0..3 {
            let user_id = gateway.person("Serge").await;
            let before = gateway.listed("/orders").await.len();
            let body = order(&user_id, "x");
            let path = format!("/api/v1/users/{user_id}");
            let ordering = join_all((0..12).map(|_| gateway.post("/orders", &body)));
            let (answers, deleted) = join(ordering, gateway.delete(&path)).await;
            assert_eq!(deleted.status, 204);
            let placed = answers.iter().filter(|answer| answer.status == 201).count();
            let refused = answers.iter().filter(|answer| answer.status == 404).count();
            assert_eq!(placed + refused, 12, "{answers:?}");
            assert_eq!(gateway.listed("/orders").await.len(), before + placed, "round {round}");
            assert_eq!(gateway.post("/orders", &body).await.status, 404);
            // The last of all events, as they will be published.
            let types = gateway.event_types().await;
            assert_eq!(types.last().map(String::as_str), Some("tidings.user.deleted"));
        }
        // Those that were placed stay, of people who are no longer shown.
        assert!(gateway.listed("/users").await.is_empty());
    })
    .await;
}
