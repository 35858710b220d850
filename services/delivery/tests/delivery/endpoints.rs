use secrecy::{ExposeSecret, SecretString};
use tidings_delivery::endpoints::{EndpointError, add, ensure_default, list, remove};
use tidings_domain::{EndpointId, EventTypes, WebhookUrl};
use tidings_testkit::{Behavior, WebhookReceiver, eventually};

use crate::receivers::Gate;
use crate::stage::on_each_database;

fn url() -> WebhookUrl {
    "http://127.0.0.1:1/hook".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_endpoint_is_what_the_settings_say() {
    on_each_database(async |stage| {
        let ensure = async |url: &str, secret: &str| {
            let (url, secret) = (url.parse().unwrap(), SecretString::from(secret));
            ensure_default(&stage.db, &stage.clock, &url, &secret).await.unwrap()
        };
        // Two processes that start at once.
        let (one, two) = tokio::join!(ensure("http://a/", "secret"), ensure("http://a/", "secret"));
        assert_eq!((one.version, two.version), (1, 1));
        assert_eq!(ensure("http://a/", "secret").await.version, 1);
        assert_eq!(ensure("http://b/", "secret").await.version, 2);
        assert_eq!(ensure("http://b/", "another").await.version, 3);
        let [kept] = &list(&stage.db).await.unwrap()[..] else {
            panic!("one endpoint")
        };
        assert_eq!(
            (kept.url.to_string().as_str(), kept.secret.expose_secret()),
            ("http://b/", "another")
        );
        assert_eq!(kept.created_at, one.created_at);
        assert_eq!(
            stage.history("default").await,
            [
                "tidings.webhook-endpoint.created",
                "tidings.webhook-endpoint.updated",
                "tidings.webhook-endpoint.updated"
            ]
        );
        let unfit = SecretString::from("whsec_!");
        let refused = ensure_default(&stage.db, &stage.clock, &url(), &unfit).await;
        assert!(matches!(refused, Err(EndpointError::Secret(_))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_come_and_go_with_an_event_each() {
    on_each_database(async |stage| {
        let added = add(&stage.db, &stage.clock, url(), None, EventTypes::All)
            .await
            .unwrap();
        let key = added.secret.expose_secret().strip_prefix("whsec_").unwrap();
        let other = add(&stage.db, &stage.clock, url(), None, EventTypes::All)
            .await
            .unwrap();
        assert_ne!(key, other.secret.expose_secret());
        assert_eq!(key.len(), 44);
        let given = add(&stage.db, &stage.clock, url(), Some("mine".into()), EventTypes::All);
        assert_eq!(given.await.unwrap().secret.expose_secret(), "mine");
        assert_eq!(list(&stage.db).await.unwrap().len(), 3);

        remove(&stage.db, &stage.clock, &added.id).await.unwrap();
        assert_eq!(list(&stage.db).await.unwrap().len(), 2);
        assert_eq!(
            stage.history(added.id.as_str()).await,
            ["tidings.webhook-endpoint.created", "tidings.webhook-endpoint.deleted"]
        );
        let again = remove(&stage.db, &stage.clock, &added.id).await;
        assert!(matches!(again, Err(EndpointError::Unknown(_))));
        let default = remove(&stage.db, &stage.clock, &EndpointId::default_endpoint()).await;
        assert!(matches!(default, Err(EndpointError::Default)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_type_that_does_not_exist_is_refused_with_those_that_do() {
    on_each_database(async |stage| {
        let types = "tidings.message.queued,tidings.message.sent".parse().unwrap();
        let error = add(&stage.db, &stage.clock, url(), None, types)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no event type tidings.message.sent;"), "{error}");
        assert!(error.contains("tidings.contact.created, "), "{error}");
        assert!(list(&stage.db).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_endpoint_is_owed_is_canceled() {
    on_each_database(async |stage| {
        let default = WebhookReceiver::start(Behavior::Acknowledge).await;
        let slow = Gate::holding(1).await;
        stage.default_endpoint(&default.url()).await;
        let endpoint = stage.endpoint(slow.url()).await;
        let service = stage.run("0s,50ms");
        let (_, event) = stage.send().await;
        slow.has(1).await;
        stage.deliveries_become("delivered 1, pending 1").await;
        remove(&stage.db, &stage.clock, &endpoint.id).await.unwrap();
        assert_eq!(stage.deliveries().await, "canceled 1, delivered 1");
        // The attempt that was under way changes nothing any more.
        slow.open(500);
        service.stop().await;
        assert_eq!(stage.deliveries().await, "canceled 1, delivered 1");
        assert!(stage.attempts(event, &endpoint.id).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_endpoint_is_told_of_what_happens_from_now_on() {
    on_each_database(async |stage| {
        // On its topic before there is anyone to tell.
        let (old, _) = stage.send().await;
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        let endpoint = stage.endpoint_for(&receiver.url(), "*").await;
        let (new, _) = stage.send().await;
        let service = stage.run("0s,50ms");
        let subjects = eventually("two events arrive", async || {
            let received = receiver.received();
            let subjects: Vec<_> = received
                .iter()
                .map(|it| it.header("ce-subject").unwrap().to_owned())
                .collect();
            if subjects.contains(&new.id.to_string()) && subjects.contains(&endpoint.id.to_string()) {
                Ok(subjects)
            } else {
                Err(subjects)
            }
        })
        .await;
        assert!(!subjects.contains(&old.id.to_string()));
        service.stop().await;
        assert_eq!(stage.deliveries().await, "delivered 2");
    })
    .await;
}
