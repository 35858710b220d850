//! Runs one test of this binary again in a process of its own, for what concerns a whole process: its
//! signals and its environment.

use std::process::{Output, Stdio};

use tokio::process::{Child, Command};

/// Set in the child, so that the test knows which side it is on.
const ROLE: &str = "TIDINGS_TEST_CHILD";

pub fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// Starts the test of that full name in a child, with its stdout piped.
pub fn start(test: &str, env: &[(&str, &str)]) -> Child {
    command(test, env).stdout(Stdio::piped()).spawn().unwrap()
}

/// Runs it to its end and gives all that it wrote.
pub async fn output(test: &str, env: &[(&str, &str)]) -> Output {
    command(test, env).output().await.unwrap()
}

fn command(test: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, "1")
        .envs(env.iter().copied())
        .kill_on_drop(true);
    command
}
