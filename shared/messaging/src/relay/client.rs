//! Kafka's producer, as the relay uses it.
//!
//! Acknowledgements are taken from the client by a thread that sleeps while nothing is on its way.
//! rdkafka's own `FutureProducer` looks ten times a second, and its looks end in a busy wait of up to
//! a millisecond: one per cent of a core for doing nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use tidings_events::EventRecord;
use tokio::sync::oneshot;

use crate::connection::ClientLog;

/// How long one look for acknowledgements takes, however many come.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked for errors while nothing is on its way: what nobody takes piles up.
const REST: Duration = Duration::from_secs(5);

type Settled = Result<(), KafkaError>;

/// Completes once a record is acknowledged or given up.
pub(super) type Acknowledgement = oneshot::Receiver<Settled>;

impl ProducerContext for ClientLog {
    type DeliveryOpaque = Box<oneshot::Sender<Settled>>;

    fn delivery(&self, result: &DeliveryResult<'_>, settled: Self::DeliveryOpaque) {
        let result = result.as_ref().map(drop).map_err(|(error, _)| error.clone());
        // Nobody may be waiting any more.
        let _ = settled.send(result);
    }
}

/// Dropping it ends the producer in the background; what it still has under way is given up.
pub(super) struct Client {
    producer: Arc<BaseProducer<ClientLog>>,
    sent: SyncSender<()>,
    ended: Arc<AtomicBool>,
}

impl Client {
    pub(super) fn new(config: &ClientConfig) -> Result<Self, KafkaError> {
        let producer: BaseProducer<ClientLog> = config.create_with_context(ClientLog::new("relay"))?;
        let producer = Arc::new(producer);
        let (sent, waiting) = sync_channel(1);
        let ended = Arc::new(AtomicBool::new(false));
        let serving = (producer.clone(), ended.clone());
        std::thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || serve(&serving.0, &waiting, &serving.1))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { producer, sent, ended })
    }

    /// Hands a record to the producer, which takes it or says why not.
    pub(super) fn send(&self, record: &EventRecord, headers: OwnedHeaders) -> Result<Acknowledgement, KafkaError> {
        let (settled, acknowledgement) = oneshot::channel();
        let record = BaseRecord::with_opaque_to(&record.topic, Box::new(settled))
            .key(record.key.as_str())
            .payload(&record.payload[..])
            .headers(headers);
        self.producer.send(record).map_err(|(error, _)| error)?;
        // Full means that the thread has yet to learn of an earlier one, and will find this one too.
        let _ = self.sent.try_send(());
        Ok(acknowledgement)
    }

    pub(super) fn purge(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Takes acknowledgements and errors from the client until it is dropped.
fn serve(producer: &BaseProducer<ClientLog>, sent: &Receiver<()>, ended: &AtomicBool) {
    while sent.recv_timeout(REST) != Err(RecvTimeoutError::Disconnected) {
        while producer.in_flight_count() > 0 && !ended.load(Ordering::Relaxed) {
            producer.poll(LOOK);
        }
    }
}
