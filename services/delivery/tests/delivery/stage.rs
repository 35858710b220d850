//! What the tests happen on.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use secrecy::SecretString;
use tidings_delivery::Parts;
use tidings_delivery::endpoints::{self, EndpointError, NewEndpoint};
use tidings_domain::{
    Attempt, Contact, ContactName, Content, DeliveryId, EndpointId, EventId, Message, MessageId, MessageStatus,
    PhoneNumber, Sender, WebhookEndpoint,
};
use tidings_events::{MessageQueued, Origin};
use tidings_runtime::http_client::OutwardClient;
use tidings_runtime::reach::Reach;
use tidings_storage::{Db, contacts, deliveries, messages, outbox};
use tidings_testkit::{Ground, eventually};
use tidings_vault::Vault;

pub const SECRET: &str = "mySecret";

/// Ample for an attempt that is meant to be answered.
pub const AMPLE: Duration = Duration::from_secs(30);

/// What secrets are encrypted with.
pub fn vault() -> Vault {
    Vault::from_text(&"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()).unwrap()
}

fn client() -> OutwardClient {
    OutwardClient::new(Reach::loopback()).unwrap()
}

pub struct Stage(Ground);

pub type Running = tidings_testkit::Running<tidings_delivery::Error>;

impl Deref for Stage {
    type Target = Ground;
    fn deref(&self) -> &Ground {
        &self.0
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Ground {
        &mut self.0
    }
}

/// Runs a test on each database there is.
pub async fn on_each_database(test: impl AsyncFn(Stage)) {
    Ground::on_each_database(async |ground| test(Stage(ground)).await).await;
}

impl Stage {
    /// Starts the service.
    pub fn run(&self, schedule: &str) -> Running {
        self.run_with(self.db.clone(), schedule, AMPLE)
    }

    pub fn run_with(&self, db: Db, schedule: &str, attempt_timeout: Duration) -> Running {
        let parts = Parts {
            db,
            clock: self.clock.clone(),
            connection: self.connection.clone(),
            client: client(),
            vault: vault(),
            schedule: schedule.parse().unwrap(),
            attempt_timeout,
        };
        Running::start(|cancel| tidings_delivery::run(parts, cancel))
    }

    /// Makes this receiver the default one.
    pub async fn default_endpoint(&self, url: &str) -> WebhookEndpoint {
        let secret = SecretString::from(SECRET);
        endpoints::ensure_default(&self.db, &self.clock, &vault(), &url.parse().unwrap(), &secret)
            .await
            .unwrap()
    }

    /// Adds an endpoint for queued messages.
    pub async fn endpoint(&self, url: &str) -> WebhookEndpoint {
        self.endpoint_for(url, "tidings.message.queued").await
    }

    pub async fn endpoint_for(&self, url: &str, types: &str) -> WebhookEndpoint {
        self.add(url, None, types).await.unwrap().0
    }

    /// Adds an endpoint; answers also its secret.
    pub async fn add(
        &self,
        url: &str,
        secret: Option<&str>,
        types: &str,
    ) -> Result<(WebhookEndpoint, SecretString), EndpointError> {
        let new = NewEndpoint {
            url: url.parse().unwrap(),
            secret: secret.map(SecretString::from),
            event_types: types.parse().unwrap(),
        };
        endpoints::add(&self.db, &self.clock, &vault(), &client(), new).await
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
