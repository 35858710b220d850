//! What happens when a part is missing or wrong at the start: what is away is waited for, what cannot be
//! is refused in one line.

mod refusing;
mod waiting;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_broker::{Broker, Config, Handle};
use tidings_testkit::{Output, TestProcess, eventually};

use crate::TIDINGS;

const SERVICES: [&str; 3] = ["gateway", "delivery", "audit"];

/// An address on which nobody listens yet.
fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Where a process runs, and what it is told.
struct Place {
    folder: TempDir,
    settings: BTreeMap<String, String>,
    client: reqwest::Client,
}

impl Place {
    fn new(settings: &[(&str, &str)]) -> Self {
        tidings_runtime::http_client::install_crypto_provider();
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data").display().to_string();
        let mut all = BTreeMap::from([
            ("TIDINGS_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("TIDINGS_BROKER_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("TIDINGS_DATA_DIR".to_owned(), data),
            ("WEBHOOK_URL".to_owned(), format!("http://{}/", nowhere())),
            (
                "TIDINGS_ENCRYPTION_KEY".to_owned(),
                "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
            ),
        ]);
        for (name, value) in settings {
            all.insert((*name).to_owned(), (*value).to_owned());
        }
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20));
        Self {
            folder,
            settings: all,
            client: client.build().unwrap(),
        }
    }

    fn with(&self, name: &str, value: &str) -> BTreeMap<String, String> {
        let mut settings = self.settings.clone();
        settings.insert(name.to_owned(), value.to_owned());
        settings
    }

    fn spawn(&self, command: &str) -> TestProcess {
        TestProcess::spawn(TIDINGS, &[command], self.folder.path(), &self.settings)
    }

    async fn run(&self, command: &str, settings: &BTreeMap<String, String>) -> Output {
        TestProcess::run(TIDINGS, &[command], self.folder.path(), settings).await
    }

    async fn get(&self, url: &str) -> (u16, Value) {
        let answer = self
            .client
            .get(url)
            .bearer_auth("there-is-no-key")
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn send_message(&self, api: &str) -> reqwest::Response {
        let body = json!({ "from": "+41440000000", "to": { "name": "Ada", "phone": "+41791234567" }, "content": "x" });
        let request = self.client.post(format!("{api}/messages")).json(&body);
        request.bearer_auth("there-is-no-key").send().await.unwrap()
    }

    async fn becomes_ready(&self, health: &str) {
        eventually(&format!("{health} is ready"), async || {
            match self.get(&format!("{health}/health/ready")).await {
                (200, _) => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    async fn becomes_delivered(&self, api: &str, id: &str) {
        eventually("the message is delivered", async || {
            match self.get(&format!("{api}/messages/{id}")).await {
                (200, message) if message["status"] == "delivered" => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }
}

/// The address that follows these words.
fn url_after(said: &str, words: &str) -> String {
    let at = said.find(words).unwrap_or_else(|| panic!("no `{words}` in {said}")) + words.len();
    said[at..].split_whitespace().next().unwrap().to_owned()
}

async fn started(at: SocketAddr, folder: &TempDir) -> Handle {
    Broker::start(Config::new(at, folder.path().join("broker")))
        .await
        .unwrap()
}

fn password_of(url: &str) -> &str {
    url.split_once("://")
        .unwrap()
        .1
        .split_once('@')
        .unwrap()
        .0
        .split_once(':')
        .unwrap()
        .1
}
