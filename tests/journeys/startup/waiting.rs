//! Parts that come later.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_testkit::{Behavior, TestDatabase, TestKafka, WebhookReceiver, backends, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{Place, SERVICES, nowhere, password_of, started, url_after};

/// A server that is at an address of the test's choice from when the test wants it there.
struct Door(JoinHandle<()>);

impl Door {
    async fn open(at: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        Self(tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut inside, _)) = listener.accept().await {
                open.spawn(async move {
                    if let Ok(mut outside) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                    }
                });
            }
        }))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A URL with another host and port.
fn moved(url: &str, to: SocketAddr) -> (String, SocketAddr) {
    let (login, rest) = url.rsplit_once('@').unwrap();
    let (from, database) = rest.split_once('/').unwrap();
    (format!("{login}@{to}/{database}"), from.parse().unwrap())
}

/// The lines that have this in them.
fn count(said: &str, words: &str) -> usize {
    said.lines().filter(|line| line.contains(words)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_says_what_for_and_stops_at_once() {
    let (database, broker) = (nowhere(), nowhere());
    let url = format!("postgres://somebody:open-sesame@{database}/tidings");
    let place = Place::new(&[("DATABASE_URL", &url), ("KAFKA_BROKERS", &broker.to_string())]);
    for command in ["gateway", "delivery", "audit", "up"] {
        let begun = Instant::now();
        let mut process = place.spawn(command);
        let missing_database = format!("waiting for the database (PostgreSQL, {database}/tidings): Connection refused");
        let missing_broker = format!("waiting for kafka ({broker}): the broker does not answer: ");
        process.says(&missing_broker).await;
        let said = eventually("three attempts failed", async || {
            let said = process.output();
            if count(&said, &missing_database) >= 3 {
                Ok(said)
            } else {
                Err(said)
            }
        })
        .await;
        // They come at 0, 0.2, 0.6, 1.4, 3 s.
        let most = 2 + (begun.elapsed().as_secs_f64() / 0.2 + 1.0).log2() as usize;
        assert!(
            count(&said, "waiting for the database") <= most,
            "no more than {most}: {said}"
        );
        // Each line is one of those, or says where things are.
        for line in said.lines() {
            let known = ["waiting for", "API on", "is running", "not ready yet"];
            assert!(known.iter().any(|known| line.contains(known)), "{line}");
        }
        assert!(said.contains("Connection refused"), "{said}");

        let health = match command {
            "up" => {
                let said = process.says("not ready yet: ").await;
                url_after(&said, "not ready yet: ")
                    .trim_end_matches("/health/ready")
                    .to_owned()
            }
            _ => url_after(&process.says("health and metrics on ").await, "health and metrics on "),
        };
        assert_eq!(place.get(&format!("{health}/health/live")).await.0, 200);
        let (status, ready) = place.get(&format!("{health}/health/ready")).await;
        assert_eq!(status, 503, "{ready}");
        for part in ["database", "broker"] {
            assert_eq!(ready["checks"][part]["status"], "unavailable", "{ready}");
        }
        if command == "gateway" || command == "up" {
            let api = match command {
                "up" => health,
                _ => url_after(&said, "API on "),
            };
            let refused = place.send_message(&api).await;
            assert_eq!(refused.status(), 503);
            assert!(refused.headers().contains_key("retry-after"));
            assert!(refused.json::<Value>().await.unwrap()["message"].is_string());
        }

        let asked = Instant::now();
        let (status, said) = process.stop().await;
        assert!(status.success(), "{command} ended with {status}: {said}");
        assert!(asked.elapsed() < Duration::from_secs(5), "after {:?}", asked.elapsed());
        assert!(!said.contains("open-sesame"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_taken_before_the_broker_is_there() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let (at, folder) = (nowhere(), TempDir::new().unwrap());
    let place = Place::new(&[("KAFKA_BROKERS", &at.to_string()), ("WEBHOOK_URL", &receiver.url())]);
    let mut process = place.spawn("up");
    let said = process.says("once the broker is there").await;
    let api = url_after(&said, "API       ");
    let taken = place.send_message(&api).await;
    assert_eq!(taken.status(), 201);
    let id = taken.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let (status, ready) = place.get(&format!("{api}/health/ready")).await;
    assert_eq!(
        (status, &ready["checks"]["database"]["status"]),
        (503, &json!("ok")),
        "{ready}"
    );
    assert_eq!(ready["checks"]["broker"]["status"], "unavailable", "{ready}");

    let broker = started(at, &folder).await;
    place.becomes_delivered(&api, &id).await;
    place.becomes_ready(&api).await;
    let (status, said) = process.stop().await;
    assert!(status.success(), "{said}");
    broker.shutdown().await;
}

/// A broker that is not where it will be.
enum Away {
    Embedded(TempDir),
    Kafka(TestKafka),
}

#[tokio::test(flavor = "multi_thread")]
async fn services_begin_when_their_parts_come_one_after_the_other() {
    let Some(admin) = backends::postgres() else { return };
    let mut brokers = vec![Away::Embedded(TempDir::new().unwrap())];
    if let Some(kafka) = backends::kafka() {
        brokers.push(Away::Kafka(TestKafka::exclusive(&kafka).await));
    }
    for away in brokers {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        let database = TestDatabase::postgres(&admin).await;
        let (door, broker) = (nowhere(), nowhere());
        let (url, server) = moved(&database.url(), door);
        let place = Place::new(&[
            ("DATABASE_URL", &url),
            ("KAFKA_BROKERS", &broker.to_string()),
            ("WEBHOOK_URL", &receiver.url()),
        ]);
        let mut migrating = place.spawn("migrate");
        let mut services: Vec<_> = SERVICES.map(|service| place.spawn(service)).into();
        migrating.says("waiting for the database").await;
        let mut health = Vec::new();
        for service in &mut services {
            let said = service.says("waiting for the database").await;
            let said = if said.contains("health and") {
                said
            } else {
                service.says("health and").await
            };
            health.push(url_after(&said, "health and metrics on "));
        }
        let api = url_after(&services[0].output(), "API on ");
        assert_eq!(place.send_message(&api).await.status(), 503);

        let _door = Door::open(door, server).await;
        let (status, said) = migrating.end().await;
        assert!(status.success() && said.contains("up to date"), "{said}");
        let id = eventually("a message is taken", async || {
            let answer = place.send_message(&api).await;
            let status = answer.status().as_u16();
            let body = answer.json::<Value>().await.unwrap();
            if status == 201 {
                Ok(body["id"].as_str().unwrap().to_owned())
            } else {
                Err(body)
            }
        })
        .await;
        for health in &health {
            eventually("nothing but the broker is missing", async || {
                let (status, ready) = place.get(&format!("{health}/health/ready")).await;
                let checks = (
                    &ready["checks"]["database"]["status"],
                    &ready["checks"]["broker"]["status"],
                );
                if status == 503 && checks == (&json!("ok"), &json!("unavailable")) {
                    Ok(())
                } else {
                    Err(ready)
                }
            })
            .await;
        }

        let running = match &away {
            Away::Embedded(folder) => (Some(started(broker, folder).await), None),
            Away::Kafka(kafka) => (None, Some(Door::open(broker, kafka.brokers().parse().unwrap()).await)),
        };
        for (service, health) in services.iter_mut().zip(&health) {
            service.says("is ready").await;
            place.becomes_ready(health).await;
        }
        place.becomes_delivered(&api, &id).await;
        for service in services {
            let (status, said) = service.stop().await;
            assert!(status.success(), "{said}");
            assert!(!said.contains(password_of(&url)), "{said}");
        }
        if let (Some(broker), _) = running {
            broker.shutdown().await;
        }
    }
}
