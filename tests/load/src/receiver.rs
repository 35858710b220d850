//! Acknowledges every webhook and notes when it came.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Result;

pub(crate) struct Receiver {
    addr: SocketAddr,
    arrivals: Data<Arrivals>,
}

/// By message: when it first came, and how often.
#[derive(Default)]
struct Arrivals(Mutex<HashMap<String, (Instant, u32)>>);

impl Receiver {
    pub(crate) fn start() -> Result<Self> {
        let arrivals = Data::new(Arrivals::default());
        let shared = arrivals.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/webhooks", web::post().to(receive))
                .route("/hang/{number}", web::post().to(hang))
        })
        .workers(1)
        .max_connections(25_000)
        .disable_signals()
        .bind("127.0.0.1:0")?;
        let addr = server.addrs()[0];
        tokio::spawn(server.run());
        Ok(Self { addr, arrivals })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks", self.addr)
    }

    /// The address of a receiver that never answers.
    pub(crate) fn hanging_url(&self, number: usize) -> String {
        format!("http://{}/hang/{number}", self.addr)
    }

    /// When a message came, and how often.
    pub(crate) fn arrival(&self, message: &str) -> Option<(Instant, u32)> {
        self.arrivals
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(message)
            .copied()
    }

    pub(crate) fn arrived(&self) -> usize {
        self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn forget(&self) {
        self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn receive(body: Bytes, arrivals: Data<Arrivals>) -> HttpResponse {
    let now = Instant::now();
    if let Ok(serde_json::Value::Object(event)) = serde_json::from_slice(&body)
        && let Some(id) = event.get("id").and_then(|id| id.as_str())
    {
        let mut arrivals = arrivals.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.entry(id.to_owned()).or_insert((now, 0)).1 += 1;
    }
    HttpResponse::Ok().finish()
}

async fn hang() -> HttpResponse {
    std::future::pending().await
}
