//! What clients send is understood; whatever else arrives is refused without harm.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::*;

/// A request with at least one element in each array that the version has.
fn sample(key: ApiKey, v: i16) -> Bytes {
    let s = || StrBytes::from_static_str("name");
    let t = || TopicName(s());
    let g = || GroupId(s());
    let b = || Bytes::from_static(b"bytes");
    let mut out = BytesMut::new();
    macro_rules! encode {
        ($request:expr) => {
            $request
                .encode(&mut out, v)
                .unwrap_or_else(|e| panic!("{key:?} {v}: {e:#}"))
        };
    }
    match key {
        ApiKey::Produce => {
            let p = PartitionProduceData::default().with_records(Some(b()));
            let t = TopicProduceData::default().with_name(t()).with_partition_data(vec![p]);
            encode!(ProduceRequest::default().with_topic_data(vec![t]))
        }
        ApiKey::ApiVersions => encode!(ApiVersionsRequest::default()),
        ApiKey::Fetch => {
            let topic = FetchTopic::default()
                .with_topic(t())
                .with_partitions(vec![FetchPartition::default()]);
            let gone = ForgottenTopic::default().with_topic(t()).with_partitions(vec![1, 2]);
            let request = FetchRequest::default().with_topics(vec![topic]);
            encode!(if v >= 7 {
                request.with_forgotten_topics_data(vec![gone])
            } else {
                request
            })
        }
        ApiKey::ListOffsets => {
            let t = ListOffsetsTopic::default()
                .with_name(t())
                .with_partitions(vec![ListOffsetsPartition::default()]);
            encode!(ListOffsetsRequest::default().with_topics(vec![t]))
        }
        ApiKey::Metadata => {
            let t = MetadataRequestTopic::default().with_name(Some(t()));
            encode!(MetadataRequest::default().with_topics(Some(vec![t])))
        }
        ApiKey::FindCoordinator if v < 4 => encode!(FindCoordinatorRequest::default().with_key(s())),
        ApiKey::FindCoordinator => {
            encode!(FindCoordinatorRequest::default().with_coordinator_keys(vec![s(), s()]))
        }
        ApiKey::OffsetCommit => {
            let p = OffsetCommitRequestPartition::default().with_committed_metadata(Some(s()));
            let t = OffsetCommitRequestTopic::default()
                .with_name(t())
                .with_partitions(vec![p]);
            encode!(OffsetCommitRequest::default().with_group_id(g()).with_topics(vec![t]))
        }
        ApiKey::OffsetFetch if v < 8 => {
            let t = OffsetFetchRequestTopic::default()
                .with_name(t())
                .with_partition_indexes(vec![0, 1]);
            encode!(
                OffsetFetchRequest::default()
                    .with_group_id(g())
                    .with_topics(Some(vec![t]))
            )
        }
        ApiKey::OffsetFetch => {
            let t = OffsetFetchRequestTopics::default()
                .with_name(t())
                .with_partition_indexes(vec![0]);
            let g = OffsetFetchRequestGroup::default()
                .with_group_id(g())
                .with_topics(Some(vec![t]));
            encode!(OffsetFetchRequest::default().with_groups(vec![g]))
        }
        ApiKey::JoinGroup => {
            let p = JoinGroupRequestProtocol::default().with_name(s()).with_metadata(b());
            encode!(JoinGroupRequest::default().with_group_id(g()).with_protocols(vec![p]))
        }
        ApiKey::SyncGroup => {
            let a = SyncGroupRequestAssignment::default()
                .with_member_id(s())
                .with_assignment(b());
            encode!(SyncGroupRequest::default().with_group_id(g()).with_assignments(vec![a]))
        }
        ApiKey::Heartbeat => encode!(HeartbeatRequest::default().with_group_id(g()).with_member_id(s())),
        ApiKey::LeaveGroup if v < 3 => {
            encode!(LeaveGroupRequest::default().with_group_id(g()).with_member_id(s()))
        }
        ApiKey::LeaveGroup => {
            let m = MemberIdentity::default().with_member_id(s());
            encode!(LeaveGroupRequest::default().with_group_id(g()).with_members(vec![m]))
        }
        ApiKey::DescribeGroups => encode!(DescribeGroupsRequest::default().with_groups(vec![g(), g()])),
        ApiKey::ListGroups => {
            let request = ListGroupsRequest::default();
            let request = if v >= 4 {
                request.with_states_filter(vec![s()])
            } else {
                request
            };
            encode!(if v >= 5 {
                request.with_types_filter(vec![s()])
            } else {
                request
            })
        }
        ApiKey::DeleteGroups => encode!(DeleteGroupsRequest::default().with_groups_names(vec![g()])),
        ApiKey::CreateTopics => {
            let a = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
            let c = CreatableTopicConfig::default().with_name(s()).with_value(Some(s()));
            let t = CreatableTopic::default()
                .with_name(t())
                .with_assignments(vec![a])
                .with_configs(vec![c]);
            encode!(CreateTopicsRequest::default().with_topics(vec![t]))
        }
        ApiKey::DeleteTopics => encode!(DeleteTopicsRequest::default().with_topic_names(vec![t()])),
        ApiKey::CreatePartitions => {
            let a = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
            let t = CreatePartitionsTopic::default()
                .with_name(t())
                .with_assignments(Some(vec![a]));
            encode!(CreatePartitionsRequest::default().with_topics(vec![t]))
        }
        ApiKey::DeleteRecords => {
            let p = DeleteRecordsPartition::default();
            let t = DeleteRecordsTopic::default().with_name(t()).with_partitions(vec![p]);
            encode!(DeleteRecordsRequest::default().with_topics(vec![t]))
        }
        ApiKey::DescribeConfigs => {
            let r = DescribeConfigsResource::default().with_resource_name(s());
            let r = r.with_configuration_keys(Some(vec![s(), s()]));
            encode!(DescribeConfigsRequest::default().with_resources(vec![r]))
        }
        ApiKey::InitProducerId => encode!(InitProducerIdRequest::default().with_transactional_id(None)),
        other => panic!("{other:?} is understood, but there is no sample of it"),
    }
    let mut frame = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(v)
        .with_client_id(Some(s()));
    header.encode(&mut frame, key.request_header_version(v)).unwrap();
    frame.put(out);
    frame.freeze()
}

