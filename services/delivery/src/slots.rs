//! Who may send how much at a time.
//!
//! **What it guarantees.** An endpoint has at most so many attempts under way. Some slots are its own:
//! however many endpoints hang, and however much is owed to them, one that answers always has these.
//! What it needs beyond them comes out of a pool that all endpoints share.
//!
//! **What it does not.** The number of all attempts under way grows with the number of endpoints: the
//! shared pool and [`OWN`] for each.
//!
//! **What may be changed safely.** The numbers. An endpoint that was turned away is noted as waiting,
//! and [`Slots::freed`] completes when there may be a slot for one that waits; keep both, for nobody
//! looks without being told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tidings_domain::EndpointId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Slots in the shared pool.
const SHARED: usize = 2048;
/// Slots that an endpoint need not share.
const OWN: usize = 4;
/// Attempts under way to one endpoint, at most.
const PER_ENDPOINT: usize = 64;
/// The same for the default endpoint. It is the operator's own, and every message goes there.
const DEFAULT_ENDPOINT: usize = 256;

#[derive(Debug)]
pub(crate) struct Slots {
    shared: Arc<Semaphore>,
    budgets: Mutex<HashMap<EndpointId, Arc<Budget>>>,
    signal: Arc<Signal>,
}

/// What one endpoint may use.
#[derive(Debug)]
struct Budget {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
    /// Something is due that there was no slot for.
    waiting: AtomicBool,
}

#[derive(Debug, Default)]
struct Signal {
    waiting: AtomicUsize,
    freed: Notify,
}

