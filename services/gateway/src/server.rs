//! The listener, its limits, and how it stops.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use ipnet::IpNet;
use secrecy::SecretString;
use tidings_domain::Clock;
use tidings_runtime::health::{self, BuildInfo, Health};
use tidings_runtime::telemetry::MetricsHandle;
use tidings_storage::Db;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use crate::access::{Gatekeeper, Limits};
use crate::application::Application;
use crate::application::guids;
use crate::contracts::{self, Surroundings, messaging, orders, users};
use crate::guid_cache::{GuidCache, GuidCaching};
use crate::location::GeoLocator;
use crate::observe::observe;
use crate::sandbox::{self, Sandbox, SandboxTokens};
use crate::v2;

/// A worker is one thread that reads requests and writes answers; what they ask for is done on the
/// runtime of the process. Two are busy long after the database is, and leave room for the other
/// services of a process that runs them all.
const WORKERS: usize = 2;
/// Open connections of each worker; more wait to be accepted.
const CONNECTIONS: usize = 2048;
/// For the head of a request to arrive. Heads have at most 96 headers and 128 KiB.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may lie idle between requests.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// For a client to take the end of an answer before its connection is cut.
const DISCONNECT: Duration = Duration::from_secs(2);
/// For requests under way when the gateway is told to stop. A write takes 10 s at most.
const DRAIN: Duration = Duration::from_secs(12);

/// What a gateway works with.
#[derive(Debug)]
pub struct Parts {
    /// Until it is set, whoever needs it is told to come back.
    pub db: Arc<SetOnce<Db>>,
    pub clock: Arc<dyn Clock>,
    /// The first key, which opens everything.
    pub api_key: SecretString,
    /// Whether contracts that were published without authentication need no key.
    pub open_contracts: bool,
    pub limits: Limits,
    /// What absolute links begin with, without a slash at its end, if that does not follow each request.
    pub public_url: Option<String>,
    /// Whose word on where a request comes from counts.
    pub trusted_proxies: Vec<IpNet>,
    pub locator: Arc<dyn GeoLocator>,
    pub guids: GuidCaching,
    /// Where given, the gateway stands in for the providers of email and SMS and asks for these tokens.
    pub sandbox: Option<SandboxTokens>,
    pub health: Health,
    /// Shown at `/metrics` if given.
    pub metrics: Option<MetricsHandle>,
    pub build: BuildInfo,
}

/// A gateway that has its port and serves once it [runs](Self::run).
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    addr: SocketAddr,
}

/// Why the port could not be had; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{listen} is already in use: stop what listens there or set TIDINGS_LISTEN")]
    InUse { listen: SocketAddr },
    #[error("cannot listen on {listen}: {source}; set TIDINGS_LISTEN to an address and port that can be had here")]
    Unusable { listen: SocketAddr, source: io::Error },
}

/// Everything that is answered.
pub(crate) fn routes(
    health: &Health,
    build: BuildInfo,
    metrics: Option<&MetricsHandle>,
    sandbox: Option<&web::Data<Sandbox>>,
) -> impl FnOnce(&mut web::ServiceConfig) {
    move |app| {
        app.configure(health::routes(health.clone(), build));
        if let Some(metrics) = metrics {
            app.configure(health::metrics_route(metrics.clone()));
        }
        if let Some(sandbox) = sandbox {
            app.configure(sandbox::routes(sandbox.clone()));
        }
        app.configure(v2::routes);
        app.configure(users::routes);
        app.configure(contracts::guids::routes);
        app.configure(orders::routes);
        // Last, for it also answers where nothing is.
        app.configure(messaging::routes);
    }
}

impl Gateway {
    /// Takes the port. Clients can connect from now on; they are answered once the gateway runs.
    pub fn bind(listen: SocketAddr) -> Result<Self, BindError> {
        let unusable = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { listen },
            _ => BindError::Unusable { listen, source },
        };
        let listener = TcpListener::bind(listen).map_err(unusable)?;
        let addr = listener.local_addr().map_err(unusable)?;
        Ok(Self { listener, addr })
    }

    /// The address it got, with the actual port where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `cancel`, then lets requests that are under way finish.
    pub async fn run(self, parts: Parts, cancel: CancellationToken) -> io::Result<()> {
        let listener = self.listener;
        let sandbox = parts.sandbox.map(|tokens| Sandbox::new(tokens, parts.clock.clone()));
        let sandbox = sandbox.map(web::Data::new);
        let guids = GuidCache::new(&parts.guids);
        let application = Application::new(parts.db, parts.clock, parts.locator, guids, &parts.api_key);
        let gatekeeper = web::Data::new(Gatekeeper::new(application.clone(), parts.open_contracts, parts.limits));
        let surroundings = web::Data::new(Surroundings {
            public_url: parts.public_url,
            trusted_proxies: parts.trusted_proxies,
        });
        let (health, metrics, build) = (parts.health, parts.metrics, parts.build);

        // Ends what runs beside the server also when the server ends by itself.
        let ended = cancel.child_token();
        let _end = ended.clone().drop_guard();
        tokio::spawn(application.clone().expire_answers(ended.clone()));
        tokio::spawn(application.clone().record_key_uses(ended.clone()));
        tokio::spawn(guids::expire(application.clone(), ended.clone()));
        let changes = parts.guids.changes;
        let following = changes.map(|changes| tokio::spawn(guids::follow(application.clone(), changes, ended)));

        let shared = web::Data::new(application.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .app_data(gatekeeper.clone())
                .app_data(surroundings.clone())
                .wrap(from_fn(observe))
                .configure(routes(&health, build, metrics.as_ref(), sandbox.as_ref()))
        })
        .workers(WORKERS)
        .max_connections(CONNECTIONS)
        .client_request_timeout(HEAD)
        .client_disconnect_timeout(DISCONNECT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(DRAIN.as_secs())
        .shutdown_signal(cancel.cancelled_owned())
        .listen(listener)?
        .run();
        server.await?;
        application.write_key_uses().await;
        // Work whose client has gone may still be under way.
        application.finished(DRAIN).await;
        if let Some(following) = following {
            // It was told to end together with the server.
            let _ = following.await;
        }
        Ok(())
    }
}
