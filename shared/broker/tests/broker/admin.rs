//! Administration by librdkafka.

use rdkafka::admin::{
    AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::producer::FutureRecord;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{DEADLINE, Running, receive};

fn topic(name: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

fn code(results: Vec<TopicResult>) -> Option<Code> {
    results.into_iter().next().unwrap().err().map(|(_, code)| code)
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_grown_described_and_deleted() {
    let broker = Running::start().await;
    let (admin, options) = (broker.admin(), AdminOptions::new());
    let create = async |topic: NewTopic<'_>| code(admin.create_topics([&topic], &options).await.unwrap());
    let count = |name: &str| {
        let metadata = admin.inner().fetch_metadata(None, DEADLINE).unwrap();
        metadata
            .topics()
            .iter()
            .find(|t| t.name() == name)
            .map_or(0, |t| t.partitions().len())
    };
    let retained = topic("t", 3)
        .set("retention.ms", "86400000")
        .set("retention.bytes", "1048576");
    assert_eq!(create(retained).await, None);
    assert_eq!(count("t"), 3);
    assert_eq!(create(topic("t", 3)).await, Some(Code::TopicAlreadyExists));
    assert_eq!(create(topic("no/name", 1)).await, Some(Code::InvalidTopic));
    assert_eq!(create(topic("many", 1001)).await, Some(Code::InvalidPartitions));
    assert_eq!(
        create(topic("odd", 1).set("retention.ms", "soon")).await,
        Some(Code::InvalidConfig)
    );
    let replicated = NewTopic::new("replicated", 1, TopicReplication::Fixed(3));
    assert_eq!(create(replicated).await, Some(Code::InvalidReplicationFactor));

    let resource = [ResourceSpecifier::Topic("t")];
    let described = admin
        .describe_configs(&resource, &options)
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let value = |name: &str| described.get(name).unwrap().value.clone().unwrap();
    assert_eq!(
        (value("retention.ms"), value("retention.bytes")),
        ("86400000".to_owned(), "1048576".to_owned())
    );

    let grow = async |n| {
        code(
            admin
                .create_partitions([&NewPartitions::new("t", n)], &options)
                .await
                .unwrap(),
        )
    };
    assert_eq!(grow(5).await, None);
    assert_eq!(count("t"), 5);
    assert_eq!(grow(2).await, Some(Code::InvalidPartitions));
    let producer = broker.producer(&[]);
    let record = FutureRecord::<str, str>::to("t").partition(4).payload("x");
    assert_eq!(producer.send(record, Timeout::Never).await.unwrap().partition, 4);

    let broker = broker.restart().await;
    assert_eq!(count("t"), 5, "topics survive a restart");
    assert_eq!(code(admin.delete_topics(&["t"], &options).await.unwrap()), None);
    assert_eq!(count("t"), 0);
    assert_eq!(
        code(admin.delete_topics(&["t"], &options).await.unwrap()),
        Some(Code::UnknownTopicOrPartition)
    );
    assert_eq!(create(topic("t", 1)).await, None);
    let record = FutureRecord::<str, str>::to("t").partition(0).payload("x");
    assert_eq!(
        producer.send(record, Timeout::Never).await.unwrap().offset,
        0,
        "it has nothing of the old one"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_and_deleted_and_records_too() {
    let broker = Running::start().await;
    let (admin, options) = (broker.admin(), AdminOptions::new());
    let producer = broker.producer(&[]);
    for _ in 0..3 {
        producer
            .send(FutureRecord::<str, str>::to("t").payload("x"), Timeout::Never)
            .await
            .unwrap();
    }
    let member = broker.consumer("g", &[("client.id", "probe")]);
    member.subscribe(&["t"]).unwrap();
    receive(&member, 3).await;
    member.commit_consumer_state(CommitMode::Sync).unwrap();
    let state = || {
        let list = admin.inner().fetch_group_list(Some("g"), DEADLINE).unwrap();
        let group = &list.groups()[0];
        (
            group.state().to_owned(),
            group
                .members()
                .iter()
                .map(|m| m.client_id().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(state(), ("Stable".to_owned(), vec!["probe".to_owned()]));
    let delete = async || {
        admin
            .delete_groups(&["g"], &options)
            .await
            .unwrap()
            .remove(0)
            .map_err(|(_, code)| code)
    };
    assert_eq!(delete().await.unwrap_err(), Code::NonEmptyGroup);
    drop(member);
    assert_eq!(state(), ("Empty".to_owned(), vec![]));
    delete().await.unwrap();
    assert_eq!(delete().await.unwrap_err(), Code::GroupIdNotFound);

    let mut before = TopicPartitionList::new();
    before.add_partition_offset("t", 0, Offset::Offset(2)).unwrap();
    admin.delete_records(&before, &options).await.unwrap();
    let again = broker.consumer("g", &[]);
    again.subscribe(&["t"]).unwrap();
    use rdkafka::Message;
    assert_eq!(
        receive(&again, 1).await[0].offset(),
        2,
        "neither position nor older records are left"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_cannot_be_altered() {
    let broker = Running::start().await;
    let (admin, options) = (broker.admin(), AdminOptions::new());
    admin.create_topics([&topic("t", 1)], &options).await.unwrap();
    let alter = AlterConfig::new(ResourceSpecifier::Topic("t")).set("retention.ms", "1");
    let refused = admin.alter_configs([&alter], &options).await;
    assert!(refused.is_err() || refused.unwrap()[0].is_err());
    broker.stop().await;
}
