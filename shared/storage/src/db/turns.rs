//! Turns at the connections to PostgreSQL.
//!
//! A pool has one deadline for waiting and connecting together. Behind a long queue little of it is left
//! for connecting, and a connection that is not open by then is thrown away. After a restart of the
//! server, under load, that goes on for ever: nobody gets a connection, so the queue stays as long as it
//! is. Opening all connections at the same moment, each of them slowly, ends in the same way.
//!
//! So whoever wants a connection waits here first. Those who have a turn never wait for each other in the
//! pool and have its deadline for themselves, and only a few of them open new connections at a time.

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
        }
    }

    pub(super) async fn wait(&self) -> Result<Turn<'_>> {
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

impl Turn<'_> {
    /// For a database whose users wait for nothing here.
    pub(super) const FREE: Self = Self {
        _turn: None,
        _connecting: None,
    };
}
