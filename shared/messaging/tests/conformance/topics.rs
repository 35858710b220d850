use std::time::Duration;

use tidings_events::TOPICS;
use tidings_messaging::{TopicsError, topics};

use crate::broker::on_each_broker;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn missing_topics_are_created_and_others_left_alone() {
    on_each_broker(async |broker| {
        topics::ensure(&broker.connection, TOPICS).await.unwrap();
        topics::ensure(&broker.connection, TOPICS).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_too_few_partitions_is_refused() {
    on_each_broker(async |broker| {
        let topic = broker.topic(2).await;
        let refused = topics::ensure_named(&broker.connection, &topic, 3, DAY)
            .await
            .unwrap_err();
        assert!(
            matches!(
                refused,
                TopicsError::TooFewPartitions {
                    found: 2,
                    expected: 3,
                    ..
                }
            ),
            "{refused:?}"
        );
        assert!(!refused.is_temporary());
        assert!(refused.to_string().contains(&topic), "{refused}");
        topics::ensure_named(&broker.connection, &topic, 1, DAY).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_can_be_ensured_by_many_at_once() {
    on_each_broker(async |broker| {
        let name = format!("test-{}", uuid::Uuid::new_v4());
        let ensure = || topics::ensure_named(&broker.connection, &name, 3, DAY);
        let (a, b, c) = tokio::join!(ensure(), ensure(), ensure());
        a.and(b).and(c).unwrap();
    })
    .await;
}
