//! Every request in every version.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::*;
use kafka_protocol::messages::{
    create_topics_request as ct, fetch_request as fr, list_offsets_request as lo, offset_commit_request as oc,
};
use kafka_protocol::protocol::Decodable;
use tokio::io::AsyncWriteExt;

use crate::support::Running;
use crate::wire::{ANYONE, batch, fetch, name, produce, s};

/// Every version that is advertised is understood, with all arrays filled.
#[tokio::test(flavor = "multi_thread")]
async fn all_advertised_versions_work() {
    let broker = Running::start().await;
    let mut c = broker.connect().await;

    // A version from the future is answered in the first one.
    let future = [&[0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 1, 255, 255][..]].concat();
    c.0.write_all(&future).await.unwrap();
    let mut body = c.frame().await.unwrap();
    ResponseHeader::decode(&mut body, 0).unwrap();
    let versions = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!(versions.error_code, ResponseError::UnsupportedVersion.code());

    c.create("t", 1, &[]).await;
    let group = || GroupId(s("g"));
    for api in &versions.api_keys {
        for v in api.min_version..=api.max_version {
            match ApiKey::try_from(api.api_key).unwrap() {
                ApiKey::ApiVersions => drop(c.call(v, ApiVersionsRequest::default()).await),
                ApiKey::Produce if v < 3 => {}
                ApiKey::Produce => drop(c.call(v, produce("t", batch(1, ANYONE))).await),
                ApiKey::Fetch => {
                    let request = fetch("t", 0, 0);
                    let gone = fr::ForgottenTopic::default()
                        .with_topic(name("t"))
                        .with_partitions(vec![1, 2]);
                    let request = if v >= 7 {
                        request.with_forgotten_topics_data(vec![gone])
                    } else {
                        request
                    };
                    let r = c.call(v, request).await;
                    assert!(!r.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
                }
                ApiKey::ListOffsets => {
                    let t = lo::ListOffsetsTopic::default()
                        .with_name(name("t"))
                        .with_partitions(vec![lo::ListOffsetsPartition::default().with_timestamp(-1)]);
                    assert!(
                        c.call(v, ListOffsetsRequest::default().with_topics(vec![t]))
                            .await
                            .topics[0]
                            .partitions[0]
                            .offset
                            > 0
                    );
                }
                ApiKey::Metadata => {
                    let t = metadata_request::MetadataRequestTopic::default().with_name(Some(name("t")));
                    assert_eq!(
                        c.call(v, MetadataRequest::default().with_topics(Some(vec![t])))
                            .await
                            .topics[0]
                            .partitions
                            .len(),
                        1
                    );
                }
                ApiKey::FindCoordinator if v < 4 => {
                    drop(c.call(v, FindCoordinatorRequest::default().with_key(s("g"))).await)
                }
                ApiKey::FindCoordinator => {
                    assert_eq!(
                        c.call(
                            v,
                            FindCoordinatorRequest::default().with_coordinator_keys(vec![s("g"), s("h")])
                        )
                        .await
                        .coordinators
                        .len(),
                        2
                    );
                }
                ApiKey::OffsetCommit => {
                    let p = oc::OffsetCommitRequestPartition::default().with_committed_offset(1);
                    let t = oc::OffsetCommitRequestTopic::default()
                        .with_name(name("t"))
                        .with_partitions(vec![p]);
                    let r = OffsetCommitRequest::default()
                        .with_group_id(group())
                        .with_generation_id_or_member_epoch(-1)
                        .with_topics(vec![t]);
                    assert_eq!(c.call(v, r).await.topics[0].partitions[0].error_code, 0);
                }
                ApiKey::OffsetFetch if v < 8 => {
                    let t = offset_fetch_request::OffsetFetchRequestTopic::default()
                        .with_name(name("t"))
                        .with_partition_indexes(vec![0, 1]);
                    let r = c
                        .call(
                            v,
                            OffsetFetchRequest::default()
                                .with_group_id(group())
                                .with_topics(Some(vec![t])),
                        )
                        .await;
                    assert_eq!(r.topics[0].partitions[0].committed_offset, 1);
                }
                ApiKey::OffsetFetch => {
                    let t = offset_fetch_request::OffsetFetchRequestTopics::default()
                        .with_name(name("t"))
                        .with_partition_indexes(vec![0]);
                    let g = offset_fetch_request::OffsetFetchRequestGroup::default()
                        .with_group_id(group())
                        .with_topics(Some(vec![t]));
                    assert_eq!(
                        c.call(v, OffsetFetchRequest::default().with_groups(vec![g]))
                            .await
                            .groups[0]
                            .topics[0]
                            .partitions[0]
                            .committed_offset,
                        1
                    );
                }
                ApiKey::JoinGroup => {
                    let p = join_group_request::JoinGroupRequestProtocol::default()
                        .with_name(s("range"))
                        .with_metadata(Bytes::from_static(b"m"));
                    let r = JoinGroupRequest::default()
                        .with_group_id(group())
                        .with_session_timeout_ms(6000)
                        .with_member_id(s("stranger"));
                    let r = c
                        .call(v, r.with_protocol_type(s("consumer")).with_protocols(vec![p]))
                        .await;
                    assert_eq!(r.error_code, ResponseError::UnknownMemberId.code());
                }
                ApiKey::SyncGroup => {
                    let a = sync_group_request::SyncGroupRequestAssignment::default()
                        .with_member_id(s("m"))
                        .with_assignment(Bytes::from_static(b"a"));
                    let r = c
                        .call(
                            v,
                            SyncGroupRequest::default()
                                .with_group_id(group())
                                .with_member_id(s("m"))
                                .with_assignments(vec![a]),
                        )
                        .await;
                    assert_eq!(r.error_code, ResponseError::UnknownMemberId.code());
                }
                ApiKey::Heartbeat => drop(
                    c.call(
                        v,
                        HeartbeatRequest::default()
                            .with_group_id(group())
                            .with_member_id(s("m")),
                    )
                    .await,
                ),
                ApiKey::LeaveGroup if v < 3 => drop(
                    c.call(
                        v,
                        LeaveGroupRequest::default()
                            .with_group_id(group())
                            .with_member_id(s("m")),
                    )
                    .await,
                ),
                ApiKey::LeaveGroup => {
                    let m = leave_group_request::MemberIdentity::default().with_member_id(s("m"));
                    drop(
                        c.call(
                            v,
                            LeaveGroupRequest::default()
                                .with_group_id(group())
                                .with_members(vec![m]),
                        )
                        .await,
                    );
                }
                ApiKey::DescribeGroups => {
                    assert_eq!(
                        &*c.call(v, DescribeGroupsRequest::default().with_groups(vec![group(), group()]))
                            .await
                            .groups[0]
                            .group_state,
                        "Empty"
                    );
                }
                ApiKey::ListGroups => {
                    let filter = if v >= 4 { vec![s("Empty")] } else { vec![] };
                    assert_eq!(
                        c.call(v, ListGroupsRequest::default().with_states_filter(filter))
                            .await
                            .groups
                            .len(),
                        1
                    );
                }
                ApiKey::DeleteGroups => {
                    let r = c
                        .call(
                            v,
                            DeleteGroupsRequest::default().with_groups_names(vec![GroupId(s("nobody"))]),
                        )
                        .await;
                    assert_eq!(r.results[0].error_code, ResponseError::GroupIdNotFound.code());
                }
                ApiKey::CreateTopics => {
                    let a = ct::CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
                    let k = ct::CreatableTopicConfig::default()
                        .with_name(s("retention.ms"))
                        .with_value(Some(s("1000")));
                    let t = ct::CreatableTopic::default()
                        .with_name(name(&format!("c{v}")))
                        .with_num_partitions(-1)
                        .with_replication_factor(-1);
                    let r = c
                        .call(
                            v,
                            CreateTopicsRequest::default()
                                .with_topics(vec![t.with_assignments(vec![a]).with_configs(vec![k])]),
                        )
                        .await;
                    assert_eq!(r.topics[0].error_code, 0);
                }
                ApiKey::CreatePartitions => {
                    let a = create_partitions_request::CreatePartitionsAssignment::default()
                        .with_broker_ids(vec![BrokerId(1)]);
                    let t = create_partitions_request::CreatePartitionsTopic::default()
                        .with_name(name("t"))
                        .with_count(9)
                        .with_assignments(Some(vec![a]));
                    let r = c
                        .call(
                            v,
                            CreatePartitionsRequest::default()
                                .with_validate_only(true)
                                .with_topics(vec![t]),
                        )
                        .await;
                    assert_eq!(r.results[0].error_code, 0);
                }
                ApiKey::DeleteRecords => {
                    let p = delete_records_request::DeleteRecordsPartition::default().with_offset(1);
                    let t = delete_records_request::DeleteRecordsTopic::default()
                        .with_name(name("t"))
                        .with_partitions(vec![p]);
                    let r = c.call(v, DeleteRecordsRequest::default().with_topics(vec![t])).await;
                    assert_eq!(r.topics[0].partitions[0].low_watermark, 1);
                }
                ApiKey::DescribeConfigs => {
                    let r = describe_configs_request::DescribeConfigsResource::default()
                        .with_resource_type(2)
                        .with_resource_name(s("t"));
                    let r = r.with_configuration_keys(Some(vec![s("retention.ms"), s("cleanup.policy")]));
                    assert_eq!(
                        c.call(v, DescribeConfigsRequest::default().with_resources(vec![r]))
                            .await
                            .results[0]
                            .configs
                            .len(),
                        2
                    );
                }
                ApiKey::InitProducerId => {
                    let r = c
                        .call(
                            v,
                            InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(s("tx")))),
                        )
                        .await;
                    assert_eq!(r.error_code, ResponseError::TransactionalIdAuthorizationFailed.code());
                }
                ApiKey::DeleteTopics => {
                    let r = c
                        .call(
                            v,
                            DeleteTopicsRequest::default().with_topic_names(vec![name("nothing")]),
                        )
                        .await;
                    assert_eq!(r.responses[0].error_code, ResponseError::UnknownTopicOrPartition.code());
                }
                other => panic!("{other:?} is advertised but not tried here"),
            }
        }
    }
    broker.stop().await;
}
