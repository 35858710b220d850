//! A PostgreSQL, an Apache Kafka and a Redis in containers, from the images that `deploy/compose.yaml` names, and
//! a published one of Redis.
//!
//! All tests share them, and those of other processes, too: whoever comes first starts them. They stay when the
//! tests have ended, and the next run finds them again, running or stopped. One that was made from another image or with
//! other settings than this run asks for is not taken, nor removed, for somebody may be using it: tests fail and say how
//! to remove it.
//!
//! They listen on the loopback interface only, for their passwords are no secrets; so the engine must be on this machine.

use std::any::Any;
use std::fmt::Debug;
use std::fs::File;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sqlx::{Connection, PgConnection};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerRequest, GenericImage, ImageExt, ReuseDirective};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually_within;

/// Which images there are, and by which variables other ones are named.
const COMPOSE: &str = include_str!("../../../deploy/compose.yaml");

const POSTGRES: &str = "tidings-test-postgres";
const KAFKA: &str = "tidings-test-kafka";
const REDIS: &str = "tidings-test-redis";

/// The stack brings no Redis of its own.
const REDIS_IMAGE: &str = "redis:7.2.4";

/// What a container has been made of, which must not have changed when it is found again.
const MADE_OF: &str = "tidings-test";
/// This changes from one start to the next.
const ADVERTISED: &str = "KAFKA_ADVERTISED_LISTENERS";

/// How long a server may take to start, on a machine that is busy.
const START: Duration = Duration::from_secs(120);

/// A server, or why there is none. That is remembered, too: tests would wait for it one after the other.
type Place = OnceLock<Result<String, String>>;

/// The URL of the server's own database.
pub(crate) fn postgres() -> String {
    static URL: Place = Place::new();
    once(&URL, start_postgres)
}

/// Its `host:port`.
pub(crate) fn kafka() -> String {
    static BROKERS: Place = Place::new();
    once(&BROKERS, start_kafka)
}

/// Its URL.
pub(crate) fn redis() -> String {
    static URL: Place = Place::new();
    once(&URL, start_redis)
}

/// Starts it on a thread of its own, for the caller's may belong to a runtime that goes on only when it returns.
fn once(place: &Place, start: impl AsyncFnOnce() -> String + Send + 'static) -> String {
    let place = place.get_or_init(|| {
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(start())
        });
        thread.join().map_err(said)
    });
    place.clone().unwrap_or_else(|why| panic!("{why}"))
}

fn said(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(said) => *said,
        Err(_) => "a container cannot be started".to_owned(),
    }
}

async fn start_postgres() -> String {
    // Not a word that is said anyway: tests look whether a password is.
    let password = "no-secret-here";
    let url = |address: &str| format!("postgres://tidings:{password}@{address}/postgres");
    let request = image("POSTGRES_IMAGE", of_the_stack("POSTGRES_IMAGE"))
        .with_wait_for(WaitFor::message_on_either_std("listening on IPv4 address"))
        .with_env_var("POSTGRES_USER", "tidings")
        .with_env_var("POSTGRES_PASSWORD", password)
        .with_cmd(["postgres", "-c", "max_connections=300"]);
    let answers = async |address: &str| PgConnection::connect(&url(address)).await?.close().await;
    url(&start(POSTGRES, request, 5432, free_port(), answers).await)
}

