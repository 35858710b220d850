//! SQLite's one writer.
//!
//! Flushing to the disk costs the same for one change as for fifty. So writes that arrive while a
//! transaction is being committed form the next one together: nobody waits for a timer, and whoever
//! comes alone is served alone. Where there are several, each has a savepoint of its own. Nothing is answered before the
//! commit; if that fails, all of its writes are answered with the failure, and nothing of them is done.
//! A write whose caller went away before its turn came is not carried out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{DatabaseConnection, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Tx;
use crate::{Error, Result, outbox};

/// Writes of one transaction at most, so that the first of them does not wait too long for the last.
const GROUP: usize = 64;
/// Writes that may wait; beyond, their callers wait to be let in.
const QUEUE: usize = 1024;

#[derive(Clone)]
pub(super) struct GroupWriter {
    queue: mpsc::Sender<Box<dyn Job>>,
    stop: CancellationToken,
    task: TaskTracker,
}

/// A write that waits for its turn.
trait Job: Send {
    /// Whether its caller still waits. One that gave up has been told that the write failed, and may
    /// have sent it again.
    fn is_wanted(&self) -> bool;
    fn run<'t>(self: Box<Self>, tx: &'t Tx<'t>) -> BoxFuture<'t, Box<dyn Outcome>>;
    fn fail(self: Box<Self>, error: Error);
}

/// A write that has run and waits for the commit.
trait Outcome: Send {
    fn succeeded(&self) -> bool;
    /// Answers the caller, with the failure instead of a success where the commit failed.
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Write<F, T, E> {
    work: F,
    reply: oneshot::Sender<Result<T, E>>,
}

struct Done<T, E> {
    result: Result<T, E>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Write<F, T, E>
where
    F: for<'t> FnOnce(&'t Tx<'t>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run<'t>(self: Box<Self>, tx: &'t Tx<'t>) -> BoxFuture<'t, Box<dyn Outcome>> {
        Box::pin(async move {
            let Self { work, reply } = *self;
            // A defect in one write must not stop everyone else's.
            let result = match AssertUnwindSafe(work(tx)).catch_unwind().await {
                Ok(result) => result,
                Err(_) => Err(Error::Refused(DbErr::Custom("the write panicked".into())).into()),
            };
            Box::new(Done { result, reply }) as Box<dyn Outcome>
        })
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error.into()));
    }
}

impl<T: Send, E: From<Error> + Send> Outcome for Done<T, E> {
    fn succeeded(&self) -> bool {
        self.result.is_ok()
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let result = match (self.result, committed) {
            (Ok(_), Err(error)) => Err(error.into()),
            (result, _) => result,
        };
        // Whoever asked may have gone; the write is done all the same.
        let _ = self.reply.send(result);
    }
}

impl GroupWriter {
    /// Writes on a thread and a runtime of its own: everyone waits for it, so it must not stand in line with
    /// whatever else there is to do, neither for its statements nor for its connection to come back to the pool.
    pub(super) fn start(connection: DatabaseConnection, wake: Arc<outbox::Wake>) -> Result<Self, DbErr> {
        let (queue, waiting) = mpsc::channel::<Box<dyn Job>>(QUEUE);
        let (task, stop) = (TaskTracker::new(), CancellationToken::new());
        let working = task.track_future(work(connection, waiting, wake, stop.clone()));
        let cannot_start = |error| DbErr::Custom(format!("the thread that writes cannot be started: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(cannot_start)?;
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || runtime.block_on(working))
            .map_err(cannot_start)?;
        task.close();
        Ok(Self { queue, stop, task })
    }

    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t Tx<'t>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let closed = || Error::Unavailable(DbErr::Custom("the database is closed".into()));
        self.queue
            .send(Box::new(Write { work, reply }))
            .await
            .map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Finishes the writes that were let in. Later ones, through other clones, are refused.
    pub(super) async fn close(self) {
        self.stop.cancel();
        self.task.wait().await;
    }
}

async fn work(
    connection: DatabaseConnection,
    mut waiting: mpsc::Receiver<Box<dyn Job>>,
    wake: Arc<outbox::Wake>,
    stop: CancellationToken,
) {
    let mut group = Vec::with_capacity(GROUP);
    loop {
        tokio::select! {
            biased;
            taken = waiting.recv_many(&mut group, GROUP) => if taken == 0 { break },
            // Lets nobody in any more; what is in the queue is still carried out.
            () = stop.cancelled(), if !waiting.is_closed() => { waiting.close(); continue }
        }
        if commit(&connection, group.drain(..)).await {
            wake.written();
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "closing the database");
    }
}

/// Carries a group out and answers it; tells whether events were written.
async fn commit(connection: &DatabaseConnection, group: impl ExactSizeIterator<Item = Box<dyn Job>>) -> bool {
    let immediate = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let transaction = match connection.begin_with_options(immediate).await {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = Error::from(error);
            group.for_each(|job| job.fail(error.clone()));
            return false;
        }
    };
    // A write that is alone has the transaction to itself and needs no savepoint.
    let alone = group.len() == 1;
    let mut outcomes = Vec::with_capacity(group.len());
    let mut wrote_events = false;
    // Whether the transaction is still what it should be. If a savepoint cannot be ended, it is not.
    let mut sound = Ok(());
    for job in group {
        if !job.is_wanted() {
            continue;
        }
        if let Err(error) = &sound {
            job.fail(Error::clone(error));
            continue;
        }
        let savepoint = match alone {
            true => None,
            false => match transaction.begin().await {
                Ok(savepoint) => Some(savepoint),
                Err(error) => {
                    let error = Error::from(error);
                    job.fail(error.clone());
                    sound = Err(error);
                    continue;
                }
            },
        };
        let tx = Tx::new(savepoint.as_ref().unwrap_or(&transaction));
        let outcome = job.run(&tx).await;
        let events = tx.wrote_events.into_inner();
        let ended = match savepoint {
            Some(savepoint) if outcome.succeeded() => savepoint.commit().await,
            Some(savepoint) => savepoint.rollback().await,
            None => Ok(()),
        };
        wrote_events |= events && outcome.succeeded();
        outcomes.push(outcome);
        sound = ended.map_err(Error::from);
    }
    let wanted = !alone || outcomes.iter().all(|outcome| outcome.succeeded());
    let committed = match sound {
        Ok(()) if wanted => transaction.commit().await.map_err(Error::from),
        Ok(()) => transaction.rollback().await.map_err(Error::from),
        Err(error) => transaction.rollback().await.map_err(Error::from).and(Err(error)),
    };
    for outcome in outcomes {
        outcome.answer(committed.clone());
    }
    if let Err(error) = &committed {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "a transaction failed; its writes are not done"
        );
        reconnect(connection).await;
    }
    committed.is_ok() && wrote_events
}

/// SQLite may have ended a failed transaction by itself, on a full disk for one, without the
/// connection knowing. A new connection is the one sure way back.
async fn reconnect(connection: &DatabaseConnection) {
    match connection.get_sqlite_connection_pool().acquire().await {
        Ok(stuck) => drop(stuck.close().await),
        Err(error) => tracing::warn!(%error, "the database connection cannot be replaced"),
    }
}
