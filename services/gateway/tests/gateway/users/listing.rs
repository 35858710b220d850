use serde_json::{Value, json};

use super::{COLLECTION, USERS, user, with};
use crate::harness::{TestGateway, on_each_database};

/// Serge, Odile, John and Zoë, as in the contract's example and a little more.
async fn four(gateway: &TestGateway) -> Vec<Value> {
    let mut users = Vec::new();
    for body in [
        with(user("Serge", "Karamazov"), json!({"address": "Paris"})),
        user("Odile", "Deray"),
        with(user("John", "Malkovitch"), json!({"address": "Russia"})),
        with(
            user("Zora", "Müller"),
            json!({"first_name": "Zoë", "email": "zoe_100%@example.com", "address": "Bahnhofstrasse 1, 8001 Zürich, Switzerland"}),
        ),
    ] {
        users.push(gateway.user(&body).await);
    }
    users
}

/// The first names on a page.
async fn names(gateway: &TestGateway, query: &str) -> Vec<String> {
    let answer = gateway.get(&format!("{USERS}?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let page = answer.json();
    let results = page["results"].as_array().unwrap();
    assert_eq!(page["count"], results.len(), "{query}");
    results
        .iter()
        .map(|user| user["first_name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_page_has_its_count_and_its_users() {
    on_each_database(async |gateway| {
        let empty = json!({"count": 0, "next": null, "previous": null, "results": []});
        for query in ["", "?page=1", "?page=last"] {
            let answer = gateway.get(&format!("{USERS}{query}")).await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, empty.clone()), "{query}");
            assert_eq!(answer.header("allow"), Some(COLLECTION));
        }
        let users = four(gateway).await;
        assert_eq!(
            gateway.get(USERS).await.json(),
            json!({"count": 4, "next": null, "previous": null, "results": users})
        );
    })
    .await;
}

#[tokio::test]
async fn pages_are_linked() {
    on_each_database(async |gateway| {
        let users = four(gateway).await;
        let base = format!("http://{}{USERS}", gateway.addr);
        let page = async |query: &str| gateway.get(&format!("{USERS}?{query}")).await.json();
        let first = page("page_size=3&ordering=&x=a%20b").await;
        assert_eq!(
            first,
            json!({
                "count": 4,
                "next": format!("{base}?ordering=&page=2&page_size=3&x=a+b"),
                "previous": null,
                "results": users[..3],
            })
        );
        let last = json!({
            "count": 4,
            "next": null,
            "previous": format!("{base}?page_size=3"),
            "results": users[3..],
        });
        assert_eq!(page("page=2&page_size=3").await, last);
        assert_eq!(page("page_size=3&page=last").await, last);
        assert_eq!(
            page("page=2&page_size=1").await["previous"],
            format!("{base}?page_size=1")
        );
        assert_eq!(
            page("page=3&page_size=1").await["previous"],
            format!("{base}?page=2&page_size=1")
        );
        // Whoever follows the links sees everyone once.
        for size in 1..=5 {
            let mut seen = Vec::new();
            let mut next = Value::from(format!("{base}?page_size={size}"));
            while let Some(url) = next.as_str() {
                let path = url.strip_prefix(&format!("http://{}", gateway.addr)).unwrap();
                let page = gateway.get(path).await.json();
                seen.extend(page["results"].as_array().unwrap().clone());
                next = page["next"].clone();
            }
            assert_eq!(seen, users, "{size}");
        }
        for bad in [
            "page=3&page_size=3",
            "page=0",
            "page=-1",
            "page=two",
            "page=99999999999999999999",
            "page=2",
        ] {
            let answer = gateway.get(&format!("{USERS}?{bad}")).await;
            assert_eq!(
                (answer.status.as_u16(), answer.detail()),
                (404, "Invalid page.".to_owned()),
                "{bad}"
            );
            assert_eq!(answer.header("allow"), Some(COLLECTION));
        }
        // The path is the one that was called.
        let answer = gateway.get(&format!("{USERS}.json?page_size=3")).await.json();
        assert_eq!(answer["next"], format!("{base}.json?page=2&page_size=3"));
    })
    .await;
}

#[tokio::test]
async fn pages_have_ten_users_and_never_more_than_twenty() {
    on_each_database(async |gateway| {
        let template = user("Serge", "Karamazov");
        for number in 0..22 {
            gateway
                .user(&with(
                    template.clone(),
                    json!({"email": format!("{number}@example.com")}),
                ))
                .await;
        }
        for (query, size) in [
            ("", 10),
            ("page_size=20", 20),
            ("page_size=21", 20),
            ("page_size=0", 10),
            ("page_size=x", 10),
        ] {
            let page = gateway.get(&format!("{USERS}?{query}")).await.json();
            assert_eq!(
                (&page["count"], page["results"].as_array().unwrap().len()),
                (&json!(22), size),
                "{query}"
            );
        }
        let last = gateway.get(&format!("{USERS}?page=last")).await.json();
        assert_eq!(last["results"].as_array().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn lists_can_be_filtered_and_searched() {
    on_each_database(async |gateway| {
        four(gateway).await;
        for (query, expected) in [
            ("last_name=Deray", &["Odile"][..]),
            ("last_name=deray", &[]),
            ("last_name=Dera", &[]),
            ("last_name=Deray&first_name=Odile", &["Odile"]),
            ("last_name=Deray&first_name=Serge", &[]),
            ("first_name=Zo%C3%AB", &["Zoë"]),
            ("first_name=&last_name=", &["Serge", "Odile", "John", "Zoë"]),
            ("first_name=%00", &[]),
            ("first_name=%27%20OR%201=1%20--", &[]),
            ("unknown=1", &["Serge", "Odile", "John", "Zoë"]),
            // The email contains it, or it is the last name, in whatever case.
            ("search=oderay", &["Odile"]),
            ("search=ODERAY", &["Odile"]),
            ("search=deray", &["Odile"]),
            ("search=dera", &["Odile"]),
            ("search=m%C3%9CLLER", &["Zoë"]),
            ("search=m%C3%BCll", &[]),
            ("search=odile", &[]),
            ("search=example.com", &["Serge", "Odile", "John", "Zoë"]),
            ("search=example.com+deray", &["Odile"]),
            ("search=example.com,deray", &["Odile"]),
            ("search=serge+deray", &[]),
            ("search=+", &["Serge", "Odile", "John", "Zoë"]),
            ("search=%25", &["Zoë"]),
            ("search=_", &["Zoë"]),
            ("search=%00oderay", &["Odile"]),
            ("search=oderay&first_name=Serge", &[]),
        ] {
            assert_eq!(names(gateway, query).await, expected, "{query}");
        }
        let many: Vec<_> = (0..2000).map(|number| number.to_string()).collect();
        assert!(names(gateway, &format!("search={}", many.join("+"))).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn lists_can_be_sorted() {
    on_each_database(async |gateway| {
        four(gateway).await;
        gateway
            .user(&with(user("Anna", "deray"), json!({"email": "Anna@example.com"})))
            .await;
        for (ordering, expected) in [
            ("", ["Serge", "Odile", "John", "Zoë", "Anna"]),
            ("email", ["Anna", "John", "Odile", "Serge", "Zoë"]),
            ("-email", ["Zoë", "Serge", "Odile", "John", "Anna"]),
            ("last_name", ["Odile", "Serge", "John", "Zoë", "Anna"]),
            ("-last_name", ["Anna", "Zoë", "John", "Serge", "Odile"]),
            ("password,-email", ["Zoë", "Serge", "Odile", "John", "Anna"]),
            ("first_name", ["Serge", "Odile", "John", "Zoë", "Anna"]),
        ] {
            assert_eq!(
                names(gateway, &format!("ordering={ordering}")).await,
                expected,
                "{ordering}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn lists_can_be_cut_by_id_time_and_country() {
    on_each_database(async |gateway| {
        let users = four(gateway).await;
        let id = |place: usize| users[place]["id"].as_i64().unwrap();
        for (query, expected) in [
            (format!("since_id={}", id(1)), &["John", "Zoë"][..]),
            (format!("max_id={}", id(1)), &["Serge"]),
            (format!("since_id={}&max_id={}", id(0), id(3)), &["Odile", "John"]),
            ("since_id=-1".to_owned(), &["Serge", "Odile", "John", "Zoë"]),
            ("since_id=99999999999999999999".to_owned(), &[]),
            ("until=2001-01-01".to_owned(), &[]),
            (
                "until=2999-01-01T00:00:00Z".to_owned(),
                &["Serge", "Odile", "John", "Zoë"],
            ),
            ("country=Russia".to_owned(), &["John"]),
            ("country=russia".to_owned(), &["John"]),
            ("country=RU".to_owned(), &["John"]),
            ("country=Switzerland".to_owned(), &["Zoë"]),
            ("country=CH".to_owned(), &["Zoë"]),
            ("country=France".to_owned(), &[]),
            ("country=%25".to_owned(), &[]),
            ("country=".to_owned(), &["Serge", "Odile", "John", "Zoë"]),
        ] {
            assert_eq!(names(gateway, &query).await, expected, "{query}");
        }
        // To the moment: whoever was created then was not created before.
        gateway
            .database
            .tamper(&moved(gateway, id(0), "2020-01-01 00:00:00"))
            .await;
        gateway
            .database
            .tamper(&moved(gateway, id(1), "2020-01-02 00:00:00"))
            .await;
        for (until, expected) in [
            ("2020-01-01", &[][..]),
            ("2020-01-02", &["Serge"]),
            ("2020-01-02T00:00:01Z", &["Serge", "Odile"]),
            ("2020-01-02T01:00:00%2B01:00", &["Serge"]),
        ] {
            assert_eq!(names(gateway, &format!("until={until}")).await, expected, "{until}");
        }
        let bad = gateway.get(&format!("{USERS}?since_id=x&max_id=1.5&until=soon")).await;
        assert_eq!(
            (bad.status.as_u16(), bad.json()),
            (
                400,
                json!({
                    "since_id": ["Enter a whole number."],
                    "max_id": ["Enter a whole number."],
                    "until": ["Enter a valid date/time."],
                })
            )
        );
    })
    .await;
}

/// Moves a user's creation, in the form that the database keeps times in.
fn moved(gateway: &TestGateway, id: i64, time: &str) -> String {
    let zone = if gateway.database.name == "PostgreSQL" {
        "+00"
    } else {
        "+00:00"
    };
    let time = if gateway.database.name == "PostgreSQL" {
        time.to_owned()
    } else {
        time.replace(' ', "T")
    };
    format!("UPDATE users SET created_at = '{time}{zone}' WHERE id = {id}")
}
