//! Parts that are wrong, and stay so however long one waits.

use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidings_events::Topic;
use tidings_messaging::{Connection, topics};
use tidings_testkit::{Behavior, TestDatabase, TestKafka, WebhookReceiver, backends, eventually};

use super::{Place, SERVICES, nowhere, password_of, started, url_after};
use crate::refusals::refused;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_waiting_does_not_mend_is_refused() {
    let Some(admin) = backends::postgres() else { return };
    let database = TestDatabase::postgres(&admin).await;
    let (url, name) = (database.url(), database.url().rsplit_once('/').unwrap().1.to_owned());
    let (password, nobody) = (password_of(&url), nowhere().to_string());
    let place = Place::new(&[("KAFKA_BROKERS", &nobody)]);
    let user = format!(
        "{}:{password}@",
        url.split_once("://").unwrap().1.split(':').next().unwrap()
    );
    let wrong: [(String, &[&str]); 4] = [
        (
            url.replace(password, "mistaken"),
            &["password authentication failed", "DATABASE_URL"],
        ),
        (
            url.replace(&user, &format!("stranger:{password}@")),
            &["stranger", "DATABASE_URL"],
        ),
        (format!("{url}_of_nobody"), &["does not exist", "DATABASE_URL"]),
        (format!("{url}?sslmode=require"), &["TLS", "DATABASE_URL"]),
    ];
    for (url, with) in &wrong {
        for command in ["gateway", "delivery", "audit", "up", "migrate"] {
            let begun = Instant::now();
            let output = place.run(command, &place.with("DATABASE_URL", url)).await;
            refused(&output, with);
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "at once: {:?}",
                begun.elapsed()
            );
            for secret in ["mistaken", password] {
                assert!(
                    !output.stderr.contains(secret) && !output.stdout.contains(secret),
                    "{output:?}"
                );
            }
        }
    }

    let right = place.with("DATABASE_URL", &url);
    database
        .tamper("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_from_the_future', 0)")
        .await;
    database
        .tamper("UPDATE schema_compatibility SET must_know = 'm9999_from_the_future'")
        .await;
    for command in ["gateway", "delivery", "audit", "up", "migrate"] {
        refused(
            &place.run(command, &right).await,
            &[&name, "m9999_from_the_future", "newer"],
        );
    }
    database
        .tamper("DELETE FROM seaql_migrations WHERE version >= 'm0005'")
        .await;
    for service in SERVICES {
        refused(
            &place.run(service, &right).await,
            &[&name, "migrations are missing", "tidings migrate"],
        );
    }
    database.tamper("DROP TABLE seaql_migrations").await;
    for service in SERVICES {
        refused(&place.run(service, &right).await, &[&name, "tidings migrate"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_too_few_partitions_is_refused() {
    let (topic, with) = (
        Topic::Messages.name(),
        ["messages-events has 1 of 3 partitions", "drain"],
    );
    let narrow = async |brokers: &str| {
        let connection = Connection::plain(brokers);
        topics::ensure_named(&connection, topic, 1, Duration::from_secs(3600))
            .await
            .unwrap();
    };
    let folder = TempDir::new().unwrap();
    let broker = started(([127, 0, 0, 1], 0).into(), &folder).await;
    let brokers = broker.addr().to_string();
    narrow(&brokers).await;
    let place = Place::new(&[("KAFKA_BROKERS", &brokers)]);
    refused(&place.run("up", &place.settings).await, &with);
    broker.shutdown().await;

    if let (Some(kafka), Some(admin)) = (backends::kafka(), backends::postgres()) {
        let kafka = TestKafka::exclusive(&kafka).await;
        narrow(kafka.brokers()).await;
        let database = TestDatabase::postgres(&admin).await;
        let place = Place::new(&[("KAFKA_BROKERS", kafka.brokers()), ("DATABASE_URL", &database.url())]);
        for command in ["gateway", "delivery", "audit", "up"] {
            refused(&place.run(command, &place.settings).await, &with);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_the_login_is_not_waited_for() {
    let Some((kafka, brokers)) = backends::kafka().zip(backends::kafka_with_login()) else {
        return;
    };
    let _turn = TestKafka::exclusive(&kafka).await;
    let place = Place::new(&[
        ("KAFKA_BROKERS", &brokers),
        ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        ("KAFKA_SASL_USERNAME", "tidings"),
        ("KAFKA_SASL_PASSWORD", "tidings"),
    ]);
    let output = place.run("up", &place.with("KAFKA_SASL_PASSWORD", "mistaken")).await;
    refused(&output, &["refuses the login", "KAFKA_SASL_PASSWORD"]);
    assert!(!output.stderr.contains("mistaken"), "{output:?}");

    let mut process = place.spawn("up");
    process.says("ready in").await;
    let (status, said) = process.stop().await;
    assert!(status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_taken_away_later_is_an_outage() {
    let Some(admin) = backends::postgres() else { return };
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let database = TestDatabase::postgres(&admin).await;
    let role = format!("tidings_test_{}", uuid::Uuid::new_v4().simple());
    for sql in [
        format!("CREATE ROLE {role} LOGIN PASSWORD 'open-sesame'"),
        format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"),
        format!("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"),
    ] {
        database.tamper(&sql).await;
    }
    let url = database.url();
    let (_, rest) = url.rsplit_once('@').unwrap();
    let place = Place::new(&[
        ("DATABASE_URL", &format!("postgres://{role}:open-sesame@{rest}")),
        ("WEBHOOK_URL", &receiver.url()),
    ]);
    let mut process = place.spawn("up");
    let api = url_after(&process.says("ready in").await, "API       ");
    assert_eq!(place.send_message(&api).await.status(), 201);

    database.tamper(&format!("ALTER ROLE {role} NOLOGIN")).await;
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    database.tamper(&end).await;
    // More often than there are connections in the pool.
    for _ in 0..30 {
        let refused = place.send_message(&api).await;
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
    }
    assert_eq!(place.get(&format!("{api}/health/ready")).await.0, 503);
    assert_eq!(process.ended(), None);

    database.tamper(&format!("ALTER ROLE {role} LOGIN")).await;
    place.becomes_ready(&api).await;
    let taken = eventually("messages are taken again", async || {
        let answer = place.send_message(&api).await;
        if answer.status() == 201 {
            Ok(answer)
        } else {
            Err(answer.status())
        }
    })
    .await;
    let id = taken.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    place.becomes_delivered(&api, &id).await;
    let (status, said) = process.stop().await;
    assert!(status.success(), "{said}");
    assert!(!said.contains("open-sesame"), "{said}");
    assert_eq!(
        tidings_storage::dead_letters::count(database.db.read()).await.unwrap(),
        0
    );
    database.tamper(&format!("DROP OWNED BY {role}")).await;
    database.tamper(&format!("DROP ROLE {role}")).await;
}
