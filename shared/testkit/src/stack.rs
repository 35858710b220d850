use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_storage::{Db, dead_letters, outbox};

use crate::process::{Output, TestProcess};
use crate::{Outage, TestDatabase, TestKafka, eventually};

/// The whole of Tidings as a process of its own: `tidings up` on free ports, in a folder of its own.
///
/// It is the real program with its real output, so it can be killed, stopped and started again, and
/// every other client can talk to it.
#[derive(Debug)]
pub struct TestStack {
    binary: PathBuf,
    /// What its surroundings ask for.
    defaults: BTreeMap<String, String>,
    settings: BTreeMap<String, String>,
    process: Option<TestProcess>,
    // After the process, which is killed first if a test fails.
    folder: TempDir,
    parts: ExternalParts,
    api: SocketAddr,
    broker: String,
    /// What the process had said when it ended.
    last_words: String,
    client: reqwest::Client,
}

/// What a stack does not bring itself.
#[derive(Debug, Default)]
pub struct ExternalParts {
    pub database: Option<TestDatabase>,
    pub kafka: Option<TestKafka>,
}

impl TestStack {
    /// Starts `tidings up` with these settings beside the defaults, which tell it to use free ports and
    /// to deliver to `webhook_url`.
    pub async fn start(binary: impl Into<PathBuf>, webhook_url: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_on(ExternalParts::default(), binary, webhook_url, settings).await
    }

    /// The same with these parts in the place of embedded ones.
    pub async fn start_on(
        parts: ExternalParts,
        binary: impl Into<PathBuf>,
        webhook_url: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut stack = Self::prepare(parts, binary.into(), webhook_url, settings);
        stack.up().await;
        stack
    }

    fn prepare(parts: ExternalParts, binary: PathBuf, webhook_url: &str, settings: &[(&str, &str)]) -> Self {
        tidings_runtime::http_client::install_crypto_provider();
        let folder = TempDir::new().unwrap();
        let mut defaults = BTreeMap::from([
            ("TIDINGS_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("TIDINGS_BROKER_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            (
                "TIDINGS_DATA_DIR".to_owned(),
                folder.path().join("data").display().to_string(),
            ),
            ("WEBHOOK_URL".to_owned(), webhook_url.to_owned()),
        ]);
        if let Some(database) = &parts.database {
            defaults.insert("DATABASE_URL".to_owned(), database.url());
        }
        if let Some(kafka) = &parts.kafka {
            defaults.insert("KAFKA_BROKERS".to_owned(), kafka.brokers().to_owned());
        }
        let mut all = defaults.clone();
        all.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Self {
            binary,
            defaults,
            settings: all,
            folder,
            process: None,
            parts,
            api: ([127, 0, 0, 1], 0).into(),
            broker: String::new(),
            last_words: String::new(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .build()
                .unwrap(),
        }
    }

    /// Changes a setting for the next start; `None` brings back the one it has by default, if any.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        match value.or(self.defaults.get(name).map(String::as_str)) {
            Some(value) => drop(self.settings.insert(name.to_owned(), value.to_owned())),
            None => drop(self.settings.remove(name)),
        }
    }

    /// Starts the process, on the ports it had before if it ran before.
    pub async fn up(&mut self) {
        assert!(self.process.is_none(), "the stack is running");
        let mut process = TestProcess::spawn(&self.binary, &["up"], self.folder.path(), &self.settings);
        let said = process.says("Ctrl-C stops").await;
        self.process = Some(process);
        let after = |label: &str| {
            let line = said.lines().find(|line| line.trim_start().starts_with(label));
            let line = line.unwrap_or_else(|| panic!("no line `{label}` in:\n{said}"));
            line.trim_start()[label.len()..]
                .split_whitespace()
                .next()
                .unwrap()
                .to_owned()
        };
        self.api = after("API").strip_prefix("http://").unwrap().parse().unwrap();
        self.broker = after("broker");
        self.set("TIDINGS_LISTEN", Some(&self.api.to_string()));
        if !self.settings.contains_key("KAFKA_BROKERS") {
            self.set("TIDINGS_BROKER_LISTEN", Some(&self.broker.clone()));
        }
    }

