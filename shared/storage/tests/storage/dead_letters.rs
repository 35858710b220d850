use bytes::Bytes;
use tidings_domain::{Clock, new_id};
use tidings_events::RawRecord;
use tidings_storage::{Error, dead_letters as rows};
use tidings_testkit::databases;

use crate::CLOCK;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_kept_whole_and_once() {
    for test in databases().await {
        let db = &test.db;
        let record = RawRecord {
            topic: "messages-events".into(),
            partition: 2,
            offset: 7,
            key: Some(Bytes::from_static(b"\x00\xff")),
            value: None,
            headers: vec![("ce_id".into(), Bytes::from_static(b"\x00not text\xfe"))],
        };
        let same_place = RawRecord {
            value: Some(Bytes::from_static(b"x")),
            ..record.clone()
        };
        for record in [&record, &record, &same_place] {
            let record = record.clone();
            db.write::<_, Error, _>(move |tx| {
                Box::pin(async move {
                    rows::insert(tx, new_id(&CLOCK), "delivery", &record, "no such\0type", CLOCK.now()).await
                })
            })
            .await
            .unwrap();
        }
        let kept = rows::list(db.read(), 10).await.unwrap();
        assert_eq!(
            kept.len(),
            2,
            "{}: of a topic that was made anew, the offset counts again",
            test.name
        );
        assert_eq!(
            (&kept[0].record, &kept[0].consumer[..]),
            (&record, "delivery"),
            "{}",
            test.name
        );
        assert_eq!(
            rows::find(db.read(), kept[0].id).await.unwrap().as_ref(),
            Some(&kept[0])
        );

        let id = kept[0].id;
        db.write::<_, Error, _>(move |tx| Box::pin(rows::mark_replayed(tx, id, CLOCK.now())))
            .await
            .unwrap();
        assert_eq!(rows::count(db.read()).await.unwrap(), 1, "{}", test.name);
        assert!(rows::find(db.read(), id).await.unwrap().unwrap().replayed_at.is_some());
    }
}
