//! Who the messages are for: verifies every webhook, notes it, and answers as the message says.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use tidings_domain::{Clock, SystemClock};
use tidings_signing::{ReceivedHeaders, Secret, Verified, verify};

use crate::load::Fate;

/// One attempt as it arrived.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub at: Instant,
    /// The `webhook-id`.
    pub delivery: String,
    /// What was answered.
    pub status: u16,
}

#[derive(Default)]
struct Books {
    /// By message.
    receipts: HashMap<String, Vec<Receipt>>,
    /// Why a webhook was not believed.
    refused: Vec<String>,
}

pub struct Receiver {
    books: Data<Mutex<Books>>,
    url: String,
    server: ServerHandle,
}

impl Receiver {
    pub fn start() -> Self {
        let books = Data::new(Mutex::<Books>::default());
        let shared = books.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/webhooks", web::post().to(receive))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}/webhooks", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            books,
            url,
            server: handle,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything that came for each message, in the order of arrival.
    pub fn receipts(&self) -> HashMap<String, Vec<Receipt>> {
        self.books.lock().unwrap().receipts.clone()
    }

    /// Why webhooks were not believed.
    pub fn refused(&self) -> Vec<String> {
        self.books.lock().unwrap().refused.clone()
    }

    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn receive(request: HttpRequest, body: Bytes, books: Data<Mutex<Books>>) -> HttpResponse {
    let at = Instant::now();
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let secret = [Secret::from_text("mySecret").unwrap()];
    let now = SystemClock.now().timestamp();
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    let delivery = match verify(&ReceivedHeaders::from_lookup(header), &body, &secret, now) {
        Ok(Verified::Standard { id, .. }) => id.to_owned(),
        other => {
            books.refused.push(format!("{other:?}: {body:?}"));
            return HttpResponse::Unauthorized().finish();
        }
    };
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let (Some(message), Some(fate)) = (json["id"].as_str(), header("x-correlation-id").and_then(Fate::of)) else {
        books.refused.push(format!("not one of this run: {body:?}"));
        return HttpResponse::BadRequest().finish();
    };
    let receipts = books.receipts.entry(message.to_owned()).or_default();
    let status = fate.answer(receipts.len());
    receipts.push(Receipt { at, delivery, status });
    HttpResponse::new(StatusCode::from_u16(status).unwrap())
}
