use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tidings_domain::{Country, SystemClock};
use tidings_events::{EventRecord, Outbox};
use tidings_gateway::guid_cache::GuidCaching;
use tidings_gateway::location::{Locator, Tuning};
use tidings_gateway::{Gateway, Limits, Parts, SandboxTokens};
use tidings_runtime::health::{BuildInfo, Health};
use tidings_runtime::http_client::install_crypto_provider;
use tidings_runtime::telemetry::install_metrics;
use tidings_storage::outbox::RelayOutbox;
use tidings_storage::{ConnectionTrait, Db};
use tidings_testkit::{TestDatabase, databases};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const KEY: &str = "a key for tests";
pub const EMAIL_TOKEN: &str = "the token for email";
pub const SMS_TOKEN: &str = "the token for SMS";

/// A gateway that serves on a database of its own.
pub struct TestGateway {
    pub addr: SocketAddr,
    pub database: Arc<TestDatabase>,
    db: Db,
    pub health: Health,
    outbox: RelayOutbox,
    client: Client,
    cancel: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

/// Runs a test once on each database.
pub async fn on_each_database(test: impl AsyncFn(&TestGateway)) {
    for database in databases().await {
        println!("on {}", database.name);
        let gateway = TestGateway::start(database).await;
        test(&gateway).await;
        gateway.stop().await;
    }
}

pub fn parts(db: Db, health: Health) -> Parts {
    Parts {
        db: Arc::new(db.into()),
        clock: Arc::new(SystemClock),
        api_key: KEY.to_owned().into(),
        open_contracts: true,
        limits: Limits::default(),
        public_url: None,
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        // A port on which nobody listens: who comes from this machine is not asked about.
        locator: locator("http://127.0.0.1:9/{ip}/json/", None, Tuning::default()),
        guids: GuidCaching::default(),
        sandbox: Some(SandboxTokens {
            email: EMAIL_TOKEN.into(),
            sms: SMS_TOKEN.into(),
        }),
        health,
        metrics: Some(install_metrics()),
        build: BuildInfo {
            version: "1.2.3",
            commit: "abc",
            built_at: "2026-01-02T03:04:05Z",
        },
    }
}

/// Asks at that URL, and takes this machine to be in Switzerland.
pub fn locator(url: &str, database: Option<&Path>, tuning: Tuning) -> Arc<Locator> {
    let home = Country::from_code("CH");
    Arc::new(Locator::new(url.into(), database, home, tuning, Arc::new(SystemClock)).unwrap())
}

pub fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub fn client() -> Client {
    install_crypto_provider();
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

impl TestGateway {
    pub async fn start(database: TestDatabase) -> Self {
        Self::start_with(database, |_| ()).await
    }

    /// One whose parts were changed.
    pub async fn start_with(database: TestDatabase, change: impl FnOnce(&mut Parts)) -> Self {
        let db = database.db.clone();
        Self::serve(Arc::new(database), db, change)
    }

    /// Another one on the same database, as if in a process of its own.
    pub async fn start_beside(&self) -> Self {
        self.start_beside_with(|_| ()).await
    }

    pub async fn start_beside_with(&self, change: impl FnOnce(&mut Parts)) -> Self {
        Self::serve(self.database.clone(), self.database.reopen().await, change)
    }

    fn serve(database: Arc<TestDatabase>, db: Db, change: impl FnOnce(&mut Parts)) -> Self {
        let health = Health::new();
        let gateway = Gateway::bind(loopback()).unwrap();
        let mut parts = parts(db.clone(), health.clone());
        change(&mut parts);
        let cancel = CancellationToken::new();
        Self {
            addr: gateway.addr(),
            outbox: RelayOutbox::new(db.clone()),
            database,
            db,
            health,
            client: client(),
            serving: tokio::spawn(gateway.run(parts, cancel.clone())),
            cancel,
        }
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        self.serving.await.unwrap().unwrap();
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// A request without the key.
    pub fn open(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.addr))
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.open(method, path).header(AUTHORIZATION, format!("Bearer {KEY}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// A POST under an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("Idempotency-Key", key);
        send(request.json(body)).await
    }

    /// Sends these bytes as JSON, whatever they are.
    pub async fn send_raw(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(method, path).header(CONTENT_TYPE, "application/json");
        send(request.body(body)).await
    }

    /// A new contact.
    pub async fn contact(&self, name: &str, phone: &str) -> Value {
        let answer = self.post("/contacts", &json!({"name": name, "phone": phone})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// All events so far, in the order in which they will be published.
    pub async fn events(&self) -> Vec<EventRecord> {
        let leases = self.outbox.lease().await.unwrap().leases;
        let pending = self.outbox.pending(&leases, 10_000).await.unwrap();
        pending.into_iter().map(|entry| entry.record).collect()
    }

    pub async fn event_types(&self) -> Vec<String> {
        self.events().await.into_iter().map(|event| event.event_type).collect()
    }

    /// Keeps everyone else from adding contacts until told otherwise.
    pub async fn hold_writes(&self) -> Held {
        let other = self.database.reopen().await;
        let (held, is_held) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let postgres = self.database.name == "PostgreSQL";
        let holding = tokio::spawn(async move {
            let done: tidings_storage::Result<()> = other
                .write(move |tx| {
                    Box::pin(async move {
                        if postgres {
                            tx.conn()
                                .execute_unprepared("LOCK TABLE contacts IN EXCLUSIVE MODE")
                                .await?;
                        }
                        // SQLite has one writer, which this is now.
                        held.send(()).unwrap();
                        let _ = released.await;
                        Ok(())
                    })
                })
                .await;
            done.unwrap();
            other.close().await;
        });
        is_held.await.unwrap();
        Held { release, holding }
    }
}

/// A lock on the database.
pub struct Held {
    release: oneshot::Sender<()>,
    holding: JoinHandle<()>,
}

impl Held {
    pub async fn release(self) {
        self.release.send(()).unwrap();
        self.holding.await.unwrap();
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The text of `{"error"}`, which must be all there is.
    pub fn error(&self) -> String {
        self.only("error")
    }

    /// The text of `{"message"}`, which must be all there is.
    pub fn message(&self) -> String {
        self.only("message")
    }

    fn only(&self, name: &str) -> String {
        let body = self.json();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        body[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}: {body}"))
            .to_owned()
    }

    /// Checks `{"id", "message"}`.
    pub fn assert_not_found(&self, id: &str, what: &str) {
        assert_eq!(self.status, 404, "{self:?}");
        assert_eq!(self.json(), json!({"id": id, "message": format!("{what} not found")}));
    }
}
