use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::batch::tests::batch;
use crate::config::Config;
use crate::store::Store;

/// A commit that fails: once nothing of it is in the log, once all of it is nevertheless.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Before,
    After,
}

impl Fault {
    pub fn strike(self, planned: &mut Option<Self>) -> sqlx::Result<()> {
        match planned.take_if(|fault| *fault == self) {
            Some(_) => Err(sqlx::Error::WorkerCrashed),
            None => Ok(()),
        }
    }
}

const STORAGE: Result<i64, ResponseError> = Err(ResponseError::KafkaStorageError);
const OUT_OF_ORDER: Result<i64, ResponseError> = Err(ResponseError::OutOfOrderSequenceNumber);

struct Log {
    writer: Writer,
    store: Store,
    dir: TempDir,
    room: Arc<Semaphore>,
}

impl Log {
    async fn new() -> Self {
        let mut log = Self::open(tempfile::tempdir().unwrap()).await;
        log.create().await;
        log
    }

    async fn open(dir: TempDir) -> Self {
        let (store, writer) = Store::open(&Config::new(([127, 0, 0, 1], 0).into(), dir.path()))
            .await
            .unwrap();
        Self {
            writer,
            store,
            dir,
            room: Arc::new(Semaphore::new(1)),
        }
    }

    async fn close(self) -> TempDir {
        self.store.close().await;
        self.writer.connection.unwrap().close().await.unwrap();
        self.dir
    }

    fn room(&self) -> OwnedSemaphorePermit {
        self.room.clone().try_acquire_many_owned(0).unwrap()
    }

    async fn one<T>(&mut self, command: impl FnOnce(Reply<T>) -> Command) -> T {
        let (reply, done) = oneshot::channel();
        self.writer.handle(&mut vec![command(reply)]).await;
        done.await.unwrap()
    }

    async fn create(&mut self) {
        let retention = Retention::default();
        self.one(|reply| Command::CreateTopic {
            name: "t".into(),
            partitions: 1,
            retention,
            reply,
        })
        .await;
    }

    /// Appends batches of one record in one transaction: id, epoch, sequence; answers the offsets.
    async fn append(&mut self, stamps: &[(i64, i16, i32)]) -> Vec<Result<i64, ResponseError>> {
        let partition = self.store.partition("t", 0).unwrap();
        let (mut group, mut pending) = (Vec::new(), Vec::new());
        for stamp in stamps {
            let (reply, done) = oneshot::channel();
            let batch = Batch::parse(batch(&[1], *stamp)).unwrap();
            group.push(Command::Append {
                partition: partition.clone(),
                batch,
                room: self.room(),
                reply,
            });
            pending.push(done);
        }
        self.writer.handle(&mut group).await;
        assert!(group.is_empty());
        let mut answers = Vec::new();
        for done in pending {
            answers.push(
                done.await
                    .unwrap_or(Err(ResponseError::KafkaStorageError))
                    .map(|a| a.base_offset),
            );
        }
        answers
    }

    async fn producer(&mut self) -> i64 {
        self.one(|reply| Command::NewProducerId { reply }).await
    }

    fn end(&self) -> i64 {
        self.store.partition("t", 0).unwrap().end()
    }
}

#[tokio::test]
async fn nothing_overtakes_a_batch_whose_commit_failed() {
    let mut log = Log::new().await;
    let p = log.producer().await;
    log.writer.fault = Some(Fault::Before);
    assert_eq!(log.append(&[(p, 0, 0)]).await, [STORAGE]);
    // Those that were on their way already, one of them together with the retry.
    assert_eq!(log.append(&[(p, 0, 1)]).await, [STORAGE]);
    log.writer.fault = Some(Fault::Before);
    assert_eq!(log.append(&[(p, 0, 2), (p, 0, 0), (p, 0, 1)]).await, [STORAGE; 3]);
    assert_eq!(
        log.append(&[(p, 0, 2), (p, 0, 0), (p, 0, 1)]).await,
        [STORAGE, Ok(0), Ok(1)]
    );
    assert_eq!(log.append(&[(p, 0, 2), (p, 0, 0)]).await, [Ok(2), Ok(0)]);
    assert_eq!(log.end(), 3);

    // The same for a producer that the log knows, and one that gives up on what failed.
    log.writer.fault = Some(Fault::Before);
    assert_eq!(log.append(&[(p, 0, 3), (p, 0, 4)]).await, [STORAGE; 2]);
    assert_eq!(log.append(&[(p, 0, 4)]).await, [STORAGE]);
    assert_eq!(log.append(&[(p, 0, 4)]).await, [OUT_OF_ORDER]);
    assert_eq!(
        log.append(&[(p, 1, 1), (p, 1, 0), (p, 1, 1)]).await,
        [OUT_OF_ORDER, Ok(3), Ok(4)]
    );
    assert_eq!(log.end(), 5);
}

