use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidings_domain::TraceParent;
use tidings_events::RawRecord;
use tidings_events::span::{self, Span, SpanKind};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::flood::Flood;
use super::session::{Session, Stop};
use super::{ConsumerConfig, ConsumerError, HandleError, Handler};
use crate::Connection;
use crate::backoff::{Backoff, Outage};

pub(super) struct Worker<H> {
    group: String,
    handler: H,
    session: Session,
    flood: Flood,
}

/// What became of records that were handed out.
enum Verdict {
    Done,
    Rejected(String),
    /// Their partitions were taken away; they are somebody else's now.
    Lost,
}

impl<H: Handler> Worker<H> {
    pub(super) fn start(
        config: ConsumerConfig,
        handler: H,
        connection: &Connection,
        cancel: CancellationToken,
    ) -> Result<Self, ConsumerError> {
        begin_counting(&config);
        let session = Session::start(&config, connection, cancel).map_err(ConsumerError::Settings)?;
        Ok(Self {
            flood: Flood::new(config.flood),
            group: config.group,
            handler,
            session,
        })
    }

    /// Consumes until it is told to stop or cannot go on.
    pub(super) async fn work(&mut self) -> Result<(), ConsumerError> {
        loop {
            let settled = match self.session.next().await {
                Ok(batch) => self.settle(batch).await,
                Err(stop) => Err(stop),
            };
            match settled {
                Ok(()) => {}
                Err(Stop::Cancelled) => return Ok(()),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    async fn settle(&mut self, mut batch: Batch) -> Result<(), Stop> {
        match self.hand_out(&mut batch).await? {
            Verdict::Lost => {}
            Verdict::Done => self.done(&batch),
            Verdict::Rejected(reason) if batch.len() == 1 => self.set_aside(batch, &reason).await?,
            Verdict::Rejected(reason) => {
                tracing::debug!(reason, records = batch.len(), "batch rejected, handing out one by one");
                for mut single in batch.into_singles() {
                    match self.hand_out(&mut single).await? {
                        Verdict::Lost => {}
                        Verdict::Done => self.done(&single),
                        Verdict::Rejected(reason) => self.set_aside(single, &reason).await?,
                    }
                }
            }
        }
        Ok(())
    }

    async fn hand_out(&mut self, batch: &mut Batch) -> Result<Verdict, Stop> {
        let begun = Instant::now();
        let verdict = self
            .insist(batch, "handling records", async |handler, records| {
                handler.handle(records).await
            })
            .await?;
        if let Verdict::Done = verdict {
            for record in batch.records() {
                span::tell(|| processed(&self.group, record, begun.elapsed()));
            }
        }
        Ok(verdict)
    }

    /// Does something with records again and again until it works, is rejected, or is not this
    /// member's business any more.
    async fn insist(
        &mut self,
        batch: &mut Batch,
        what: &'static str,
        action: impl AsyncFn(&H, &[RawRecord]) -> Result<(), HandleError>,
    ) -> Result<Verdict, Stop> {
        let mut outage = Outage::new(what, Backoff::new(Duration::from_millis(50), Duration::from_secs(5)));
        loop {
            batch.retain_current(self.session.assignment());
            if batch.is_empty() {
                return Ok(Verdict::Lost);
            }
            let error = match self.session.drive(action(&self.handler, batch.records())).await? {
                Ok(()) => {
                    outage.worked();
                    return Ok(Verdict::Done);
                }
                Err(HandleError::Reject(reason)) => {
                    outage.worked();
                    return Ok(Verdict::Rejected(reason));
                }
                Err(HandleError::Fatal(error)) => return Err(Stop::Failed(ConsumerError::Handler(error))),
                Err(HandleError::Retry(error)) => error,
            };
            metrics::counter!("tidings_consumer_retries_total", "group" => self.group.clone()).increment(1);
            let pause = outage.failed(error.as_ref());
            self.session.rest(pause).await?;
        }
    }

    fn done(&mut self, batch: &Batch) {
        self.session.done(batch);
        self.flood.handled(batch.len());
        let mut topics = BTreeMap::new();
        for record in batch.records() {
            *topics.entry(record.topic.as_str()).or_insert(0) += 1;
        }
        for (topic, records) in topics {
            let labels = [("group", self.group.clone()), ("topic", topic.to_owned())];
            metrics::counter!("tidings_consumer_records_total", &labels).increment(records);
        }
    }

    /// Sets aside the one record of a batch.
    async fn set_aside(&mut self, mut single: Batch, reason: &str) -> Result<(), Stop> {
        if let Err(flood) = self.flood.setting_aside() {
            return Err(Stop::Failed(ConsumerError::Flood {
                group: self.group.clone(),
                count: flood.count,
                of: flood.of,
                reason: reason.to_owned(),
            }));
        }
        let set_aside = async |handler: &H, records: &[RawRecord]| {
            for record in records {
                handler.set_aside(record, reason).await?;
            }
            Ok(())
        };
        match self.insist(&mut single, "setting a record aside", set_aside).await? {
            Verdict::Lost => {}
            Verdict::Rejected(reason) => return Err(Stop::Failed(ConsumerError::NotSetAside(reason))),
            Verdict::Done => {
                for RawRecord {
                    topic,
                    partition,
                    offset,
                    ..
                } in single.records()
                {
                    tracing::warn!(topic, partition, offset, reason, "record set aside");
                }
                metrics::counter!("tidings_consumer_set_aside_total", "group" => self.group.clone()).increment(1);
                self.session.done(&single);
            }
        }
        Ok(())
    }
}

/// Has the counters there before they count: a rate begins with the second value that was seen.
fn begin_counting(config: &ConsumerConfig) {
    let group = &config.group;
    for topic in &config.topics {
        let labels = [("group", group.clone()), ("topic", topic.clone())];
        metrics::counter!("tidings_consumer_records_total", &labels).increment(0);
    }
    metrics::counter!("tidings_consumer_retries_total", "group" => group.clone()).increment(0);
    metrics::counter!("tidings_consumer_set_aside_total", "group" => group.clone()).increment(0);
    metrics::counter!("tidings_consumer_records_missed_total", "group" => group.clone()).increment(0);
}

/// The trace that a record belongs to.
fn traceparent(record: &RawRecord) -> Option<TraceParent> {
    let (_, value) = record.headers.iter().find(|(name, _)| name == "traceparent")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// What handling a record was, as a part of the trace that it belongs to. Those of one batch took as long as it.
fn processed(group: &str, record: &RawRecord, took: Duration) -> Option<Span> {
    let parent = traceparent(record)?;
    Some(Span {
        name: format!("process {}", record.topic),
        kind: SpanKind::Consumer,
        context: parent.child(),
        parent: Some(parent),
        took,
        attributes: vec![
            ("messaging.system", "kafka".to_owned()),
            ("messaging.destination.name", record.topic.clone()),
            ("messaging.consumer.group.name", group.to_owned()),
            ("messaging.destination.partition.id", record.partition.to_string()),
            ("messaging.kafka.offset", record.offset.to_string()),
        ],
        error: None,
    })
}
