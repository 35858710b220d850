use std::collections::HashMap;

use crate::receiver::{Behavior, Received, Terms, WebhookReceiver};

/// A real HTTP server on loopback that behaves as a provider of email or SMS does, and keeps what it is sent.
#[derive(Debug)]
pub struct ProviderSink {
    server: WebhookReceiver,
}

impl ProviderSink {
    /// Starts one that asks for this bearer token.
    pub async fn start(token: &str, behavior: Behavior) -> Self {
        let terms = Terms {
            id: "idempotency-key",
            token: Some(token.to_owned()),
        };
        Self {
            server: WebhookReceiver::serve(([127, 0, 0, 1], 0).into(), terms, behavior).await,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/send", self.server.addr())
    }

    pub fn set(&self, behavior: Behavior) {
        self.server.set(behavior);
    }

    /// Everything it was sent so far, in the order of arrival, what it refused included.
    pub fn calls(&self) -> Vec<Received> {
        self.server.received()
    }

    /// How often it was sent each `Idempotency-Key`.
    pub fn counts(&self) -> HashMap<String, usize> {
        self.server.counts()
    }

    pub async fn stop(self) {
        self.server.stop().await;
    }
}
