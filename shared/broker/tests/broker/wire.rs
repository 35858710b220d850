//! Raw requests, and what no client library lets one see.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::*;
use kafka_protocol::messages::{
    create_topics_request as ct, fetch_request as fr, list_offsets_request as lo, offset_commit_request as oc,
    produce_request as pr,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{DEADLINE, Running};

/// A connection that sends whatever it is told to.
pub struct Client(pub TcpStream);

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    pub async fn send<R: Request>(&mut self, version: i16, request: &R) {
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(1);
        header.encode(&mut frame, R::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = frame.len() as u32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next frame, or `None` if the connection was closed.
    pub async fn frame(&mut self) -> Option<Bytes> {
        let n = timeout(DEADLINE, self.0.read_u32())
            .await
            .expect("an answer or the end")
            .ok()?;
        let mut body = vec![0; n as usize];
        self.0.read_exact(&mut body).await.ok()?;
        Some(body.into())
    }

    pub async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut body = self
            .frame()
            .await
            .unwrap_or_else(|| panic!("closed on api {} version {version}", R::KEY));
        ResponseHeader::decode(&mut body, R::Response::header_version(version)).unwrap();
        let response = R::Response::decode(&mut body, version).unwrap();
        assert!(!body.has_remaining(), "api {} version {version}", R::KEY);
        response
    }

    pub async fn call<R: Request>(&mut self, version: i16, request: R) -> R::Response {
        self.send(version, &request).await;
        self.receive::<R>(version).await
    }

    pub async fn create(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
        let config = |(k, v): &(&str, &str)| {
            ct::CreatableTopicConfig::default()
                .with_name(s(k))
                .with_value(Some(s(v)))
        };
        let topic = ct::CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic.with_configs(configs.iter().map(config).collect())]);
        self.call(5, request).await.topics[0].error_code
    }

    /// Error and base offset.
    pub async fn produce(&mut self, topic: &str, batch: Bytes) -> (i16, i64) {
        let response = self.call(9, produce(topic, batch)).await;
        let p = &response.responses[0].partition_responses[0];
        (p.error_code, p.base_offset)
    }

    pub async fn fetch(&mut self, topic: &str, offset: i64, max_wait_ms: i32) -> (i16, Bytes) {
        let response = self.call(11, fetch(topic, offset, max_wait_ms)).await;
        let p = &response.responses[0].partitions[0];
        (p.error_code, p.records.clone().unwrap())
    }

    pub async fn producer_id(&mut self) -> i64 {
        self.call(4, InitProducerIdRequest::default().with_transactional_id(None))
            .await
            .producer_id
            .0
    }

    /// Joins a group; answers the member id if that succeeded, else the one to use.
    pub async fn join_group(&mut self, group: &str, member: &str) -> Result<String, String> {
        let protocol = join_group_request::JoinGroupRequestProtocol::default()
            .with_name(s("range"))
            .with_metadata(Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 0]));
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(s(group)))
            .with_session_timeout_ms(1_000)
            .with_rebalance_timeout_ms(60_000)
            .with_protocol_type(s("consumer"))
            .with_member_id(s(member))
            .with_protocols(vec![protocol]);
        let response = self.call(5, request).await;
        let id = response.member_id.to_string();
        if response.error_code == 0 { Ok(id) } else { Err(id) }
    }

    /// A group's committed offsets of first partitions.
    pub async fn positions(&mut self, group: &str) -> Vec<(String, i64)> {
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(s(group)))
            .with_topics(None);
        let topics = self.call(7, request).await.topics;
        topics
            .into_iter()
            .map(|t| (t.name.to_string(), t.partitions[0].committed_offset))
            .collect()
    }

    pub async fn offset(&mut self, topic: &str, timestamp: i64) -> i64 {
        let p = lo::ListOffsetsPartition::default().with_timestamp(timestamp);
        let t = lo::ListOffsetsTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![p]);
        self.call(6, ListOffsetsRequest::default().with_topics(vec![t]))
            .await
            .topics[0]
            .partitions[0]
            .offset
    }
}

