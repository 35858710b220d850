use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{PATIENCE, eventually_within};

/// How long a command may take that ends by itself, on a machine that is busy.
const COMMAND: Duration = Duration::from_secs(120);
/// How long a process may take to end after it was asked to: its own limit for that, and some more.
const FAREWELL: Duration = Duration::from_secs(30);

/// One running process of the program, with everything that it says.
///
/// It knows nothing but the settings that it is given, and is killed when dropped.
#[derive(Debug)]
pub struct TestProcess {
    name: String,
    child: Child,
    output: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

/// What a command of the program said.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command of the program in this folder, with these settings and none of the tests' own.
pub(crate) fn command(
    binary: impl AsRef<OsStr>,
    arguments: &[&str],
    folder: &Path,
    settings: &BTreeMap<String, String>,
) -> Command {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.envs(settings);
    command
}

impl TestProcess {
    /// Runs a command of the program to its end.
    pub async fn run(
        binary: impl AsRef<OsStr>,
        arguments: &[&str],
        folder: &Path,
        settings: &BTreeMap<String, String>,
    ) -> Output {
        let running = command(binary, arguments, folder, settings).output();
        let ended = timeout(COMMAND, running).await;
        let ended = ended.unwrap_or_else(|_| panic!("{arguments:?} still runs after {COMMAND:?}"));
        ended.unwrap().into()
    }

    /// Starts a command of the program and does not wait for it.
    pub fn spawn(
        binary: impl AsRef<OsStr>,
        arguments: &[&str],
        folder: &Path,
        settings: &BTreeMap<String, String>,
    ) -> Self {
        let mut child = command(binary, arguments, folder, settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let readers = [
            collect(child.stdout.take().unwrap(), output.clone()),
            collect(child.stderr.take().unwrap(), output.clone()),
        ];
        Self {
            name: arguments.join(" "),
            child,
            output,
            readers,
        }
    }

    /// Waits until the process has said this, and returns everything it has said by then. Fails the
    /// test if it ends without.
    pub async fn says(&mut self, what: &str) -> String {
        self.says_within(PATIENCE, what).await
    }

    pub async fn says_within(&mut self, patience: Duration, what: &str) -> String {
        let waiting = format!("`tidings {}` says `{what}`", self.name);
        let this = tokio::sync::Mutex::new(self);
        eventually_within(patience, &waiting, async || {
            let mut this = this.lock().await;
            let ended = this.ended();
            if ended.is_some() {
                this.hear_out().await;
            }
            let said = this.output();
            if said.contains(what) {
                return Ok(said);
            }
            assert!(ended.is_none(), "{waiting}: ended with {ended:?} and said\n{said}");
            Err(said)
        })
        .await
    }

    /// The number of the process, unless it has ended and was waited for.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process is running")
    }

    /// Everything the process has said so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Whether the process has ended by itself, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends the process as a power failure would, and answers what it had said.
    pub async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.last_words().await
    }

    /// Asks the process to end and waits until it has.
    pub async fn stop(self) -> (ExitStatus, String) {
        let pid = self.pid().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(asked.success());
        self.end().await
    }

    /// Waits for the end of a process that ends by itself, or that something else ends.
    pub async fn end(mut self) -> (ExitStatus, String) {
        let ended = tokio::time::timeout(FAREWELL, self.child.wait()).await;
        let status = ended
            .unwrap_or_else(|_| panic!("`tidings {}` does not end:\n{}", self.name, self.output()))
            .unwrap();
        (status, self.last_words().await)
    }

    async fn last_words(mut self) -> String {
        self.hear_out().await;
        self.output()
    }

    /// Reads what a process that has ended said last.
    async fn hear_out(&mut self) {
        for reader in &mut self.readers {
            if !reader.is_finished() {
                // A process that it started may hold the other end open.
                let _ = tokio::time::timeout(Duration::from_secs(1), reader).await;
            }
        }
    }
}

/// Keeps what a process says, line by line.
fn collect(stream: impl AsyncRead + Send + Unpin + 'static, output: Arc<Mutex<String>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    })
}
