//! Plays one message through a stack of its own, in a folder of its own, and shows every step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_domain::{Clock, SystemClock, new_id};
use tidings_events::{RawRecord, TOPICS};
use tidings_messaging::{Connection, ConsumerConfig, HandleError, Handler, consumer};
use tidings_runtime::settings::Settings;
use tidings_runtime::shutdown::on_signals;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::banner::say;
use crate::stack;

/// A message takes milliseconds; longer than this and something is wrong.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn run() -> Result<()> {
    let folder = TempDir::new().context("the demo needs a temporary folder")?;
    let data = folder.path().join("data").display().to_string();
    let free = "127.0.0.1:0".to_owned();
    let settings = Settings::load(
        [
            ("TIDINGS_DATA_DIR", data),
            ("TIDINGS_LISTEN", free.clone()),
            ("TIDINGS_BROKER_LISTEN", free.clone()),
            ("TIDINGS_RECEIVER_LISTEN", free),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter(),
        None,
    )?;
    let key = secrecy::ExposeSecret::expose_secret(&settings.api_key).to_owned();

    let cancel = on_signals()?;
    let (ready, is_ready) = oneshot::channel();
    let running = tokio::spawn(stack::up_until(settings, cancel.clone(), move |places| {
        let _ = ready.send((places.api, places.broker.0.clone()));
    }));
    let played = match is_ready.await {
        Ok((api, broker)) => {
            let api = format!("http://{api}");
            let play = tokio::time::timeout(PATIENCE, play(&api, &key, broker, &cancel));
            match cancel.run_until_cancelled(play).await {
                Some(played) => played.unwrap_or_else(|_| bail!("the message did not arrive within {PATIENCE:?}")),
                None => Err(anyhow!("interrupted before the message arrived")),
            }
        }
        // Why it did not start is what the stack itself returns.
        Err(_) => Ok(()),
    };
    cancel.cancel();
    running.await??;
    played
}

/// Passes what happens to one aggregate on.
struct Watch(mpsc::UnboundedSender<RawRecord>);

impl Handler for Watch {
    async fn handle(&self, records: &[RawRecord]) -> Result<(), HandleError> {
        for record in records {
            let _ = self.0.send(record.clone());
        }
        Ok(())
    }

    async fn set_aside(&self, _: &RawRecord, _: &str) -> Result<(), HandleError> {
        Ok(())
    }
}

async fn play(api: &str, key: &str, broker: String, cancel: &CancellationToken) -> Result<()> {
    let (events, mut happened) = mpsc::unbounded_channel();
    let group = format!("demo-{}", new_id(&SystemClock));
    let watching = cancel.child_token();
    let watch = tokio::spawn({
        let watching = watching.clone();
        async move {
            let config = ConsumerConfig::new(&group, TOPICS);
            consumer::run(config, Watch(events), &Connection::plain(broker), watching).await
        }
    });

    let client = Arc::new(reqwest::Client::builder().no_proxy().build()?);
    let begun = Instant::now();
    let step = |what: &str| say(&format!("{:9.1} ms  {what}", begun.elapsed().as_secs_f64() * 1000.0));
    let text = json!({
        "from": "+41440000000",
        "to": { "name": "Odile", "phone": "+41791234567" },
        "content": format!("Hello, it is {}", SystemClock.now().format("%H:%M")),
    });
    step("POST /messages");
    let response = client
        .post(format!("{api}/messages"))
        .bearer_auth(key)
        .json(&text)
        .send()
        .await?;
    let status = response.status();
    let message: Value = response.json().await?;
    let Some(id) = message["id"].as_str() else {
        bail!("the API answered {status}: {message}")
    };
    step(&format!(
        "{status}: message {id} is {}, in the database with its event",
        text_of(&message, "status")
    ));

    loop {
        let record = happened.recv().await.context("the demo's consumer ended")?;
        let kind = record.header("ce_type").unwrap_or("an unknown event");
        step(&format!(
            "{kind} read from {}/{} at {}",
            record.topic, record.partition, record.offset
        ));
        if record.header("ce_subject") == Some(id) && kind != "tidings.message.queued" {
            break;
        }
    }
    let message: Value = client
        .get(format!("{api}/messages/{id}"))
        .bearer_auth(key)
        .send()
        .await?
        .json()
        .await?;
    step(&format!(
        "GET /messages/{id}: {}, acknowledged in the attempt of {}",
        text_of(&message, "status"),
        text_of(&message, "deliveredAt")
    ));
    watching.cancel();
    watch.await??;
    Ok(())
}

fn text_of<'a>(message: &'a Value, field: &str) -> &'a str {
    message[field].as_str().unwrap_or("(none)")
}
