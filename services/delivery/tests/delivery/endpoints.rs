use secrecy::{ExposeSecret, SecretString};
use tidings_delivery::endpoints::{EndpointError, Reencrypted, ensure_default, list, reencrypt, remove};
use tidings_domain::{EndpointId, WebhookEndpoint, WebhookUrl};
use tidings_testkit::{Behavior, WebhookReceiver, eventually};
use tidings_vault::Vault;

use crate::receivers::Gate;
use crate::stage::{on_each_database, vault};

const URL: &str = "http://127.0.0.1:1/hook";

fn url() -> WebhookUrl {
    URL.parse().unwrap()
}

/// What an endpoint's secret is, as the service finds it out.
fn opened(endpoint: &WebhookEndpoint) -> String {
    let owner = format!("webhook-endpoint/{}", endpoint.id);
    let secret = vault().open(&owner, &endpoint.secret).unwrap();
    secret.expose_secret().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_endpoint_is_what_the_settings_say() {
    on_each_database(async |stage| {
        let ensure = async |url: &str, secret: &str| {
            let (url, secret) = (url.parse().unwrap(), SecretString::from(secret));
            ensure_default(&stage.db, &stage.clock, &vault(), &url, &secret)
                .await
                .unwrap()
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
        assert_eq!((&kept.url.to_string()[..], &opened(kept)[..]), ("http://b/", "another"));
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
        let refused = ensure_default(&stage.db, &stage.clock, &vault(), &url(), &unfit).await;
        assert!(matches!(refused, Err(EndpointError::Secret(_))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_come_and_go_with_an_event_each() {
    on_each_database(async |stage| {
        let (added, secret) = stage.add(URL, None, "*").await.unwrap();
        let key = secret.expose_secret().strip_prefix("whsec_").unwrap();
        let (_, other) = stage.add(URL, None, "*").await.unwrap();
        assert_ne!(secret.expose_secret(), other.expose_secret());
        assert_eq!(key.len(), 44);
        assert!(!added.secret.as_stored().contains(key), "it is kept encrypted");
        assert_eq!(opened(&added), secret.expose_secret());
        let (given, secret) = stage.add(URL, Some("mine"), "*").await.unwrap();
        assert_eq!((&opened(&given)[..], secret.expose_secret()), ("mine", "mine"));
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
        let types = "tidings.message.queued,tidings.message.sent";
        let error = stage.add(URL, None, types).await.unwrap_err().to_string();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_would_never_be_called_is_refused_with_the_reason() {
    on_each_database(async |stage| {
        for (url, reason) in [
            ("http://10.0.0.1/hook", "10.0.0.1 is outside the networks"),
            ("http://169.254.169.254/latest/meta-data", "169.254.169.254 is outside"),
            ("http://[::ffff:10.0.0.1]/hook", "::ffff:10.0.0.1 is outside"),
            ("http://0x0a000001/hook", "10.0.0.1 is outside"),
        ] {
            let error = stage.add(url, None, "*").await.unwrap_err().to_string();
            assert!(
                error.starts_with("the URL cannot be used") && error.contains(reason),
                "{url}: {error}"
            );
        }
        // A name that nobody knows today may be known tomorrow.
        assert!(stage.add("http://nobody.invalid/hook", None, "*").await.is_ok());
        assert_eq!(list(&stage.db).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_from_before_and_those_of_an_old_key_are_encrypted_anew() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        let default = stage.default_endpoint(&receiver.url()).await;
        let types = "tidings.contact.created";
        let (other, _) = stage.add(URL, Some("mine"), types).await.unwrap();
        let plain = "UPDATE webhook_endpoints SET secret = 'mySecret' WHERE id = 'default'";
        assert_eq!(stage.database.tamper(plain).await, 1);
        assert_eq!(
            stage.default_endpoint(&receiver.url()).await.version,
            default.version,
            "it is the same secret"
        );

        // What is in the clear works.
        let service = stage.run("0s,50ms");
        stage.send().await;
        stage.deliveries_become("delivered 1").await;
        service.stop().await;

        let done = |anew, before| Reencrypted {
            anew,
            before,
            unreadable: Vec::new(),
        };
        assert_eq!(reencrypt(&stage.db, &vault()).await.unwrap(), done(1, 1));
        assert_eq!(reencrypt(&stage.db, &vault()).await.unwrap(), done(0, 2));
        let keys = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let both = Vault::from_text(&keys.into()).unwrap();
        let new = Vault::from_text(&keys.split(',').next().unwrap().into()).unwrap();
        let old_only = reencrypt(&stage.db, &new).await.unwrap();
        assert_eq!(
            (old_only.anew, old_only.unreadable.len()),
            (0, 2),
            "the old key is needed once more"
        );
        remove(&stage.db, &stage.clock, &other.id).await.unwrap();
        assert_eq!(
            reencrypt(&stage.db, &both).await.unwrap(),
            done(2, 0),
            "also those of removed endpoints"
        );
        assert_eq!(reencrypt(&stage.db, &new).await.unwrap(), done(0, 2));
        let [kept] = &list(&stage.db).await.unwrap()[..] else {
            panic!("one endpoint")
        };
        let secret = new.open("webhook-endpoint/default", &kept.secret).unwrap();
        assert_eq!((secret.expose_secret(), kept.version), ("mySecret", default.version));
        if stage.database.name == "PostgreSQL" {
            assert!(!stage.database.contents().await.contains("mySecret"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_does_not_open_stops_nobody_else() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.default_endpoint(&receiver.url()).await;
        let (foreign, _) = stage
            .add(&receiver.url(), None, "tidings.message.queued")
            .await
            .unwrap();
        // Sealed for another row.
        let moved = "UPDATE webhook_endpoints SET secret = \
                     (SELECT secret FROM webhook_endpoints WHERE id = 'default') WHERE id <> 'default'";
        assert_eq!(stage.database.tamper(moved).await, 1);
        let service = stage.run("0s,50ms");
        let (_, event) = stage.send().await;
        stage.deliveries_become("delivered 1, failed 1").await;
        service.stop().await;
        let attempts = stage.attempts(event, &foreign.id).await;
        let shown = format!("{attempts:?}");
        assert!(shown.contains("belongs to something else"), "{shown}");
    })
    .await;
}
