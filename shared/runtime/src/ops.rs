//! The listener for health and metrics of a service that runs alone.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};

use actix_web::{App, HttpServer};
use tokio_util::sync::CancellationToken;

use crate::health::{self, BuildInfo, Health};
use crate::telemetry::MetricsHandle;

/// How long requests that are being answered may still take.
const DRAIN_SECONDS: u64 = 2;

/// Binds `listen` and gives the address it got, together with the server. It has to be polled in order to
/// serve, and ends when `shutdown` is cancelled.
pub fn serve(
    listen: SocketAddr,
    health: Health,
    metrics: MetricsHandle,
    build: BuildInfo,
    shutdown: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = io::Result<()>> + Send + 'static)> {
    let listener = TcpListener::bind(listen).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "cannot listen on {listen} for health and metrics: {error}; set TIDINGS_OPS_LISTEN to another address"
            ),
        )
    })?;
    let address = listener.local_addr()?;
    let serving = async move {
        let server = HttpServer::new(move || {
            App::new()
                .configure(health::routes(health.clone(), build))
                .configure(health::metrics_route(metrics.clone()))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(DRAIN_SECONDS)
        .listen(listener)?
        .run();
        let handle = server.handle();
        let stop = async {
            shutdown.cancelled().await;
            handle.stop(true).await;
        };
        let (ended, ()) = tokio::join!(server, stop);
        ended
    };
    Ok((address, serving))
}
