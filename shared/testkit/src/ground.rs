use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use tempfile::TempDir;
use tidings_broker::{Broker, Config, Handle};
use tidings_domain::{Clock, EventId, SystemClock};
use tidings_events::{EventRecord, RawRecord, TOPICS};
use tidings_messaging::{Connection, relay, topics};
use tidings_storage::{Db, events, outbox};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{TestDatabase, databases};

/// What a service stands on: a database, a broker of its own, and a relay between them.
pub struct Ground {
    pub database: TestDatabase,
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub connection: Connection,
    relay: Option<(CancellationToken, JoinHandle<()>)>,
    _broker: Handle,
    _folder: TempDir,
}

impl Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground")
            .field("database", &self.database.name)
            .finish_non_exhaustive()
    }
}

impl Ground {
    /// On each database there is, one at a time.
    pub async fn on_each_database(test: impl AsyncFn(Self)) {
        for database in databases().await {
            // Shown if the test fails.
            eprintln!("on {}", database.name);
            test(Self::lay(database).await).await;
        }
    }

    async fn lay(database: TestDatabase) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config::new(([127, 0, 0, 1], 0).into(), folder.path());
        config.initial_rebalance_delay = Duration::ZERO;
        let broker = Broker::start(config).await.unwrap();
        let connection = Connection::plain(broker.addr().to_string());
        topics::ensure(&connection, TOPICS).await.unwrap();
        let mut ground = Self {
            db: database.db.clone(),
            database,
            clock: Arc::new(SystemClock),
            connection,
            relay: None,
            _broker: broker,
            _folder: folder,
        };
        ground.start_relay();
        ground
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

    pub async fn event(&self, id: EventId) -> EventRecord {
        let mut found = events::find_all(self.db.read(), &[id]).await.unwrap();
        found.remove(&id).unwrap()
    }

    /// The record of an event, as it would lie on its topic.
    pub async fn record_of(&self, event: EventId) -> RawRecord {
        let event = self.event(event).await;
        let headers = event.headers();
        RawRecord {
            topic: event.topic,
            partition: 0,
            offset: 0,
            key: Some(event.key.into()),
            value: Some(event.payload),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
        }
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

/// A service that runs.
#[derive(Debug)]
pub struct Running<E> {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), E>>,
}

impl<E: Debug + Send + 'static> Running<E> {
    /// Starts what runs until the token is cancelled.
    pub fn start<F: Future<Output = Result<(), E>> + Send + 'static>(
        service: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(service(cancel.clone()));
        Self { cancel, task }
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(self) {
        self.cancel.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(50), self.task).await;
        ended.expect("the service ends").unwrap().unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Result<(), E> {
        self.task.await.unwrap()
    }

    /// Ends it as a crash would.
    pub async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
