//! Two of each service share the work.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use sqlx::Row;
use tidings_events::TOPICS;
use tidings_testkit::eventually;

use crate::cluster::{Cluster, Role, Service};
use crate::ledger::Ledger;
use crate::load::{Call, Fate, Load};
use crate::receiver::Receiver;
use crate::strikes::Timeline;
use crate::{API_KEY, turn};

const GATEWAYS: [Service; 2] = [Service::new(Role::Gateway, 0), Service::new(Role::Gateway, 1)];
const DELIVERIES: [Service; 2] = [Service::new(Role::Delivery, 0), Service::new(Role::Delivery, 1)];
const AUDITS: [Service; 2] = [Service::new(Role::Audit, 0), Service::new(Role::Audit, 1)];

const RUN: &str = "separate-processes";

#[tokio::test(flavor = "multi_thread")]
async fn two_of_each_service_are_one_tidings() {
    let _turn = turn().await;
    let receiver = Receiver::start();
    let Some(mut cluster) = Cluster::start(RUN, receiver.url()).await else {
        return;
    };
    everybody_shows_health_and_metrics(&cluster).await;
    let first = what_one_gateway_takes_the_other_knows(&cluster).await;
    relays_share_the_shards(&cluster).await;
    consumers_share_the_partitions(&cluster).await;
    orders_are_placed(&cluster).await;

    let load = Load::start(cluster.gateways, 40, 0).await;
    let timeline = Timeline::begin();
    eventually("both of each have work", async || {
        let mut done = BTreeMap::new();
        for service in DELIVERIES {
            done.insert(
                service,
                cluster.metric(service, "tidings_deliveries_total", "delivered").await,
            );
        }
        for service in AUDITS {
            done.insert(
                service,
                cluster.metric(service, "tidings_audit_records_total", "").await,
            );
        }
        for service in GATEWAYS.into_iter().chain(DELIVERIES) {
            let published = cluster.metric(service, "tidings_relay_published_total", "").await;
            let least = done.get(&service).copied().unwrap_or(published);
            done.insert(service, least.min(published));
        }
        match done.values().all(|done| *done >= 20.0) {
            true => Ok(()),
            false => Err(done),
        }
    })
    .await;
    let mut calls = load.stop().await;
    calls.push(first);
    let mut ledger = Ledger::draw_up(&mut cluster, calls, receiver, timeline).await;
    ledger.must_not_repeat();
    ledger.must_balance(&cluster, RUN).await;
}

async fn everybody_shows_health_and_metrics(cluster: &Cluster) {
    for service in Service::ALL {
        let (status, health) = cluster.health(service).await;
        let health: Value = serde_json::from_str(&health).unwrap();
        assert_eq!(
            (status, &health["checks"]["database"]["status"]),
            (200, &json!("ok")),
            "{service}: {health}"
        );
        assert_eq!(health["checks"]["broker"]["status"], "ok", "{service}: {health}");
    }
}

async fn what_one_gateway_takes_the_other_knows(cluster: &Cluster) -> Call {
    let [first, second] = cluster.gateways;
    let body = json!({
        "from": "+41440000000",
        "to": { "name": "Odile", "phone": "+41791234567" },
        "content": "one-accepted",
    });
    let request = cluster
        .client
        .post(format!("http://{first}/messages"))
        .header("X-Correlation-ID", "one-accepted")
        .bearer_auth(API_KEY)
        .json(&body);
    let message: Value = request.send().await.unwrap().json().await.unwrap();
    let id = message["id"].as_str().unwrap();
    eventually("the other gateway shows it as delivered", async || {
        let url = format!("http://{second}/messages/{id}");
        let request = cluster.client.get(url).bearer_auth(API_KEY);
        let found: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(found["content"], "one-accepted", "at once: {found}");
        match found["status"] == "delivered" {
            true => Ok(()),
            false => Err(found),
        }
    })
    .await;
    Call {
        name: "one-accepted".to_owned(),
        fate: Some(Fate::Accepted),
        attempts: Vec::new(),
        acknowledged: Some(id.to_owned()),
    }
}

/// Gateways and delivery services each have a relay.
async fn relays_share_the_shards(cluster: &Cluster) {
    eventually("four relays have four shards each", async || {
        let mut held = Vec::new();
        for service in GATEWAYS.into_iter().chain(DELIVERIES) {
            held.push(cluster.metric(service, "tidings_relay_leases", "").await);
        }
        let rows = sqlx::query("SELECT count(*) FROM relay_leases WHERE held_until > now() GROUP BY holder");
        let rows = rows.fetch_all(&cluster.database).await.unwrap();
        let rows: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        match held == [4.0; 4] && rows == [4; 4] {
            true => Ok(()),
            false => Err((held, rows)),
        }
    })
    .await;
}

/// Both members of both groups have some of the partitions, and together they have all.
/// Members of a group share partitions by their number, whatever lies on them, so one may have all of messages and
/// contacts. What the other has then shall be busy, too.
async fn orders_are_placed(cluster: &Cluster) {
    let post = async |path: &str, body: &Value| {
        let request = cluster.client.post(format!("http://{}{path}", cluster.gateways[0]));
        let answer = request.json(body).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{path}");
        answer.json::<Value>().await.unwrap()
    };
    let user = json!({
        "first_name": "Odile", "last_name": "Deray", "email": "odile@example.com", "password": "myP@ssW0ord52",
    });
    let user = post("/api/v1/users", &user).await;
    let order = json!({
        "user_id": user["id"],
        "sequencing_type": "whole-genome-sequencing",
        "shipping_info": {
            "delivery_name": "", "first_line": "", "second_line": "", "town": "", "postcode": "", "country": "",
        },
    });
    for _ in 0..60 {
        post("/orders", &order).await;
    }
}

async fn consumers_share_the_partitions(cluster: &Cluster) {
    eventually("the partitions are shared", async || {
        let brokers = cluster.brokers.clone();
        let owned = tokio::task::spawn_blocking(move || owned(&brokers)).await.unwrap();
        let all: usize = TOPICS.iter().map(|topic| topic.partitions() as usize).sum();
        let fair =
            |members: &Vec<usize>| members.len() == 2 && members.iter().sum::<usize>() == all && !members.contains(&0);
        match owned.len() == 2 && owned.values().all(fair) {
            true => Ok(()),
            false => Err(owned),
        }
    })
    .await;
}

/// How many partitions each member of each group of ours has.
fn owned(brokers: &str) -> HashMap<String, Vec<usize>> {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let groups = client.fetch_group_list(None, Duration::from_secs(10)).unwrap();
    let groups = groups.groups().iter();
    let members = groups.map(|group| {
        let partitions = group
            .members()
            .iter()
            .map(|member| partitions(member.assignment().unwrap_or_default()));
        (
            group.name().to_owned(),
            partitions.map(Option::unwrap_or_default).collect(),
        )
    });
    members.collect()
}

/// Counts the partitions in an assignment as members of a group get it: a version, and for each topic
/// its name and its partitions' numbers.
fn partitions(mut assignment: &[u8]) -> Option<usize> {
    let mut take = |length: usize| assignment.split_off(..length);
    take(2)?;
    let topics = u32::from_be_bytes(take(4)?.try_into().ok()?);
    let mut count = 0;
    for _ in 0..topics {
        let name = u16::from_be_bytes(take(2)?.try_into().ok()?);
        take(name.into())?;
        let numbers = u32::from_be_bytes(take(4)?.try_into().ok()?) as usize;
        take(4 * numbers)?;
        count += numbers;
    }
    Some(count)
}