fn samples() -> impl Iterator<Item = Bytes> {
    SUPPORTED.iter().flat_map(|(key, min, max)| {
        let min = if *key == ApiKey::Produce { 3 } else { *min };
        (min..=*max).map(|version| sample(*key, version))
    })
}

#[test]
fn every_version_that_is_offered_is_understood() {
    for frame in samples() {
        parse(frame.clone()).unwrap_or_else(|e| panic!("{frame:?}: {e}"));
    }
}

/// Any four, two or varint-encoded bytes might be a length. Were one of them believed, the memory that
/// is reserved for so many elements could not be had, and the process would end here.
#[test]
fn no_claim_of_a_frame_is_believed() {
    let claims: [&[u8]; 4] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x7f, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff; 5],
    ];
    for frame in samples() {
        for at in 8..frame.len() {
            let _ = parse(frame.slice(..at));
            for claim in claims {
                let mut bytes = frame.to_vec();
                let end = bytes.len().min(at + claim.len());
                bytes[at..end].copy_from_slice(&claim[..end - at]);
                let _ = parse(bytes.into());
            }
        }
    }
}

#[test]
fn more_elements_than_any_client_sends_are_refused() {
    let topics = |n: u32| {
        let mut frame = BytesMut::new();
        frame.put_slice(&[0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff]);
        frame.put_u32(n);
        frame.put_slice(&[0; 2].repeat(n as usize));
        frame.freeze()
    };
    assert!(parse(topics(100_000)).is_ok());
    assert!(parse(topics(100_001)).is_err());
    assert!(
        parse(topics(600_000)).is_err(),
        "too large a frame for a request without records"
    );
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let head = prop::sample::select(SUPPORTED).prop_flat_map(|(key, min, max)| (Just(key), min..=max));
    (head, any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(|((key, version), id, rest)| {
        [
            &(key as i16).to_be_bytes()[..],
            &version.to_be_bytes(),
            &id,
            &[0xff, 0xff],
            &rest,
        ]
        .concat()
    })
}

fn damaged_frame() -> impl Strategy<Value = Vec<u8>> {
    let frames: Vec<Bytes> = samples().collect();
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    (prop::sample::select(frames), damage).prop_map(|(frame, damage)| {
        let mut bytes = frame.to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_arrives_does_harm(
        frame in prop_oneof![prop::collection::vec(any::<u8>(), 0..100), any_frame(), damaged_frame()]
    ) {
        let _ = parse(frame.into());
    }
}