pub fn s(v: &str) -> StrBytes {
    StrBytes::from_string(v.to_owned())
}

pub fn name(topic: &str) -> TopicName {
    TopicName(s(topic))
}

pub fn produce(topic: &str, batch: Bytes) -> ProduceRequest {
    let p = pr::PartitionProduceData::default().with_records(Some(batch));
    let t = pr::TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![p]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![t])
}

pub fn fetch(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let p = fr::FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let t = fr::FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![p]);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![t])
}

/// A batch of `count` empty records; `producer` is id, epoch and first sequence.
pub fn batch(count: i32, producer: (i64, i16, i32)) -> Bytes {
    let mut checked = BytesMut::new();
    checked.put_i16(0);
    checked.put_i32(count - 1);
    checked.put_i64(1000);
    checked.put_i64(1000);
    checked.put_i64(producer.0);
    checked.put_i16(producer.1);
    checked.put_i32(producer.2);
    checked.put_i32(count);
    for i in 0..count as u8 {
        checked.extend_from_slice(&[12, 0, 0, i * 2, 1, 1, 0]);
    }
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(checked.len() as i32 + 9);
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.extend_from_slice(&checked);
    batch.freeze()
}

/// A batch of one record with a value of that many bytes. The broker does not look into it.
pub fn batch_of(size: usize) -> Bytes {
    let mut bytes = batch(1, ANYONE).to_vec();
    bytes.resize(bytes.len() + size, 0);
    let length = bytes.len() as u32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

pub const ANYONE: (i64, i16, i32) = (-1, -1, -1);

/// What a group's member that is none commits.
pub fn commit(group: &str, topic: &str, offset: i64) -> OffsetCommitRequest {
    let p = oc::OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(s("note")));
    let t = oc::OffsetCommitRequestTopic::default()
        .with_name(name(topic))
        .with_partitions(vec![p]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(s(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![t])
}

impl Running {
    pub async fn connect(&self) -> Client {
        Client::connect(self.broker.addr()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_positions_survive_a_restart() {
    let broker = Running::start().await;
    let mut c = broker.connect().await;
    assert_eq!(c.create("t", 1, &[]).await, 0);
    assert_eq!(c.create("t", 1, &[]).await, ResponseError::TopicAlreadyExists.code());
    let id = c.producer_id().await;
    assert_eq!(c.produce("t", batch(3, (id, 0, 0))).await, (0, 0));
    assert_eq!(c.produce("t", batch(2, (id, 0, 3))).await, (0, 3));
    assert_eq!(
        c.call(8, commit("g", "t", 4)).await.topics[0].partitions[0].error_code,
        0
    );

    let broker = broker.restart().await;
    let mut c = broker.connect().await;
    assert_eq!(
        c.produce("t", batch(2, (id, 0, 3))).await,
        (0, 3),
        "a retry of what was appended before"
    );
    assert_eq!(
        c.produce("t", batch(1, (id, 0, 9))).await.0,
        ResponseError::OutOfOrderSequenceNumber.code()
    );
    assert_eq!(c.produce("t", batch(1, (id, 0, 5))).await, (0, 5));
    assert!(c.producer_id().await > id);
    assert_eq!(c.positions("g").await, [("t".to_owned(), 4)]);
    let (error, mut records) = c.fetch("t", 4, 0).await;
    assert_eq!((error, records.get_i64()), (0, 3), "the batch that holds the offset");
    assert_eq!(c.fetch("t", 7, 0).await.0, ResponseError::OffsetOutOfRange.code());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_fetch_is_woken_and_does_not_delay_shutdown() {
    let broker = Running::start().await;
    let (mut reader, mut writer) = (broker.connect().await, broker.connect().await);
    writer.create("t", 1, &[]).await;
    reader.send(11, &fetch("t", 0, i32::MAX)).await;
    writer.produce("t", batch(1, ANYONE)).await;
    let records = reader.receive::<FetchRequest>(11).await.responses[0].partitions[0]
        .records
        .clone()
        .unwrap();
    assert!(!records.is_empty());
    assert!(reader.fetch("t", 1, 50).await.1.is_empty(), "nothing came in that time");

    reader.send(11, &fetch("t", 1, i32::MAX)).await;
    broker.stop().await;
    assert!(reader.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_where_they_reached_it_unless_the_host_knows_better() {
    for advertised in [None, Some(("broker.example".to_owned(), 19092))] {
        let broker = Running::with(|config| config.advertised = advertised.clone()).await;
        let (host, port) = advertised.unwrap_or(("127.0.0.1".to_owned(), broker.broker.addr().port()));
        let mut c = broker.connect().await;
        let node = c.call(9, MetadataRequest::default()).await.brokers.remove(0);
        assert_eq!((node.host.as_str(), node.port), (host.as_str(), i32::from(port)));
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![s("g")]);
        let found = c.call(4, request).await.coordinators.remove(0);
        assert_eq!((found.host.as_str(), found.port), (host.as_str(), i32::from(port)));
        broker.stop().await;
    }
}

/// Clients that take nothing of what they asked for.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_neither_hinder_others_nor_the_shutdown() {
    let broker = Running::start().await;
    let mut good = broker.connect().await;
    good.create("t", 1, &[]).await;
    let large = batch_of(1 << 20);
    for _ in 0..4 {
        assert_eq!(good.produce("t", large.clone()).await.0, 0);
    }
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut client = broker.connect().await;
        for _ in 0..8 {
            client.send(11, &fetch("t", 0, 0)).await;
        }
        deaf.push(client);
    }
    assert_eq!(good.produce("t", batch(1, ANYONE)).await, (0, 4));
    broker.stop().await;
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_and_waiting_ones_are_not() {
    let broker = Running::with(|config| config.max_idle = Duration::from_secs(1)).await;
    let (mut silent, mut once, mut waiting) = (broker.connect().await, broker.connect().await, broker.connect().await);
    once.create("t", 1, &[]).await;
    waiting.send(11, &fetch("t", 0, i32::MAX)).await;
    assert!(silent.frame().await.is_none());
    assert!(once.frame().await.is_none());
    // By now the fetch has waited for as long as the others were silent.
    assert_eq!(broker.connect().await.produce("t", batch(1, ANYONE)).await, (0, 0));
    assert_eq!(
        waiting.receive::<FetchRequest>(11).await.responses[0].partitions[0].error_code,
        0
    );
    assert!(waiting.frame().await.is_none(), "its turn has come");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_close_only_their_connection() {
    let broker = Running::with(|config| config.max_connections = 3).await;
    let mut good = broker.connect().await;
    good.create("t", 1, &[]).await;
    let metadata = |rest: &[u8]| [&[0, 3, 0, 1, 0, 0, 0, 7, 255, 255], rest].concat();
    let huge_array = metadata(&i32::MAX.to_be_bytes());
    for bad in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![1, 2, 3],
        metadata(&[]),
        huge_array,
        vec![0, 99, 0, 0, 0, 0, 0, 1],
    ] {
        let mut c = broker.connect().await;
        let framed = if bad.starts_with(b"GET") {
            bad
        } else {
            [&(bad.len() as u32).to_be_bytes()[..], &bad].concat()
        };
        c.0.write_all(&framed).await.unwrap();
        assert!(c.frame().await.is_none());
        assert_eq!(good.produce("t", batch(1, ANYONE)).await.0, 0);
    }
    let (mut b, mut c, mut d) = (broker.connect().await, broker.connect().await, broker.connect().await);
    assert!(d.frame().await.is_none(), "one connection too many");
    for client in [&mut b, &mut c] {
        client.call(1, MetadataRequest::default()).await;
    }
    broker.stop().await;
}
