//! Requests that may be sent twice and must take effect once.
//!
//! Guaranteed: of all requests with the same caller, operation and key, one at most takes effect. Its
//! answer is kept in the transaction of what it did, so that a repetition gets the same bytes, or, if
//! nothing was done, is carried out. Two at the same time never both run: within the process the second is
//! refused by the set of requests in flight, across processes by the database.
//!
//! Not guaranteed: that a repetition is recognised after the answer's time is over
//! ([`tidings_storage::idempotency::KEPT`]), and that a refused request is refused again. It changed
//! nothing, and may be corrected and sent under the same key.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tidings_storage::idempotency::{self, Lookup, RequestKey, StoredAnswer};
use tidings_storage::{Error, Tx};

use super::Application;

/// How a request is told from its repetitions, and what a repetition is answered.
#[derive(Debug)]
pub(crate) struct Once<T> {
    pub(crate) request: RequestKey,
    /// Of the body, as [`StoredAnswer`] has it.
    pub(crate) fingerprint: String,
    pub(crate) answer: Present<T>,
}

/// Writes down what the outcome of a request looks like to its client.
pub(crate) type Present<T> = fn(&T) -> serde_json::Result<Answer>;

/// An answer as it goes to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What became of a request that may be a repetition.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Done(T),
    /// It was done before, and answered this.
    Replayed(Answer),
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("a request with this Idempotency-Key is being carried out")]
    InFlight,
    #[error("this Idempotency-Key was used for a request with another body")]
    Reused,
}

impl Application {
    /// Runs `work` in a transaction, unless that was done before.
    pub(super) async fn write_once<T, E, F>(&self, once: Option<Once<T>>, work: F) -> Result<Outcome<T>, E>
    where
        F: for<'t> FnOnce(&'t Tx<'t>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + From<Refused> + Send + 'static,
    {
        let Some(once) = once else {
            return self.write(work).await.map(Outcome::Done);
        };
        let in_flight = self.in_flight.enter(&once.request).ok_or(Refused::InFlight)?;
        let (db, clock) = (self.db()?, self.clock.clone());
        self.carry_out(async move {
            // Here rather than with the caller, who may leave before the work is done.
            let _in_flight = in_flight;
            db.write(move |tx| {
                Box::pin(async move {
                    let before = begin_all(tx, std::iter::once(Some(&once))).await?;
                    if let Some(answer) = before.into_iter().next().transpose()?.flatten() {
                        return Ok(Outcome::Replayed(answer));
                    }
                    let done = work(tx).await?;
                    let answer = once.answer_to_keep(&done)?;
                    idempotency::store_all(tx, vec![answer], clock.now()).await?;
                    Ok(Outcome::Done(done))
                })
            })
            .await
        })
        .await
    }
}

/// Looks requests up, those that may be repetitions: for each the answer it was given before, if any, or why
/// it cannot be carried out. Until the transaction ends, nobody else carries them out.
pub(super) async fn begin_all<'a, T: 'a>(
    tx: &Tx<'_>,
    requests: impl Iterator<Item = Option<&'a Once<T>>> + Clone,
) -> Result<Vec<Result<Option<Answer>, Refused>>, Error> {
    let keys: Vec<_> = requests.clone().flatten().map(|once| &once.request).collect();
    let mut lookups = idempotency::begin_all(tx, &keys).await?.into_iter();
    let begin = |once: Option<&Once<T>>| {
        let Some((once, lookup)) = once.zip(lookups.next()) else {
            return Ok(None);
        };
        match lookup {
            Lookup::New => Ok(None),
            Lookup::InFlight => Err(Refused::InFlight),
            Lookup::Answered(answer) if answer.fingerprint == once.fingerprint => Ok(Some(Answer {
                status: answer.status,
                body: answer.body,
            })),
            Lookup::Answered(_) => Err(Refused::Reused),
        }
    };
    Ok(requests.map(begin).collect())
}

impl<T> Once<T> {
    /// What is to be kept for repetitions of the request.
    pub(super) fn answer_to_keep(&self, done: &T) -> Result<(&RequestKey, StoredAnswer), Error> {
        let answer = (self.answer)(done).map_err(|error| Error::Corrupt(error.to_string()))?;
        let answer = StoredAnswer {
            fingerprint: self.fingerprint.clone(),
            status: answer.status,
            body: answer.body,
        };
        Ok((&self.request, answer))
    }
}

/// The requests with a key that this process is carrying out. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<HashSet<RequestKey>>>);

impl InFlight {
    /// Enters a request until the guard is dropped; `None` if it is in already.
    pub(super) fn enter(&self, request: &RequestKey) -> Option<InFlightGuard> {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.insert(request.clone()).then(|| InFlightGuard {
            requests: self.clone(),
            request: request.clone(),
        })
    }
}

#[derive(Debug)]
pub(super) struct InFlightGuard {
    requests: InFlight,
    request: RequestKey,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut requests = self.requests.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.remove(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_dropped() {
        let request = |key: &str| RequestKey {
            caller: "default".into(),
            operation: "POST /contacts".into(),
            key: key.into(),
        };
        let in_flight = InFlight::default();
        let first = in_flight.enter(&request("a"));
        assert!(first.is_some());
        assert!(in_flight.enter(&request("a")).is_none());
        assert!(in_flight.enter(&request("b")).is_some());
        drop(first);
        assert!(in_flight.enter(&request("a")).is_some());
        assert!(in_flight.0.lock().unwrap().is_empty());
    }
}
