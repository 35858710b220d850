//! Turns at the connections to PostgreSQL.
//!
//! A pool has one deadline for waiting and connecting together. Behind a long queue little of it is left
//! for connecting, and a connection that is not open by then is thrown away. After a restart of the
//! server, under load, that goes on for ever: nobody gets a connection, so the queue stays as long as it
//! is. Opening all connections at the same moment, each of them slowly, ends in the same way.
//!
//! So whoever wants a connection waits here first. Those who have a turn never wait for each other in the
//! pool and have its deadline for themselves, and only a few of them open new connections at a time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::{Error, Result};

/// New connections that are being opened at a time.
const CONNECTING: usize = 4;

pub(super) struct Turns {
    pool: PgPool,
    turns: Semaphore,
    connecting: Semaphore,
    connections: u32,
    patience: Duration,
    waiting: AtomicU32,
}

/// How the connections to the database are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// At most.
    pub limit: u32,
    pub open: u32,
    /// Open and used by nobody.
    pub idle: u32,
    /// How many wait for their turn.
    pub waiting: u32,
}

/// A connection is there for whoever has this, or may be opened.
#[derive(Debug)]
#[must_use]
pub struct Turn<'a> {
    _turn: Option<SemaphorePermit<'a>>,
    _connecting: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// So many of the pool's connections are for those who wait here, the others for those who do not.
    pub(super) fn new(pool: PgPool, turns: usize, patience: Duration) -> Self {
        Self {
            connections: pool.options().get_max_connections(),
            turns: Semaphore::new(turns),
            connecting: Semaphore::new(CONNECTING),
            pool,
            patience,
            waiting: AtomicU32::new(0),
        }
    }

    pub(super) fn connections(&self) -> Connections {
        Connections {
            limit: self.connections,
            open: self.pool.size(),
            idle: u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn wait(&self) -> Result<Turn<'_>> {
        let _waits = Waits::one_more(&self.waiting);
        let waiting = async {
            let turn = self.turns.acquire().await.ok();
            let must_connect = self.pool.num_idle() == 0 && self.pool.size() < self.connections;
            Turn {
                _turn: turn,
                _connecting: match must_connect {
                    true => self.connecting.acquire().await.ok(),
                    false => None,
                },
            }
        };
        let turn = timeout(self.patience, waiting).await;
        turn.map_err(|_| Error::given_up("waiting for a connection"))
    }
}

/// One of those who wait, for as long as it exists: whoever waits may be dropped.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn one_more(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn<'_> {
    /// For a database whose users wait for nothing here.
    pub(super) const FREE: Self = Self {
        _turn: None,
        _connecting: None,
    };
}
