//! A PostgreSQL and an Apache Kafka in containers, from the images that `deploy/compose.yaml` names.
//!
//! All tests share them, and those of other processes, too: whoever comes first starts them. They stay
//! when the tests have ended, and the next run finds them again. Their names are those below.

use std::fs::File;
use std::sync::OnceLock;
use std::time::Duration;

use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt, ReuseDirective};

/// Which images there are, and by which variables other ones are named.
const COMPOSE: &str = include_str!("../../../deploy/compose.yaml");

const POSTGRES: &str = "tidings-test-postgres";
const KAFKA: &str = "tidings-test-kafka";

/// How long a server may take to start, on a machine that is busy.
const START: Duration = Duration::from_secs(120);

/// The URL of the server's own database.
pub(crate) fn postgres() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| in_background(start_postgres())).clone()
}

/// Its `host:port`.
pub(crate) fn kafka() -> String {
    static BROKERS: OnceLock<String> = OnceLock::new();
    BROKERS.get_or_init(|| in_background(start_kafka())).clone()
}

/// Waits for something that is done on a thread of its own, for the caller's may belong to a runtime that
/// goes on only when it returns.
fn in_background(start: impl Future<Output = String> + Send + 'static) -> String {
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(start)
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

async fn start_postgres() -> String {
    let image = image("POSTGRES_IMAGE")
        .with_exposed_port(5432.tcp())
        .with_wait_for(WaitFor::message_on_either_std("listening on IPv4 address"))
        .with_env_var("POSTGRES_USER", "tidings")
        .with_env_var("POSTGRES_PASSWORD", "tidings")
        .with_cmd(["postgres", "-c", "max_connections=300"]);
    let (_container, host, port) = start(POSTGRES, image, 5432).await;
    format!("postgres://tidings:tidings@{host}:{port}/postgres")
}

async fn start_kafka() -> String {
    // What it tells clients to come back to, so it must be known before it starts.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let advertised = format!("INSIDE://localhost:9092,OUTSIDE://127.0.0.1:{port}");
    let settings = [
        ("NODE_ID", "1"),
        ("PROCESS_ROLES", "broker,controller"),
        ("CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("LISTENERS", "INSIDE://:9092,CONTROLLER://:9093,OUTSIDE://:9094"),
        ("ADVERTISED_LISTENERS", &advertised),
        ("INTER_BROKER_LISTENER_NAME", "INSIDE"),
        (
            "LISTENER_SECURITY_PROTOCOL_MAP",
            "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        ),
        ("LOG_DIRS", "/var/lib/kafka/data"),
        // As in deploy/kafka/server.properties, whose comments say why.
        ("AUTO_CREATE_TOPICS_ENABLE", "false"),
        ("DEFAULT_REPLICATION_FACTOR", "1"),
        ("OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
        ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("TRANSACTION_STATE_LOG_NUM_PARTITIONS", "1"),
        ("SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
        ("SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
        ("LOG_SEGMENT_DELETE_DELAY_MS", "1000"),
        ("GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("HEAP_OPTS", "-Xms128m -Xmx512m"),
    ];
    let image = image("KAFKA_IMAGE").with_wait_for(WaitFor::message_on_either_std("Kafka Server started"));
    let mut request: ContainerRequest<GenericImage> = image.with_mapped_port(port, 9094.tcp());
    for (name, value) in settings {
        request = request.with_env_var(format!("KAFKA_{name}"), value);
    }
    let (_container, host, port) = start(KAFKA, request, 9094).await;
    format!("{host}:{port}")
}

/// Starts a container, unless there is one of this name; answers where its port is.
async fn start(
    name: &str,
    request: impl Into<ContainerRequest<GenericImage>>,
    port: u16,
) -> (ContainerAsync<GenericImage>, String, u16) {
    // Of two processes that begin at the same time, one starts it and the other finds it.
    let turn = File::create(std::env::temp_dir().join(format!("{name}.lock"))).unwrap();
    turn.lock().unwrap();
    let request = request
        .into()
        .with_container_name(name)
        .with_startup_timeout(START)
        .with_reuse(ReuseDirective::Always);
    let container = request.start().await;
    let container = container.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
    // Tests speak to it by address: `localhost` may be two.
    let host = container
        .get_host()
        .await
        .unwrap()
        .to_string()
        .replace("localhost", "127.0.0.1");
    let port = container.get_host_port_ipv4(port.tcp()).await.unwrap();
    (container, host, port)
}

/// The image that this variable names, or that compose.yaml does where it is unset.
fn image(variable: &str) -> GenericImage {
    let name = std::env::var(variable).unwrap_or_else(|_| default_of(variable).to_owned());
    // A colon before the last slash is that of a port.
    let tag = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
    match tag {
        Some(colon) => GenericImage::new(&name[..colon], &name[colon + 1..]),
        None => GenericImage::new(&name[..], "latest"),
    }
}

fn default_of(variable: &str) -> &'static str {
    let (_, rest) = COMPOSE
        .split_once(&format!("${{{variable}:-"))
        .unwrap_or_else(|| panic!("deploy/compose.yaml does not mention {variable}"));
    rest.split_once('}').unwrap().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_are_those_of_the_stack() {
        assert!(default_of("POSTGRES_IMAGE").starts_with("postgres:"));
        assert!(default_of("KAFKA_IMAGE").starts_with("apache/kafka:"));
    }
}
