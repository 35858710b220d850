use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::DRAIN;

/// How much of [`DRAIN`] is kept for supporting tasks, which begin to stop only when the others have.
const FOR_SUPPORT: Duration = Duration::from_secs(5);

type BoxError = Box<dyn StdError + Send + Sync>;

/// Why [`Supervisor::run`] did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("{task} failed")]
    Failed {
        task: String,
        #[source]
        source: BoxError,
    },

    #[error("{task} panicked: {message}")]
    Panicked { task: String, message: String },

    #[error("{task} ended although nothing had asked it to")]
    Ended { task: String },

    #[error("not everything stopped within {} seconds; cut off: {}", DRAIN.as_secs(), tasks.join(", "))]
    CutOff { tasks: Vec<String> },
}

/// The long-running tasks of a process, which live and stop together.
///
/// A task watches the token it was made with and returns `Ok` after it is cancelled. Whatever else ends a
/// task (an error, a panic, an `Ok` that nobody asked for) stops all the others too: half a process that
/// looks alive is worse than none.
///
/// Stopping has two steps. First the tasks proper drain; then those added by [`Self::spawn_support`] are told
/// to, so that what the first ones need while they drain, such as an embedded broker, is still there.
pub struct Supervisor {
    shutdown: CancellationToken,
    support_shutdown: CancellationToken,
    tasks: Group,
    support: Group,
}

impl Supervisor {
    /// Tasks stop when `shutdown` is cancelled; the first failure cancels it.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            shutdown,
            support_shutdown: CancellationToken::new(),
            tasks: Group::default(),
            support: Group::default(),
        }
    }

    /// The token that a task added by [`Self::spawn`] should watch.
    pub fn token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// The token that a task added by [`Self::spawn_support`] should watch.
    pub fn support_token(&self) -> CancellationToken {
        self.support_shutdown.clone()
    }

    pub fn spawn<F, E>(&mut self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.tasks.spawn(name.into(), task);
    }

    pub fn spawn_support<F, E>(&mut self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.support.spawn(name.into(), task);
    }

    /// Runs until `shutdown` is cancelled or a task fails, and then until all have stopped or [`DRAIN`] is
    /// over. The error is the first there was; later ones are logged.
    pub async fn run(mut self) -> Result<(), SupervisorError> {
        let mut failures = Failures::default();
        tokio::select! {
            // Asked first, so that a task which ends because of the token is not taken for a failure.
            biased;
            () = self.shutdown.cancelled() => {}
            Some(ended) = self.tasks.next() => failures.note_unasked(ended),
            Some(ended) = self.support.next() => failures.note_unasked(ended),
        }
        self.shutdown.cancel();
        let deadline = Instant::now() + DRAIN;

        let mut cut_off = self.tasks.drain(deadline - FOR_SUPPORT, &mut failures).await;
        self.support_shutdown.cancel();
        cut_off.extend(self.support.drain(deadline, &mut failures).await);
        if !cut_off.is_empty() {
            failures.note(SupervisorError::CutOff { tasks: cut_off });
        }
        failures.first.map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("tasks", &self.tasks.names.values())
            .field("support", &self.support.names.values())
            .finish_non_exhaustive()
    }
}

/// A task that has ended, and how.
struct Ended {
    task: String,
    result: Result<Result<(), BoxError>, JoinError>,
}

#[derive(Default)]
struct Group {
    running: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, String>,
}

impl Group {
    fn spawn<F, E>(&mut self, name: String, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let handle = self.running.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// The next task to end, or `None` if none is left.
    async fn next(&mut self) -> Option<Ended> {
        let (id, result) = match self.running.join_next_with_id().await? {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        Some(Ended {
            task: self.names.remove(&id).unwrap_or_default(),
            result,
        })
    }

    /// Waits until all have ended. Those that have not at the deadline are cut off, and named.
    async fn drain(&mut self, deadline: Instant, failures: &mut Failures) -> Vec<String> {
        while let Ok(next) = timeout_at(deadline, self.next()).await {
            match next {
                Some(ended) => failures.note_asked(ended),
                None => return Vec::new(),
            }
        }
        // Not waited for: a task that blocks its thread never yields to being cut off.
        self.running.abort_all();
        let mut names: Vec<_> = self.names.drain().map(|(_, name)| name).collect();
        names.sort();
        names
    }
}

/// Keeps the first failure and logs the others.
#[derive(Default)]
struct Failures {
    first: Option<SupervisorError>,
}

impl Failures {
    fn note(&mut self, error: SupervisorError) {
        if self.first.is_none() {
            self.first = Some(error);
        } else {
            tracing::error!(error = &error as &dyn StdError, "while stopping");
        }
    }

    /// Before anything was asked to stop, even a good end is a failure.
    fn note_unasked(&mut self, ended: Ended) {
        match ended.result {
            Ok(Ok(())) => self.note(SupervisorError::Ended { task: ended.task }),
            _ => self.note_asked(ended),
        }
    }

    fn note_asked(&mut self, Ended { task, result }: Ended) {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(source)) => self.note(SupervisorError::Failed { task, source }),
            Err(error) => self.note(SupervisorError::Panicked {
                task,
                message: panic_message(error),
            }),
        }
    }
}

fn panic_message(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "cancelled".to_owned();
    };
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or_else(|_| "without a message".to_owned(), |text| (*text).to_owned()),
    }
}
