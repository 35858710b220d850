//! When something that waits in the database is due next.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// When something is due next, as far as this process knows.
#[derive(Debug, Default)]
pub struct Agenda {
    next: Mutex<Option<Instant>>,
    earlier: Notify,
}

impl Agenda {
    /// Something is due after this time.
    pub fn note(&self, after: Duration) {
        let due = Instant::now() + after;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|known| due < known) {
            *next = Some(due);
            self.earlier.notify_one();
        }
    }

    /// Sleeps until something is due, or until `latest`.
    pub async fn wait(&self, latest: Instant) {
        loop {
            let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let until = next.map_or(latest, |next| next.min(latest));
            tokio::select! {
                () = self.earlier.notified() => {}
                () = sleep_until(until) => return,
            }
        }
    }

    /// Forgets what was noted so far, for the caller looks for itself from here on.
    pub fn clear(&self) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_counts() {
        let (agenda, start) = (Agenda::default(), Instant::now());
        agenda.note(Duration::from_secs(3));
        agenda.note(Duration::from_secs(1));
        agenda.note(Duration::from_secs(2));
        agenda.wait(start + Duration::from_secs(10)).await;
        assert_eq!(start.elapsed().as_secs(), 1);
        agenda.clear();
        agenda.wait(start + Duration::from_secs(10)).await;
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_learns_of_something_earlier() {
        let (agenda, start) = (Agenda::default(), Instant::now());
        tokio::join!(agenda.wait(start + Duration::from_secs(10)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            agenda.note(Duration::from_secs(2));
        });
        assert_eq!(start.elapsed().as_secs(), 3);
    }
}
