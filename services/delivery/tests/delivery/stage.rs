//! What the tests happen on.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::Statement;
use secrecy::SecretString;
use tempfile::TempDir;
use tidings_broker::{Broker, Config, Handle};
use tidings_delivery::{Parts, endpoints};
use tidings_domain::{
    Attempt, Clock, Contact, ContactName, Content, DeliveryId, EndpointId, EventId, EventTypes, Message, MessageId,
    MessageStatus, PhoneNumber, Sender, SystemClock, WebhookEndpoint,
};
use tidings_events::{EventRecord, MessageQueued, Origin, TOPICS};
use tidings_messaging::{Connection, relay, topics};
use tidings_runtime::http_client::OutwardClient;
use tidings_runtime::reach::Reach;
use tidings_storage::{ConnectionTrait, Db, contacts, deliveries, events, messages, outbox};
use tidings_testkit::{TestDatabase, databases, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const SECRET: &str = "mySecret";

/// Ample for an attempt that is meant to be answered.
pub const AMPLE: Duration = Duration::from_secs(30);

/// A broker, a database, and a relay between them.
pub struct Stage {
    pub database: TestDatabase,
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub connection: Connection,
    relay: Option<(CancellationToken, JoinHandle<()>)>,
    _broker: Handle,
    _folder: TempDir,
}

/// A service that runs.
pub struct Running {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), tidings_delivery::Error>>,
}

impl Running {
    /// Asks it to end, and waits until it has.
    pub async fn stop(self) {
        self.cancel.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(50), self.task).await;
        ended.expect("the service ends").unwrap().unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Result<(), tidings_delivery::Error> {
        self.task.await.unwrap()
    }

    /// Ends it as a crash would.
    pub async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Runs a test on each database there is.
pub async fn on_each_database(test: impl AsyncFn(Stage)) {
    for database in databases().await {
        let name = database.name;
        let stage = Stage::set(database).await;
        println!("on {name}");
        test(stage).await;
    }
}

impl Stage {
    async fn set(database: TestDatabase) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config::new(([127, 0, 0, 1], 0).into(), folder.path());
        config.initial_rebalance_delay = Duration::ZERO;
        let broker = Broker::start(config).await.unwrap();
        let connection = Connection::plain(broker.addr().to_string());
        topics::ensure(&connection, TOPICS).await.unwrap();
        let mut stage = Self {
            db: database.db.clone(),
            database,
            clock: Arc::new(SystemClock),
            connection,
            relay: None,
            _broker: broker,
            _folder: folder,
        };
        stage.start_relay();
        stage
    }

    pub fn start_relay(&mut self) {
        let cancel = CancellationToken::new();
        let (db, connection, stop) = (self.db.clone(), self.connection.clone(), cancel.clone());
        let task = tokio::spawn(async move {
            let outbox = outbox::RelayOutbox::new(db);
            relay::run(outbox, &connection, stop).await.unwrap();
        });
        self.relay = Some((cancel, task));
    }

    pub async fn stop_relay(&mut self) {
        let (cancel, task) = self.relay.take().expect("there is a relay");
        cancel.cancel();
        task.await.unwrap();
    }

    /// Starts the service.
    pub fn run(&self, schedule: &str) -> Running {
        self.run_with(self.db.clone(), schedule, AMPLE)
    }

    pub fn run_with(&self, db: Db, schedule: &str, attempt_timeout: Duration) -> Running {
        let cancel = CancellationToken::new();
        let parts = Parts {
            db,
            clock: self.clock.clone(),
            connection: self.connection.clone(),
            client: OutwardClient::new(Reach::loopback()).unwrap(),
            schedule: schedule.parse().unwrap(),
            attempt_timeout,
        };
        let task = tokio::spawn(tidings_delivery::run(parts, cancel.clone()));
        Running { cancel, task }
    }

    /// Makes this receiver the default one.
    pub async fn default_endpoint(&self, url: &str) -> WebhookEndpoint {
        let secret = SecretString::from(SECRET);
        endpoints::ensure_default(&self.db, &self.clock, &url.parse().unwrap(), &secret)
            .await
            .unwrap()
    }