#[tokio::test]
async fn a_commit_that_only_seemed_to_fail_is_neither_lost_nor_doubled() {
    for first in [0, 1] {
        let mut log = Log::new().await;
        let p = log.producer().await;
        log.writer.fault = Some(Fault::After);
        assert_eq!(log.append(&[(p, 0, 0)]).await, [STORAGE]);
        assert_eq!(log.end(), 0);
        // The retry, or the next one if that was on its way already.
        assert_eq!(log.append(&[(p, 0, first)]).await, [Ok(i64::from(first))]);
        assert_eq!(log.end(), i64::from(first) + 1, "what is acknowledged is visible");
        assert_eq!(log.append(&[(p, 0, 0), (p, 0, 1)]).await, [Ok(0), Ok(1)]);
        assert_eq!(log.end(), 2);
    }
}

#[tokio::test]
async fn a_new_producer_starts_at_zero_unless_its_past_may_be_gone() {
    let mut log = Log::new().await;
    let p = log.producer().await;
    assert_eq!(
        log.append(&[(p, 0, 1), (p, 0, 0), (p, 0, 1)]).await,
        [OUT_OF_ORDER, Ok(0), Ok(1)]
    );
    let q = log.producer().await;
    assert_eq!(log.append(&[(q, 0, 0)]).await, [Ok(2)]);

    // Retention took what it wrote.
    let partition = log.store.partition("t", 0).unwrap();
    log.one(|reply| Command::Truncate {
        partition,
        start: 3,
        reply,
    })
    .await;
    let partition = log.store.partition("t", 0).unwrap().id;
    assert_eq!(
        log.one(|reply| Command::Purge {
            partition,
            start: 3,
            reply
        })
        .await,
        3
    );
    log.writer.known.tails.clear();
    assert_eq!(log.append(&[(q, 0, 1)]).await, [Ok(3)]);
    // Its topic was made anew.
    log.one(|reply| Command::DeleteTopic {
        name: "t".into(),
        reply,
    })
    .await;
    log.create().await;
    assert_eq!(log.append(&[(q, 0, 2)]).await, [Ok(0)]);
    // All data was wiped, and others produce now.
    let dir = log.close().await;
    std::fs::remove_dir_all(dir.path()).unwrap();
    let mut log = Log::open(dir).await;
    log.create().await;
    assert_eq!(log.append(&[(q, 0, 3)]).await, [Ok(0)]);
    assert!(log.producer().await > q);
}

#[tokio::test]
async fn a_producer_that_was_silent_for_long_goes_on_where_it_stopped() {
    let mut log = Log::new().await;
    let (p, q) = (log.producer().await, log.producer().await);
    assert_eq!(log.append(&[(p, 0, 0), (p, 0, 1)]).await, [Ok(0), Ok(1)]);
    let others: Vec<_> = (0..REMEMBERED_BATCHES as i32 + 1).map(|i| (q, 0, i)).collect();
    assert!(log.append(&others).await.iter().all(Result::is_ok));
    let end = log.end();
    let mut log = Log::open(log.close().await).await;
    assert_eq!(log.append(&[(p, 0, 3)]).await, [OUT_OF_ORDER], "what it wrote is found");
    assert_eq!(log.append(&[(p, 0, 1), (p, 0, 2)]).await, [Ok(1), Ok(end)]);
    // However old a duplicate, it is answered with its offset; what is none is not called one.
    assert_eq!(log.append(&[(q, 0, 0), (q, 0, 7)]).await, [Ok(2), Ok(9)]);
    let partition = log.store.partition("t", 0).unwrap();
    let other = Batch::parse(batch(&[1, 1], (q, 0, 7))).unwrap();
    let room = log.room();
    let answer = log
        .one(|reply| Command::Append {
            partition,
            batch: other,
            room,
            reply,
        })
        .await;
    assert_eq!(answer, Err(ResponseError::OutOfOrderSequenceNumber));
}
