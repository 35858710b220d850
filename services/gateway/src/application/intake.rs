//! Accepts messages together.
//!
//! Guaranteed: a request is answered after the commit that holds all of it, or with the reason why nothing
//! of it was done. One that is refused, by its own fault or the database's, takes no other with it.
//!
//! Not guaranteed: any order between requests that wait at the same time.
//!
//! May be changed safely: how many share a transaction. No timer waits for more: whatever has come while
//! the last group was written is the next one, so that a request that comes alone is served alone. A flush to
//! the disk and a handful of statements serve all of a group, and larger groups are worth more than two at a
//! time.

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{Clock, Message};
use tidings_events::Origin;
use tidings_storage::{Db, Error};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Application;
use super::idempotency::{InFlightGuard, Once, Outcome, Refused};
use super::messages::{Draft, MessageError, accept};

/// Requests of one transaction at most, so that the first does not wait too long for the last.
const GROUP: usize = 64;
/// Requests that may wait; beyond, they wait to be let in.
const QUEUE: usize = 1024;
/// How long a request waits in all, before its client is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Result<Outcome<Message>, MessageError>;

/// A message that is to be accepted.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) draft: Draft,
    pub(super) origin: Origin,
    pub(super) once: Option<Once<Message>>,
}

struct Waiting {
    db: Db,
    request: Request,
    answer: oneshot::Sender<Answer>,
    /// Until it is answered, no other with its key is let in.
    _in_flight: Option<InFlightGuard>,
}

/// Where requests wait for their turn. Clones share it; it ends with the last of them.
#[derive(Debug, Clone)]
pub(super) struct Intake(mpsc::Sender<Waiting>);

impl Intake {
    /// Must be called within the runtime on which messages are to be written.
    pub(super) fn start(clock: &Arc<dyn Clock>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        Handle::current().spawn(work(waiting, clock.clone()));
        Self(queue)
    }
}

impl Application {
    /// Accepts a message, unless that was done before.
    pub(super) async fn accept(&self, request: Request) -> Answer {
        let db = self.db()?;
        let in_flight = match &request.once {
            Some(once) => Some(self.in_flight.enter(&once.request).ok_or(Refused::InFlight)?),
            None => None,
        };
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            db,
            request,
            answer,
            _in_flight: in_flight,
        };
        let queue = self.intake.0.clone();
        let through = async move {
            queue.send(waiting).await.ok()?;
            answered.await.ok()
        };
        let through = self.carry_out(timeout(PATIENCE, through)).await;
        through
            .ok()
            .flatten()
            .unwrap_or_else(|| Err(Error::given_up("accepting a message").into()))
    }
}

async fn work(mut queue: mpsc::Receiver<Waiting>, clock: Arc<dyn Clock>) {
    loop {
        let mut group = Vec::with_capacity(GROUP);
        if queue.recv_many(&mut group, GROUP).await == 0 {
            return;
        }
        // One whose client was told to come back must not be carried out behind its back.
        group.retain(|waiting| !waiting.answer.is_closed());
        // A task of its own: a defect that one request brings out must not end this one.
        match tokio::spawn(write(group, clock.clone())).await {
            Ok(Ok(())) => {}
            // Those behind have waited for the same database. They are told at once, not one group after the other.
            Ok(Err(unavailable)) => {
                while let Ok(waiting) = queue.try_recv() {
                    let _ = waiting.answer.send(Err(unavailable.clone().into()));
                }
            }
            Err(error) => tracing::error!(%error, "accepting messages has failed"),
        }
    }
}

/// Writes a group and answers it, one by one if they cannot be written together.
///
/// # Errors
/// That the database is not available, which the group has been told, too.
async fn write(group: Vec<Waiting>, clock: Arc<dyn Clock>) -> Result<(), Error> {
    let Some(db) = group.first().map(|first| first.db.clone()) else {
        return Ok(());
    };
    let (requests, answers): (Vec<_>, Vec<_>) = group
        .into_iter()
        .map(|waiting| (Arc::new(waiting.request), (waiting.answer, waiting._in_flight)))
        .unzip();
    match accept_all(&db, requests.clone(), &clock).await {
        // Whoever asked may have gone; it is done all the same.
        Ok(outcomes) => {
            for (outcome, (answer, _in_flight)) in outcomes.into_iter().zip(answers) {
                let _ = answer.send(outcome);
            }
        }
        Err(error) if error.is_unavailable() || requests.len() == 1 => {
            for (answer, _in_flight) in answers {
                let _ = answer.send(Err(error.clone().into()));
            }
            if error.is_unavailable() {
                return Err(error);
            }
        }
        Err(_) => {
            for (request, (answer, _in_flight)) in requests.into_iter().zip(answers) {
                let outcome = accept_all(&db, vec![request], &clock).await;
                let outcome =
                    outcome.map_or_else(|error| Some(Err(error.into())), |outcomes| outcomes.into_iter().next());
                if let Some(outcome) = outcome {
                    let _ = answer.send(outcome);
                }
            }
        }
    }
    Ok(())
}

/// One outcome for each request, in their order.
async fn accept_all(db: &Db, requests: Vec<Arc<Request>>, clock: &Arc<dyn Clock>) -> Result<Vec<Answer>, Error> {
    let clock = clock.clone();
    db.write(move |tx| Box::pin(async move { accept(tx, &requests, &*clock).await }))
        .await
}
