use std::future::pending;
use std::io;
use std::time::Duration;

use tidings_runtime::shutdown::{DRAIN, Supervisor, SupervisorError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A task that stops when it is asked to.
async fn obedient(token: CancellationToken) -> io::Result<()> {
    token.cancelled().await;
    Ok(())
}

#[tokio::test]
async fn all_stop_when_they_are_asked_to() {
    let shutdown = CancellationToken::new();
    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("one", obedient(supervisor.token()));
    supervisor.spawn("two", obedient(supervisor.token()));
    supervisor.spawn_support("broker", obedient(supervisor.support_token()));
    let running = tokio::spawn(supervisor.run());
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_task_that_fails_stops_the_others_and_is_named() {
    let mut supervisor = Supervisor::new(CancellationToken::new());
    let token = supervisor.token();
    supervisor.spawn("relay", async { Err(io::Error::other("no broker")) });
    supervisor.spawn("gateway", obedient(token.clone()));
    let error = supervisor.run().await.unwrap_err();
    assert!(token.is_cancelled());
    assert_eq!(error.to_string(), "relay failed");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no broker");
}

#[tokio::test]
async fn a_task_that_panics_stops_the_others_and_is_named() {
    for formatted in [true, false] {
        let mut supervisor = Supervisor::new(CancellationToken::new());
        supervisor.spawn("gateway", obedient(supervisor.token()));
        supervisor.spawn::<_, io::Error>("audit", async move {
            if formatted {
                panic!("lost the {}", "head")
            } else {
                panic!("lost the head")
            }
        });
        assert_eq!(
            supervisor.run().await.unwrap_err().to_string(),
            "audit panicked: lost the head"
        );
    }
}

#[tokio::test]
async fn a_task_that_just_ends_stops_the_others_too() {
    let mut supervisor = Supervisor::new(CancellationToken::new());
    supervisor.spawn("gateway", obedient(supervisor.token()));
    supervisor.spawn_support("broker", async { io::Result::Ok(()) });
    let error = supervisor.run().await.unwrap_err();
    assert!(
        matches!(error, SupervisorError::Ended { ref task } if task == "broker"),
        "{error}"
    );
}

#[tokio::test]
async fn the_first_failure_is_the_one_reported() {
    let mut supervisor = Supervisor::new(CancellationToken::new());
    let token = supervisor.token();
    supervisor.spawn("first", async { Err(io::Error::other("cause")) });
    supervisor.spawn("second", async move {
        token.cancelled().await;
        Err(io::Error::other("consequence"))
    });
    assert_eq!(supervisor.run().await.unwrap_err().to_string(), "first failed");
}

#[tokio::test]
async fn a_failure_while_stopping_is_reported() {
    let shutdown = CancellationToken::new();
    let mut supervisor = Supervisor::new(shutdown.clone());
    let token = supervisor.token();
    supervisor.spawn("delivery", async move {
        token.cancelled().await;
        Err(io::Error::other("could not give a lease back"))
    });
    shutdown.cancel();
    assert_eq!(supervisor.run().await.unwrap_err().to_string(), "delivery failed");
}

#[tokio::test]
async fn support_stops_only_after_what_it_supports() {
    let shutdown = CancellationToken::new();
    let mut supervisor = Supervisor::new(shutdown.clone());
    let (order, mut ended) = mpsc::unbounded_channel();
    let (release, released) = oneshot::channel::<()>();
    let (token, record) = (supervisor.token(), order.clone());
    supervisor.spawn("delivery", async move {
        token.cancelled().await;
        released.await.map_err(io::Error::other)?;
        record.send("delivery").map_err(io::Error::other)
    });
    let support = supervisor.support_token();
    supervisor.spawn_support("broker", async move {
        support.cancelled().await;
        order.send("broker").map_err(io::Error::other)
    });
    let running = tokio::spawn(supervisor.run());
    shutdown.cancel();
    release.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(
        (ended.recv().await, ended.recv().await),
        (Some("delivery"), Some("broker"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_stop_is_cut_off_and_named() {
    let shutdown = CancellationToken::new();
    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.spawn("gateway", obedient(supervisor.token()));
    supervisor.spawn("stubborn", pending::<io::Result<()>>());
    supervisor.spawn("deaf", pending::<io::Result<()>>());
    supervisor.spawn_support("broker", pending::<io::Result<()>>());
    shutdown.cancel();
    let start = Instant::now();
    let error = supervisor.run().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "not everything stopped within 20 seconds; cut off: deaf, stubborn, broker"
    );
    assert!(
        start.elapsed() <= DRAIN + Duration::from_millis(10),
        "{:?}",
        start.elapsed()
    );
}