    /// Adds an endpoint for queued messages.
    pub async fn endpoint(&self, url: &str) -> WebhookEndpoint {
        self.endpoint_for(url, "tidings.message.queued").await
    }

    pub async fn endpoint_for(&self, url: &str, types: &str) -> WebhookEndpoint {
        let types: EventTypes = types.parse().unwrap();
        endpoints::add(&self.db, &self.clock, url.parse().unwrap(), None, types)
            .await
            .unwrap()
    }

    /// Accepts a message, as the gateway does, and answers it with the id of its event.
    pub async fn send(&self) -> (Message, EventId) {
        let clock = self.clock.clone();
        let contact = Contact {
            id: tidings_domain::ContactId::generate(&*clock),
            name: ContactName::parse("Ada").unwrap(),
            phone: phone(),
            created_at: clock.now(),
            version: 1,
        };
        let message = Message {
            id: MessageId::generate(&*clock),
            from: Sender::Phone(phone()),
            to: contact.id,
            content: Content::parse("grüezi").unwrap(),
            status: MessageStatus::Queued,
            created_at: clock.now(),
            delivered_at: None,
            version: 1,
        };
        let sent = message.clone();
        let event = self.db.write(move |tx| {
            Box::pin(async move {
                contacts::insert_all(tx, &[&contact]).await?;
                messages::insert_all(tx, std::slice::from_ref(&message)).await?;
                let origin = Origin::own("gateway", &*clock);
                outbox::enqueue(tx, &MessageQueued(&message), &origin, &*clock).await
            })
        });
        let event: Result<_, tidings_storage::Error> = event.await;
        (sent, event.unwrap())
    }

    pub async fn send_many(&self, count: usize) -> Vec<MessageId> {
        let mut sent = Vec::new();
        for _ in 0..count {
            sent.push(self.send().await.0.id);
        }
        sent
    }

    pub async fn message(&self, id: MessageId) -> Message {
        messages::find(self.db.read(), id).await.unwrap().unwrap()
    }

    pub async fn message_becomes(&self, id: MessageId, status: MessageStatus) -> Message {
        eventually(&format!("the message is {status:?}"), async || {
            let message = self.message(id).await;
            if message.status == status {
                Ok(message)
            } else {
                Err(message)
            }
        })
        .await
    }

    pub async fn event(&self, id: EventId) -> EventRecord {
        let mut found = events::find_all(self.db.read(), &[id]).await.unwrap();
        found.remove(&id).unwrap()
    }

    /// The attempts to deliver an event to one endpoint.
    pub async fn attempts(&self, event: EventId, endpoint: &EndpointId) -> Vec<Attempt> {
        let attempts = deliveries::attempts(self.db.read(), event).await.unwrap();
        let of_endpoint = attempts.into_iter().filter(|(of, _)| of == endpoint);
        of_endpoint.map(|(_, attempt)| attempt).collect()
    }

    /// How many deliveries there are in each status, such as `delivered 2, pending 1`.
    pub async fn deliveries(&self) -> String {
        let counts = deliveries::counts(self.db.read()).await.unwrap();
        let counts: Vec<_> = counts
            .iter()
            .map(|(status, count)| format!("{status} {count}"))
            .collect();
        counts.join(", ")
    }

    pub async fn deliveries_become(&self, expected: &str) {
        eventually(&format!("deliveries are {expected}"), async || {
            let found = self.deliveries().await;
            if found == expected { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// The types of all events of one aggregate, in order.
    pub async fn history(&self, key: &str) -> Vec<String> {
        let sql = format!("SELECT event_type FROM events WHERE key = '{key}' ORDER BY sequence");
        let statement = Statement::from_string(self.db.read().get_database_backend(), sql);
        let rows = self.db.read().query_all_raw(statement).await.unwrap();
        let types = rows.iter().map(|row| row.try_get("", "event_type").unwrap());
        types.collect()
    }
}

fn phone() -> PhoneNumber {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    PhoneNumber::parse(format!("+4179{:07}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap()
}

/// A delivery's id, as it stands in `webhook-id`.
pub fn delivery_id(text: &str) -> DeliveryId {
    text.parse().unwrap()
}