async fn start_kafka() -> String {
    // What it tells clients to come back to, so it must be known before it starts.
    let port = free_port();
    let advertised = format!("INSIDE://localhost:9092,OUTSIDE://127.0.0.1:{port}");
    let settings = [
        ("KAFKA_NODE_ID", "1"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_LISTENERS", "INSIDE://:9092,CONTROLLER://:9093,OUTSIDE://:9094"),
        (ADVERTISED, &advertised),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "INSIDE"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        ),
        ("KAFKA_LOG_DIRS", "/var/lib/kafka/data"),
        // As in deploy/kafka/server.properties, whose comments say why.
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
        ("KAFKA_DEFAULT_REPLICATION_FACTOR", "1"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "1"),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
        ("KAFKA_LOG_SEGMENT_DELETE_DELAY_MS", "1000"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_HEAP_OPTS", "-Xms128m -Xmx512m"),
    ];
    let started = WaitFor::message_on_either_std("Kafka Server started");
    let image = image("KAFKA_IMAGE", of_the_stack("KAFKA_IMAGE")).with_wait_for(started);
    let request = settings
        .into_iter()
        .fold(ContainerRequest::from(image), |request, (name, value)| {
            request.with_env_var(name, value)
        });
    start(KAFKA, request, 9094, port, async |address| {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", address).create()?;
        // Blocks, but nothing else is done on this thread.
        client.fetch_metadata(None, Duration::from_secs(5)).map(drop)
    })
    .await
}

async fn start_redis() -> String {
    let request = image("REDIS_IMAGE", REDIS_IMAGE)
        .with_wait_for(WaitFor::message_on_either_std("Ready to accept connections"))
        .with_cmd([
            "redis-server",
            "--save",
            "",
            "--appendonly",
            "no",
            "--protected-mode",
            "no",
        ]);
    let address = start(REDIS, request, 6379, free_port(), async |address| {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(b"PING\r\n").await?;
        let mut pong = [0; 5];
        connection.read_exact(&mut pong).await.map(drop)
    });
    format!("redis://{}", address.await)
}

/// A port on which nobody listens, yet.
fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// Starts a container whose `inner` port is reached by the `outer` one, unless there is one already; answers where
/// that is, and not before a client has had an answer there.
async fn start<E: Debug>(
    name: &str,
    request: impl Into<ContainerRequest<GenericImage>>,
    inner: u16,
    outer: u16,
    answers: impl AsyncFn(&str) -> Result<(), E>,
) -> String {
    // Of two processes that begin at the same time, one starts it and the other finds it.
    let turn = File::create(std::env::temp_dir().join(format!("{name}.lock"))).unwrap();
    turn.lock().unwrap();
    let request = request.into();
    let (image, made_of) = (request.descriptor(), made_of(&request));
    let request = request
        .with_container_name(name)
        .with_label(MADE_OF, made_of)
        .with_mapped_port(outer, inner.tcp())
        .with_host_config_modifier(|host| {
            for ports in host.port_bindings.iter_mut().flat_map(|bindings| bindings.values_mut()) {
                for port in ports.iter_mut().flatten() {
                    port.host_ip = Some("127.0.0.1".to_owned());
                }
            }
        })
        .with_startup_timeout(START)
        .with_reuse(ReuseDirective::Always);
    let container = request.start().await.unwrap_or_else(|error| {
        panic!(
            "{name} cannot be started from {image}: {error}\n\
             A Docker engine must answer on this machine, at DOCKER_HOST if that is set. If it has a container of that \
             name, from another image or with other settings maybe, `docker rm --force --volumes {name}` removes it."
        )
    });
    let port = container.get_host_port_ipv4(inner.tcp()).await.unwrap();
    let address = format!("127.0.0.1:{port}");
    // One that was found may just be starting, or have been stopped.
    let waiting = format!("{name} answers, whose log is what `docker logs {name}` prints");
    eventually_within(START, &waiting, async || answers(&address).await).await;
    address
}

fn made_of(request: &ContainerRequest<GenericImage>) -> String {
    let settings = request.env_vars().filter(|(name, _)| name != ADVERTISED);
    [request.descriptor()]
        .into_iter()
        .chain(request.cmd().map(String::from))
        .chain(settings.map(|(name, value)| format!("{name}={value}")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The image that this variable names, or the other one where it is unset.
fn image(variable: &str, other: &str) -> GenericImage {
    let named = std::env::var(variable).ok().filter(|name| !name.is_empty());
    let name = named.as_deref().unwrap_or(other);
    // A colon before the last slash is that of a port.
    let tag = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
    match tag {
        Some(colon) => GenericImage::new(&name[..colon], &name[colon + 1..]),
        None => GenericImage::new(name, "latest"),
    }
}

/// The image that compose.yaml has where this variable is unset.
fn of_the_stack(variable: &str) -> &'static str {
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
        assert!(of_the_stack("POSTGRES_IMAGE").starts_with("postgres:"));
        assert!(of_the_stack("KAFKA_IMAGE").starts_with("apache/kafka:"));
    }
}