    /// Runs another command of the program with the same settings, to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        TestProcess::run(&self.binary, arguments, self.folder.path(), &self.settings).await
    }

    /// Runs another command of the program without any settings.
    pub async fn run_bare(&self, arguments: &[&str]) -> Output {
        TestProcess::run(&self.binary, arguments, self.folder.path(), &BTreeMap::new()).await
    }

    /// Starts a service in a process of its own beside the stack, on the same parts. They must not be embedded.
    pub fn spawn_beside(&self, service: &str) -> TestProcess {
        let mut settings = self.settings.clone();
        for listener in ["TIDINGS_LISTEN", "TIDINGS_OPS_LISTEN"] {
            settings.insert(listener.to_owned(), "127.0.0.1:0".to_owned());
        }
        TestProcess::spawn(&self.binary, &[service], self.folder.path(), &settings)
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the stack is running").pid()
    }

    fn take(&mut self) -> TestProcess {
        self.process.take().expect("the stack is running")
    }

    /// Ends the process as a power failure would.
    pub async fn kill(&mut self) {
        self.last_words = self.take().kill().await;
    }

    /// Waits for the end of a process that something else killed.
    pub async fn killed(&mut self) {
        (_, self.last_words) = self.take().end().await;
    }

    /// Asks the process to end and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        let status;
        (status, self.last_words) = self.take().stop().await;
        status
    }

    /// Everything the process has said since it was started.
    pub fn output(&self) -> String {
        match &self.process {
            Some(process) => process.output(),
            None => self.last_words.clone(),
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Host and port of the broker.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(self.url(path)).bearer_auth("there-is-no-key"))
            .await
            .unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(
            self.client
                .post(self.url(path))
                .bearer_auth("there-is-no-key")
                .json(body),
        )
        .await
        .unwrap()
    }

    /// A request that the stack may not live to answer.
    pub async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        answer(
            self.client
                .post(self.url(path))
                .bearer_auth("there-is-no-key")
                .json(body),
        )
        .await
    }

    /// For requests that are out of the ordinary.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends a message to a contact of its own and returns its id.
    pub async fn send_message(&self, number: u32) -> String {
        let (status, message) = self.post("/messages", &message(number)).await;
        assert_eq!(status, 201, "{message}");
        message["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a message has this status, and returns it.
    pub async fn message_becomes(&self, id: &str, status: &str) -> Value {
        eventually(&format!("message {id} becomes {status}"), async || {
            let (_, message) = self.get(&format!("/messages/{id}")).await;
            if message["status"] == status {
                Ok(message)
            } else {
                Err(message)
            }
        })
        .await
    }

    /// The database of the stack, beside it.
    pub async fn database(&self) -> Db {
        match &self.parts.database {
            Some(database) => database.reopen().await,
            None => TestDatabase::open_sqlite(&self.sqlite()).await,
        }
    }

    fn sqlite(&self) -> PathBuf {
        PathBuf::from(&self.settings["TIDINGS_DATA_DIR"]).join("tidings.db")
    }

    /// Whether the database is PostgreSQL.
    pub fn postgres(&self) -> bool {
        self.parts.database.is_some()
    }

    /// Whether neither the database nor the broker is embedded.
    pub fn on_servers(&self) -> bool {
        self.parts.database.is_some() && self.parts.kafka.is_some()
    }

    /// Changes rows behind the stack's back.
    pub async fn tamper(&self, sql: &str) -> u64 {
        match &self.parts.database {
            Some(database) => database.tamper(sql).await,
            None => TestDatabase::tamper_sqlite(&self.sqlite(), sql).await,
        }
    }

    /// Everything that is kept, as bytes: each file of the stack's folder, and an external database.
    pub async fn kept(&self) -> Vec<u8> {
        let mut kept = Vec::new();
        let mut folders = vec![self.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    kept.extend(std::fs::read(path).unwrap());
                }
            }
        }
        if let Some(database) = &self.parts.database {
            kept.extend(database.contents().await.into_bytes());
        }
        kept
    }

    /// Takes the database away.
    pub async fn outage(&self) -> Outage {
        match &self.parts.database {
            Some(database) => database.outage().await,
            None => Outage::of_sqlite(&self.sqlite()).await,
        }
    }

    /// Ends the test's stack: everything was published, nothing was set aside, the audit log holds
    /// together, and the process ends in good order.
    pub async fn finish(mut self) {
        self.settle().await;
        assert_eq!(
            dead_letters::count(self.database().await.read()).await.unwrap(),
            0,
            "records were set aside"
        );
        let verified = self.run(&["audit", "verify"]).await;
        assert!(verified.status.success(), "{verified:?}");
        let status = self.stop().await;
        assert!(status.success(), "the stack ended with {status}:\n{}", self.output());
    }

    /// Waits until nothing is left to publish.
    pub async fn settle(&self) {
        let db = self.database().await;
        eventually("the outbox is empty", async || match outbox::depth(db.read()).await {
            Ok(0) => Ok(()),
            other => Err(other),
        })
        .await;
    }
}

/// A message to a contact that has this number.
pub(crate) fn message(number: u32) -> Value {
    json!({
        "from": "+41440000000",
        "to": { "name": format!("Contact {number}"), "phone": format!("+4179{number:07}") },
        "content": format!("Message {number}"),
    })
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, Value)> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
