use std::time::Duration;

use tidings_runtime::shutdown;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::child;

const AMPLE: Duration = Duration::from_secs(20);

/// A process that says when it is ready and when it was asked to stop, and stops only if told so.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
async fn process() {
    let token = shutdown::on_signals().unwrap();
    println!("\nready");
    token.cancelled().await;
    println!("\nstopping");
    if std::env::var_os("TIDINGS_TEST_STUBBORN").is_some() {
        std::future::pending::<()>().await;
    }
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn start(test: &str, env: &[(&str, &str)]) -> Self {
        let mut child = child::start(test, env);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, lines };
        process.says("ready").await;
        process
    }

    async fn says(&mut self, expected: &str) {
        let wait = async {
            while self
                .lines
                .next_line()
                .await
                .unwrap()
                .expect("the process has more to say")
                != expected
            {}
        };
        timeout(AMPLE, wait).await.unwrap();
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .await
                .unwrap()
                .success()
        );
    }

    async fn exit_code(mut self) -> Option<i32> {
        timeout(AMPLE, self.child.wait()).await.unwrap().unwrap().code()
    }
}

#[tokio::test]
async fn either_signal_asks_for_a_stop() {
    if child::is_child() {
        return process().await;
    }
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start("signals::either_signal_asks_for_a_stop", &[]).await;
        process.signal(signal).await;
        process.says("stopping").await;
        assert_eq!(process.exit_code().await, Some(0), "{signal}");
    }
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    if child::is_child() {
        return process().await;
    }
    let stubborn = [("TIDINGS_TEST_STUBBORN", "1")];
    let mut process = Process::start("signals::a_second_signal_stops_at_once", &stubborn).await;
    process.signal("-TERM").await;
    process.says("stopping").await;
    process.signal("-INT").await;
    assert_eq!(process.exit_code().await, Some(130));
}
