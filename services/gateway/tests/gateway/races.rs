use futures_util::future::join_all;
use serde_json::json;

use crate::harness::on_each_database;

#[tokio::test]
async fn of_many_contacts_with_one_phone_one_is_created() {
    on_each_database(async |gateway| {
        let contacts: Vec<_> = (0..20)
            .map(|number| json!({"name": format!("number {number}"), "phone": "+41791234567"}))
            .collect();
        let answers = join_all(contacts.iter().map(|contact| gateway.post("/contacts", contact))).await;
        let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(created.len(), 1);
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(refused.status, 400);
            assert!(refused.error().contains("phone"));
        }
        let listed = gateway.get("/contacts").await.json();
        assert_eq!(listed["contacts"], json!([created[0].json()]));
        assert_eq!(gateway.events().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn of_many_messages_to_a_new_phone_one_creates_the_contact() {
    on_each_database(async |gateway| {
        let message = json!({"from": "+12", "to": {"name": "Ada", "phone": "+41791234567"}, "content": "hello"});
        let answers = join_all((0..20).map(|_| gateway.post("/messages", &message))).await;
        let recipient = answers[0].json()["to"].clone();
        for answer in &answers {
            assert_eq!((answer.status.as_u16(), &answer.json()["to"]), (201, &recipient));
        }
        let types = gateway.event_types().await;
        let count = |name: &str| types.iter().filter(|found| *found == name).count();
        assert_eq!(
            (count("tidings.contact.created"), count("tidings.message.queued")),
            (1, 20)
        );
        assert_eq!(
            gateway.get("/contacts").await.json()["contacts"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    })
    .await;
}

/// Changes of one contact at the same time: each that takes effect has its own version.
#[tokio::test]
async fn changes_of_one_contact_follow_one_another() {
    on_each_database(async |gateway| {
        let contact = gateway.contact("Ada", "+41791234567").await;
        let path = format!("/contacts/{}", contact["id"].as_str().unwrap());
        let changes: Vec<_> = (0..20).map(|number| json!({"name": format!("Ada {number}")})).collect();
        let answers = join_all(changes.iter().map(|change| gateway.patch(&path, change))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let sequences: Vec<_> = gateway.events().await.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=21).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn of_two_changes_to_one_phone_one_is_refused() {
    on_each_database(async |gateway| {
        let mut paths = Vec::new();
        for number in 0..10 {
            let contact = gateway.contact("someone", &format!("+4179000000{number}")).await;
            paths.push(format!("/contacts/{}", contact["id"].as_str().unwrap()));
        }
        let change = json!({"phone": "+41791234567"});
        let answers = join_all(paths.iter().map(|path| gateway.patch(path, &change))).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [[200].as_slice(), [400; 9].as_slice()].concat());
        assert_eq!(gateway.events().await.len(), 11);
    })
    .await;
}
