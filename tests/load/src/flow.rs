//! Messages going in, and coming out at the receiver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::target::Target;

/// How long messages may take to come out after the last has gone in.
const STRAGGLERS: Duration = Duration::from_secs(60);
/// Different recipients, so that they are not always the same few rows.
const CONTACTS: u64 = 1000;
/// Connections of the steady load; a request that finds none free waits, and that counts.
const STEADY_CONNECTIONS: usize = 64;

/// What came of it. Latencies in microseconds.
pub(crate) struct Measured {
    pub(crate) lasted: Duration,
    pub(crate) refused: u64,
    /// From when a request was meant to be sent to its answer.
    pub(crate) accepting: Histogram<u64>,
    /// From when a request was meant to be sent to the webhook's arrival.
    pub(crate) arriving: Histogram<u64>,
    /// From the first request to the last arrival.
    pub(crate) until_arrived: Duration,
    /// Webhooks that came more than once.
    pub(crate) repeated: u64,
    /// Share of one processor core that the stack used while the load lasted.
    pub(crate) processor: f64,
}

impl Measured {
    pub(crate) fn accepted(&self) -> u64 {
        self.accepting.len()
    }

    pub(crate) fn missing(&self) -> u64 {
        self.accepting.len() - self.arriving.len()
    }

    pub(crate) fn accepted_per_second(&self) -> f64 {
        self.accepting.len() as f64 / self.lasted.as_secs_f64()
    }

    pub(crate) fn arrived_per_second(&self) -> f64 {
        self.arriving.len() as f64 / self.until_arrived.as_secs_f64()
    }
}

/// A message that was accepted.
struct Accepted {
    id: String,
    meant: Instant,
    answered: Instant,
}

/// Sends on time, whether or not the stack keeps up.
pub(crate) async fn steady(target: &Target, rate: u32, lasting: Duration) -> Result<Measured> {
    let every = Duration::from_secs(1) / rate;
    let count = lasting.as_nanos() / every.as_nanos();
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    measure(target, start, STEADY_CONNECTIONS, move || {
        let next = next.clone();
        async move {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if u128::from(number) >= count {
                return None;
            }
            let meant = start + every * u32::try_from(number).unwrap_or(u32::MAX);
            tokio::time::sleep_until(meant.into()).await;
            Some(meant)
        }
    })
    .await
}

/// Sends the next as soon as the last is answered, on each connection.
pub(crate) async fn flat_out(target: &Target, connections: usize, lasting: Duration) -> Result<Measured> {
    let start = Instant::now();
    measure(target, start, connections, move || async move {
        let now = Instant::now();
        (now.duration_since(start) < lasting).then_some(now)
    })
    .await
}

async fn measure<F, W>(target: &Target, start: Instant, connections: usize, turn: F) -> Result<Measured>
where
    F: Fn() -> W + Clone + Send + 'static,
    W: Future<Output = Option<Instant>> + Send,
{
    target.receiver.forget();
    let processor = target.processor_time()?;
    let (sent, url) = (Arc::new(AtomicU64::new(0)), target.stack.url("/messages"));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (client, url, turn, sent) = (target.stack.client().clone(), url.clone(), turn.clone(), sent.clone());
        clients.spawn(async move {
            let (mut accepted, mut refused) = (Vec::new(), 0);
            while let Some(meant) = turn().await {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                match send(&client, &url, number).await {
                    Some(id) => accepted.push(Accepted {
                        id,
                        meant,
                        answered: Instant::now(),
                    }),
                    None => refused += 1,
                }
            }
            (accepted, refused)
        });
    }
    let progress = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (sent, arrived) = (sent.load(Ordering::Relaxed), target.receiver.arrived());
            eprint!("\r{:4} s  {sent} sent, {arrived} arrived   ", start.elapsed().as_secs());
        }
    };
    let results = tokio::select! {
        results = clients.join_all() => results,
        () = progress => Vec::new(),
    };
    eprintln!();
    let lasted = start.elapsed();
    let processor = (target.processor_time()? - processor).as_secs_f64() / lasted.as_secs_f64();
    let refused = results.iter().map(|(_, refused)| refused).sum();
    let accepted: Vec<_> = results.into_iter().flat_map(|(accepted, _)| accepted).collect();
    if accepted.is_empty() {
        bail!("not one message was accepted");
    }
    stragglers(target, &accepted).await;

    let (mut accepting, mut arriving) = (Histogram::new(3)?, Histogram::new(3)?);
    let (mut repeated, mut last) = (0, start);
    for message in &accepted {
        accepting.record(micros(message.answered - message.meant))?;
        if let Some((arrived, times)) = target.receiver.arrival(&message.id) {
            arriving.record(micros(arrived.saturating_duration_since(message.meant)))?;
            repeated += u64::from(times > 1);
            last = last.max(arrived);
        }
    }
    Ok(Measured {
        lasted,
        refused,
        accepting,
        arriving,
        until_arrived: last - start,
        repeated,
        processor,
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Waits for what has not come out yet, but not for ever.
async fn stragglers(target: &Target, accepted: &[Accepted]) {
    let deadline = Instant::now() + STRAGGLERS;
    for message in accepted {
        while target.receiver.arrival(&message.id).is_none() {
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The accepted message's id.
async fn send(client: &reqwest::Client, url: &str, number: u64) -> Option<String> {
    let body = json!({
        "from": "+41440000000",
        "to": { "name": "Load", "phone": format!("+4179{:07}", number % CONTACTS) },
        "content": "The quick brown fox jumps over the lazy dog, and is told about it.",
    });
    let response = client
        .post(url)
        .bearer_auth("there-is-no-key")
        .json(&body)
        .send()
        .await
        .ok()?;
    if response.status() != 201 {
        return None;
    }
    let message: Value = response.json().await.ok()?;
    Some(message["id"].as_str()?.to_owned())
}
