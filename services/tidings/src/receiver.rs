//! A webhook receiver that shows how one is written: verify first, then look at the body.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Result, anyhow};
use serde_json::json;
use tidings_domain::{Clock, SystemClock};
use tidings_events::data::timestamp;
use tidings_signing::{ReceivedHeaders, Secret, verify};
use tokio_util::sync::CancellationToken;

use crate::banner::say;

/// Webhooks are small; larger bodies are refused.
const MAX_BODY: usize = 1 << 20;

/// A receiver that has its port.
pub(crate) struct Receiver {
    listener: TcpListener,
    addr: SocketAddr,
    secret: Secret,
}

impl Receiver {
    pub(crate) fn bind(listen: SocketAddr, secret: Secret) -> Result<Self> {
        let listener = TcpListener::bind(listen).map_err(|error| {
            anyhow!("cannot listen on {listen} for webhooks: {error}; stop what listens there, or set TIDINGS_RECEIVER_LISTEN")
        })?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr, secret })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks", self.addr)
    }

    pub(crate) async fn run(self, cancel: CancellationToken) -> Result<()> {
        let secrets: Data<Vec<Secret>> = Data::from(Arc::new(vec![self.secret]));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(secrets.clone())
                .app_data(web::PayloadConfig::new(MAX_BODY))
                .route("/webhooks", web::post().to(receive))
                .route("/webhooks/", web::post().to(receive))
                .route("/health/live", web::get().to(HttpResponse::Ok))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(2)
        .listen(self.listener)?
        .run();
        let handle = server.handle();
        let stop = async {
            cancel.cancelled().await;
            handle.stop(true).await;
        };
        let (ended, ()) = tokio::join!(server, stop);
        Ok(ended?)
    }
}

async fn receive(request: HttpRequest, body: Bytes, secrets: Data<Vec<Secret>>) -> HttpResponse {
    let now = SystemClock.now();
    let headers =
        ReceivedHeaders::from_lookup(|name| request.headers().get(name).and_then(|value| value.to_str().ok()));
    if let Err(error) = verify(&headers, &body, &secrets, now.timestamp()) {
        say(&format!("{} refused    {error}", timestamp(now)));
        return HttpResponse::Unauthorized().json(json!({ "message": error.to_string() }));
    }
    let id = headers.webhook_id.unwrap_or("-");
    // Read and written again, so that nothing in a body can play tricks on a terminal.
    let shown = match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(event) => event.to_string(),
        Err(_) => body.escape_ascii().to_string(),
    };
    say(&format!(
        "{} verified   {} {shown}",
        timestamp(now),
        id.escape_default()
    ));
    HttpResponse::Ok().json(json!({ "received": true }))
}
