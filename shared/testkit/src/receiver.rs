use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::stream;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The same for every attempt: `webhook-id` of a delivery, `idempotency-key` of what a provider gets.
    pub id: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// How a receiver answers from now on.
pub enum Behavior {
    Acknowledge,
    /// Answers with this status.
    Refuse(u16),
    /// Refuses the first attempts of each delivery with this status, and acknowledges the next.
    RefuseFirst(usize, u16),
    /// Never answers.
    Hang,
    /// Begins to answer at once, and never finishes: a byte every 100 ms.
    Drip,
    /// Begins to answer, and closes the connection.
    BreakOff,
    /// Does this, then answers 500.
    Then(Box<dyn Fn(&Received) + Send + Sync>),
    /// Answers 200 with this JSON.
    Json(Box<dyn Fn(&Received) -> String + Send + Sync>),
    /// Answers with this status and header.
    With(u16, &'static str, String),
}

impl std::fmt::Debug for Behavior {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Behavior")
    }
}

/// What a request must have, and is known by.
pub(crate) struct Terms {
    /// The header that its id is in.
    pub(crate) id: &'static str,
    /// Without this bearer token it is answered 401, whatever else the behavior would be.
    pub(crate) token: Option<String>,
}

struct State {
    terms: Terms,
    behavior: Mutex<Arc<Behavior>>,
    received: Mutex<Vec<Received>>,
}

/// A real HTTP server on loopback that keeps what it is sent.
pub struct WebhookReceiver {
    addr: SocketAddr,
    state: Data<State>,
    server: ServerHandle,
}

impl std::fmt::Debug for WebhookReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookReceiver")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl WebhookReceiver {
    pub async fn start(behavior: Behavior) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), behavior).await
    }

    /// Starts on a given address, such as that of one that was stopped.
    pub async fn start_at(addr: SocketAddr, behavior: Behavior) -> Self {
        let terms = Terms {
            id: "webhook-id",
            token: None,
        };
        Self::serve(addr, terms, behavior).await
    }

    pub(crate) async fn serve(addr: SocketAddr, terms: Terms, behavior: Behavior) -> Self {
        let state = Data::new(State {
            terms,
            behavior: Mutex::new(Arc::new(behavior)),
            received: Mutex::default(),
        });
        let shared = state.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .app_data(web::PayloadConfig::new(4 << 20))
                .default_service(web::to(receive))
        })
        .workers(1)
        .disable_signals()
        .bind(addr)
        .unwrap();
        let addr = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            addr,
            state,
            server: handle,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("http://{}/webhooks", self.addr)
    }

    pub fn set(&self, behavior: Behavior) {
        *self.state.behavior.lock().unwrap() = Arc::new(behavior);
    }

    /// Everything that arrived so far, in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// How often each delivery, or whatever else has an id, arrived.
    pub fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for received in self.state.received.lock().unwrap().iter() {
            *counts.entry(received.id.clone()).or_default() += 1;
        }
        counts
    }

    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn receive(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let text = |value: &actix_web::http::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: HashMap<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect();
    let received = Received {
        id: headers.get(state.terms.id).cloned().unwrap_or_default(),
        path: request.path().to_owned(),
        headers,
        body,
    };
    let earlier = {
        let mut all = state.received.lock().unwrap();
        let earlier = all.iter().filter(|other| other.id == received.id).count();
        all.push(received.clone());
        earlier
    };
    if let Some(token) = &state.terms.token
        && received.header("authorization") != Some(&format!("Bearer {token}"))
    {
        return HttpResponse::Unauthorized().body("the token is missing or wrong");
    }
    let behavior = state.behavior.lock().unwrap().clone();
    let status = |code| HttpResponse::build(actix_web::http::StatusCode::from_u16(code).unwrap());
    match &*behavior {
        Behavior::Acknowledge => HttpResponse::Ok().finish(),
        Behavior::Refuse(code) => status(*code).body("refused"),
        Behavior::RefuseFirst(times, code) if earlier < *times => status(*code).body("not yet"),
        Behavior::RefuseFirst(..) => HttpResponse::NoContent().finish(),
        Behavior::Hang => std::future::pending().await,
        Behavior::Drip => HttpResponse::Ok().streaming(stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, actix_web::Error>(Bytes::from_static(b".")), ()))
        })),
        Behavior::BreakOff => HttpResponse::Ok().streaming(stream::iter([
            Ok(Bytes::from_static(b"{")),
            Err(std::io::Error::other("broken off")),
        ])),
        Behavior::Then(act) => {
            act(&received);
            HttpResponse::InternalServerError().finish()
        }
        Behavior::Json(body) => HttpResponse::Ok()
            .content_type("application/json")
            .body(body(&received)),
        Behavior::With(code, name, value) => status(*code).insert_header((*name, value.as_str())).finish(),
    }
}
