//! Starting and stopping, and the tasks in between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::connection;
use crate::coordinator::Coordinator;
use crate::error::{Error, Result};
use crate::store::Store;

/// How long shutdown waits for clients to take their last answers.
const LINGER: Duration = Duration::from_millis(500);

/// The broker; see [`Broker::start`].
#[derive(Debug)]
pub struct Broker;

/// A running broker. Dropping it leaves the broker running; [`Handle::shutdown`] ends it.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    connections: TaskTracker,
    stop_writer: CancellationToken,
    writer: TaskTracker,
    failed: CancellationToken,
    node: Arc<Node>,
}

/// What requests are served with.
#[derive(Debug)]
pub(crate) struct Node {
    pub config: Config,
    pub store: Store,
    pub groups: Coordinator,
    /// Ends all waiting.
    pub stop: CancellationToken,
    /// Ends connections whatever they are doing.
    pub cut: CancellationToken,
}

impl Broker {
    /// Opens the data folder and starts serving it on the current tokio runtime.
    ///
    /// Once this returns, clients can connect. If it fails, nothing is left running.
    pub async fn start(config: Config) -> Result<Handle> {
        config.check()?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| cannot_listen(&config, source))?;
        let addr = listener.local_addr().map_err(|source| cannot_listen(&config, source))?;
        let (store, writer) = Store::open(&config).await?;

        let [stop, cut, failed, stop_writer] = std::array::from_fn(|_| CancellationToken::new());
        let groups = Coordinator::new(config.initial_rebalance_delay);
        let node = Arc::new(Node {
            config,
            store,
            groups,
            stop,
            cut,
        });

        let part = |name| Part {
            name,
            stop: node.stop.clone(),
            failed: failed.clone(),
        };
        let [connections, writers] = std::array::from_fn(|_| TaskTracker::new());
        writers.spawn(part("writer").watch(writer.run(stop_writer.clone())));
        let accept = connection::accept(listener, node.clone(), connections.clone());
        connections.spawn(part("listener").watch(accept));
        connections.spawn(part("groups").watch(supervise_groups(node.clone())));
        connections.spawn(part("maintenance").watch(maintain(node.clone())));
        tracing::info!(%addr, data_dir = %node.config.data_dir.display(), "broker started");
        Ok(Handle {
            addr,
            connections,
            stop_writer,
            writer: writers,
            failed,
            node,
        })
    }
}

fn cannot_listen(config: &Config, source: std::io::Error) -> Error {
    let addr = config.listen;
    match source.kind() {
        std::io::ErrorKind::AddrInUse => Error::AddressInUse { addr },
        _ => Error::Listen { addr, source },
    }
}

impl Handle {
    /// The address that is listened on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Completes if a part of the broker that the rest cannot do without has ended by a panic. Nothing
    /// is served any more then: clients lose their connections and cannot make new ones. The host
    /// should call [`shutdown`](Self::shutdown), and may start the broker again.
    ///
    /// Errors that may pass, such as a full disk, are reported to the clients and are not failures.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops serving: requests that wait for something are dropped, appends under way are finished
    /// and acknowledged, the database is closed.
    pub async fn shutdown(self) {
        self.node.stop.cancel();
        self.connections.close();
        if timeout(LINGER, self.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "not waiting for slow clients any longer"
            );
            self.node.cut.cancel();
            self.connections.wait().await;
        }
        self.node.store.close().await;
        self.stop_writer.cancel();
        self.writer.close();
        self.writer.wait().await;
        tracing::info!("broker stopped");
    }
}

/// Runs a task that the broker cannot do without; one that panics takes the broker down.
struct Part {
    name: &'static str,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Part {
    async fn watch(self, task: impl Future<Output = ()>) {
        task.await;
        drop(self);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(part = self.name, "the broker has failed");
            self.failed.cancel();
            self.stop.cancel();
        }
    }
}

async fn supervise_groups(node: Arc<Node>) {
    node.groups.run(&node.stop).await;
}

/// Removes what is no longer wanted, from time to time.
async fn maintain(node: Arc<Node>) {
    let every = node.config.maintenance_interval;
    let mut timer = interval_at(tokio::time::Instant::now() + every, every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            timer.tick().await;
            if let Err(error) = node.store.maintain(&node.config, node.groups.ids()).await {
                tracing::warn!(%error, "maintenance failed; it will be tried again");
            }
        }
    };
    tokio::select! {
        () = node.stop.cancelled() => {}
        () = rounds => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Command;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_host_learns_that_the_writer_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(([127, 0, 0, 1], 0).into(), dir.path());
        let broker = Broker::start(config.clone()).await.unwrap();
        assert!(!broker.failed.is_cancelled(), "all is well");
        assert!(broker.node.store.change(Command::Panic).await.is_err());
        timeout(Duration::from_secs(5), broker.failed()).await.unwrap();
        broker.connections.close();
        timeout(Duration::from_secs(5), broker.connections.wait())
            .await
            .unwrap();
        assert!(
            tokio::net::TcpStream::connect(broker.addr()).await.is_err(),
            "nobody is served"
        );
        broker.shutdown().await;

        let broker = Broker::start(config).await.unwrap();
        assert!(
            broker
                .node
                .store
                .change(|reply| Command::NewProducerId { reply })
                .await
                .is_ok()
        );
        broker.shutdown().await;
    }
}