/// The right to make one attempt. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    permits: Option<[OwnedSemaphorePermit; 2]>,
    budget: Arc<Budget>,
    signal: Arc<Signal>,
    /// Whether it came from the shared pool, for which others may wait.
    shared: Option<Arc<Semaphore>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let scarce = self.shared.as_ref().is_some_and(|pool| pool.available_permits() == 0);
        drop(self.permits.take());
        if self.budget.waiting.load(Ordering::SeqCst) || (scarce && self.signal.waiting.load(Ordering::SeqCst) > 0) {
            self.signal.freed.notify_one();
        }
    }
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self::with_shared(SHARED)
    }

    fn with_shared(shared: usize) -> Self {
        Self {
            shared: Arc::new(Semaphore::new(shared)),
            budgets: Mutex::default(),
            signal: Arc::default(),
        }
    }

    fn budget(&self, endpoint: &EndpointId) -> Arc<Budget> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get(endpoint) {
            return budget.clone();
        }
        let slots = if endpoint.is_default() {
            DEFAULT_ENDPOINT
        } else {
            PER_ENDPOINT
        };
        let budget = Arc::new(Budget {
            all: Arc::new(Semaphore::new(slots)),
            own: Arc::new(Semaphore::new(OWN)),
            waiting: AtomicBool::new(false),
        });
        budgets.insert(endpoint.clone(), budget.clone());
        budget
    }

    /// A slot, if one is free.
    pub(crate) fn take(&self, endpoint: &EndpointId) -> Option<Slot> {
        let budget = self.budget(endpoint);
        let one = budget.all.clone().try_acquire_owned().ok()?;
        let (room, shared) = match budget.own.clone().try_acquire_owned() {
            Ok(own) => (own, None),
            Err(_) => (self.shared.clone().try_acquire_owned().ok()?, Some(self.shared.clone())),
        };
        Some(Slot {
            permits: Some([one, room]),
            budget,
            signal: self.signal.clone(),
            shared,
        })
    }

    /// How many could be taken now.
    pub(crate) fn free(&self, endpoint: &EndpointId) -> usize {
        let budget = self.budget(endpoint);
        let room = budget.own.available_permits() + self.shared.available_permits();
        budget.all.available_permits().min(room)
    }

    /// Up to `most` slots.
    #[cfg(test)]
    fn take_many(&self, endpoint: &EndpointId, most: usize) -> Vec<Slot> {
        std::iter::from_fn(|| self.take(endpoint)).take(most).collect()
    }

    fn is_free(&self, budget: &Budget) -> bool {
        budget.all.available_permits() > 0
            && (budget.own.available_permits() > 0 || self.shared.available_permits() > 0)
    }

    /// Something is due to this endpoint that there was no slot for.
    pub(crate) fn note_waiting(&self, endpoint: &EndpointId) {
        self.wait(&self.budget(endpoint));
    }

    fn wait(&self, budget: &Budget) {
        if !budget.waiting.swap(true, Ordering::SeqCst) {
            self.signal.waiting.fetch_add(1, Ordering::SeqCst);
        }
        // A slot may have been given back before this was noted.
        if self.is_free(budget) {
            self.signal.freed.notify_one();
        }
    }

    /// Completes when there may be a slot for an endpoint that waits.
    pub(crate) async fn freed(&self) {
        self.signal.freed.notified().await;
    }

    /// The endpoints that wait and have a slot free. They no longer count as waiting.
    pub(crate) fn ready(&self) -> Vec<EndpointId> {
        let mut ready = Vec::new();
        let budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        for (endpoint, budget) in budgets.iter() {
            if budget.waiting.load(Ordering::SeqCst)
                && self.is_free(budget)
                && budget.waiting.swap(false, Ordering::SeqCst)
            {
                self.signal.waiting.fetch_sub(1, Ordering::SeqCst);
                ready.push(endpoint.clone());
            }
        }
        ready
    }

    /// The endpoints for which nothing should be claimed now: those that wait, and those without a
    /// free slot, which wait from here on, too.
    pub(crate) fn exhausted(&self) -> Vec<EndpointId> {
        let budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut exhausted = Vec::new();
        for (endpoint, budget) in budgets.iter() {
            if !self.is_free(budget) {
                self.wait(budget);
            }
            if budget.waiting.load(Ordering::SeqCst) {
                exhausted.push(endpoint.clone());
            }
        }
        exhausted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn endpoint(name: &str) -> EndpointId {
        EndpointId::from(name.to_owned())
    }

    #[test]
    fn an_endpoint_has_a_budget() {
        let slots = Slots::with_shared(1000);
        let taken = slots.take_many(&endpoint("one"), 1000);
        assert_eq!(taken.len(), PER_ENDPOINT);
        assert_eq!(
            slots.take_many(&EndpointId::default_endpoint(), 1000).len(),
            DEFAULT_ENDPOINT
        );
        drop(taken);
        assert_eq!(slots.take_many(&endpoint("one"), 2).len(), 2);
    }

    #[test]
    fn an_endpoint_keeps_slots_of_its_own_when_the_others_use_up_the_pool() {
        let slots = Slots::with_shared(100);
        let greedy: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| slots.take_many(&endpoint(name), 1000))
            .into();
        assert_eq!(greedy.iter().map(Vec::len).sum::<usize>(), 100 + 4 * OWN);
        assert_eq!(slots.take_many(&endpoint("healthy"), 1000).len(), OWN);
    }

    #[tokio::test]
    async fn whoever_waits_is_told_of_a_free_slot() {
        let slots = Slots::with_shared(0);
        let (one, other) = (endpoint("one"), endpoint("other"));
        let mut taken = slots.take_many(&one, OWN);
        assert_eq!(slots.exhausted(), std::slice::from_ref(&one));
        assert!(slots.ready().is_empty());
        drop(slots.take(&other));
        assert!(timeout(Duration::from_millis(1), slots.freed()).await.is_err());
        taken.pop();
        slots.freed().await;
        assert_eq!(slots.ready(), [one]);
        assert!(slots.ready().is_empty() && slots.exhausted().is_empty());
    }

    #[tokio::test]
    async fn a_slot_of_the_pool_is_offered_to_everyone_who_waits() {
        let slots = Slots::with_shared(1);
        let (one, other) = (endpoint("one"), endpoint("other"));
        let mut taken = slots.take_many(&one, OWN + 1);
        let _others = slots.take_many(&other, OWN + 1);
        slots.note_waiting(&other);
        taken.pop();
        slots.freed().await;
        assert_eq!(slots.ready(), [other]);
    }

    #[tokio::test]
    async fn a_slot_that_was_freed_before_somebody_waited_is_not_missed() {
        let slots = Slots::with_shared(0);
        slots.note_waiting(&endpoint("one"));
        slots.freed().await;
        assert_eq!(slots.ready().len(), 1);
    }
}
