//! How soon a change that was made through one gateway is seen through another.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tidings_testkit::TestProcess;
use tokio::task::JoinSet;

use crate::report::Report;
use crate::target::Target;

/// How many clients change GUIDs, each its own.
const CLIENTS: u32 = 8;
/// What is not seen by then never will be.
const PATIENCE: Duration = Duration::from_secs(30);

/// Times in microseconds.
struct Seen {
    /// Through the gateway that made the change, from its answer on.
    here: Histogram<u64>,
    /// Through the other.
    there: Histogram<u64>,
    /// How often the gateway that made the change did not show it to the first who asked.
    stale_here: u64,
}

pub(crate) async fn run(target: &Target, report: &mut Report, rate: u32, lasting: Duration) -> Result<()> {
    ensure!(
        target.stack.on_servers(),
        "two gateways need a PostgreSQL and a Kafka between them: set DATABASE_URL and KAFKA_BROKERS"
    );
    let mut beside = target.stack.spawn_beside("gateway");
    let said = beside.says("gateway is ready").await;
    let other = said
        .lines()
        .find_map(|line| line.split_once("API on "))
        .map(|(_, url)| url);
    let other = other
        .context("the second gateway does not say where it is")?
        .trim()
        .to_owned();
    let one = target.stack.url("");

    // Until connections are open and the second gateway hears of changes.
    measure(target, &one, &other, rate, Duration::from_secs(5)).await?;
    let seen = measure(target, &one, &other, rate, lasting).await?;
    report.note("changes of GUIDs", seen.there.len() as f64);
    report.note(
        "not seen at once through the gateway that made them",
        seen.stale_here as f64,
    );
    report.spread("change to its sight, same gateway", &seen.here);
    report.spread("change to its sight, another gateway", &seen.there);
    stop(beside).await
}

async fn stop(gateway: TestProcess) -> Result<()> {
    let (status, _) = gateway.stop().await;
    ensure!(status.success(), "the second gateway ended with {status}");
    Ok(())
}

async fn measure(target: &Target, one: &str, other: &str, rate: u32, lasting: Duration) -> Result<Seen> {
    let every = Duration::from_secs(1) * CLIENTS / rate.max(1);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, one, other) = (target.stack.client().clone(), one.to_owned(), other.to_owned());
        let offset = every * number / CLIENTS;
        clients.spawn(async move {
            tokio::time::sleep(offset).await;
            change(&client, &one, &other, every, lasting).await
        });
    }
    let mut all = Seen {
        here: Histogram::new(3)?,
        there: Histogram::new(3)?,
        stale_here: 0,
    };
    while let Some(seen) = clients.join_next().await {
        let seen = seen??;
        all.here.add(seen.here)?;
        all.there.add(seen.there)?;
        all.stale_here += seen.stale_here;
    }
    Ok(all)
}

/// Changes a GUID again and again, and after each change looks until both gateways show it.
async fn change(client: &reqwest::Client, one: &str, other: &str, every: Duration, lasting: Duration) -> Result<Seen> {
    let created: Value = client
        .post(format!("{one}/guid"))
        .json(&json!({"user": "nobody yet"}))
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let path = format!("/guid/{}", created["guid"].as_str().context("no GUID")?);
    let (mut here, mut there, mut stale_here) = (Histogram::new(3)?, Histogram::new(3)?, 0);
    let begun = Instant::now();
    let mut pace = tokio::time::interval(every);
    for number in 0_u64.. {
        pace.tick().await;
        if begun.elapsed() >= lasting {
            break;
        }
        // What the other is to forget, it must have in mind.
        look(client, other, &path).await?;
        let user = format!("number {number}");
        let changed = client.patch(format!("{one}{path}")).json(&json!({"user": user}));
        changed.send().await?.error_for_status()?;
        let answered = Instant::now();
        let (first, second) = tokio::try_join!(
            until_shown(client, one, &path, &user, answered),
            until_shown(client, other, &path, &user, answered),
        )?;
        here.record(first.0)?;
        there.record(second.0)?;
        stale_here += u64::from(first.1 > 1);
    }
    Ok(Seen {
        here,
        there,
        stale_here,
    })
}

async fn look(client: &reqwest::Client, gateway: &str, path: &str) -> Result<Value> {
    let answer = client.get(format!("{gateway}{path}")).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

/// The microseconds that it took, and how many looks. Between looks a millisecond passes, so that looking does not
/// take the processors from what is looked for.
async fn until_shown(
    client: &reqwest::Client,
    gateway: &str,
    path: &str,
    user: &str,
    since: Instant,
) -> Result<(u64, u64)> {
    for looks in 1.. {
        if look(client, gateway, path).await?["user"] == user {
            let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            return Ok((micros.max(1), looks));
        }
        if since.elapsed() > PATIENCE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("a change was not seen within {PATIENCE:?}")
}
