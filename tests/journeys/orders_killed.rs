//! A thousand orders, while whoever tells users about them is killed five times. Each order is for a user of its
//! own, so that the provider alone can tell what came of it: whatever it is sent about one order must come under
//! one key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;
use tidings_domain::{
    ChannelName, Clock, EmailAddress, NewUser, NotificationStatus, PasswordHash, PersonName, PhoneNumber,
    PostalAddress, SystemClock, UserChange, UserId,
};
use tidings_storage::notifications::{self, NotificationFilter};
use tidings_storage::{Db, Error, users};
use tidings_testkit::{
    Behavior, ProviderSink, TestDatabase, TestKafka, TestProcess, TestStack, WebhookReceiver, backends,
    eventually_within,
};

use crate::TIDINGS;

const ORDERS: usize = 1_000;
const KILLS: usize = 5;
/// Orders that are under way at the same time.
const CLERKS: usize = 8;
/// How soon everybody must have been told after the last kill. Leases of a service that was killed last a minute.
const QUIET: Duration = Duration::from_secs(240);
const TOKEN: &str = "a-token-for-tests";

/// The provider's side of the settings, and attempts that bear a busy machine.
fn settings(provider: &ProviderSink) -> [(&'static str, String); 6] {
    [
        ("EMAIL_PROVIDER_URL", provider.url()),
        ("EMAIL_PROVIDER_TOKEN", TOKEN.to_owned()),
        ("SMS_PROVIDER_URL", provider.url()),
        ("SMS_PROVIDER_TOKEN", TOKEN.to_owned()),
        ("TIDINGS_ATTEMPT_TIMEOUT", "10s".to_owned()),
        ("TIDINGS_RETRY_SCHEDULE", "0s,1s,1s,2s,2s,5s,5s,5s".to_owned()),
    ]
}

fn email(number: usize) -> String {
    format!("customer-{number}@example.com")
}

fn phone(number: usize) -> String {
    format!("+4179000{number:04}")
}

/// Every second one orders what is told by SMS.
fn by_sms(number: usize) -> bool {
    number % 2 == 1
}

/// Users past the API, whose passwords would take minutes to hash. They are not what is tried here.
async fn populate(db: &Db) -> Vec<UserId> {
    let inserted = db.write::<_, Error, _>(|tx| {
        Box::pin(async move {
            let mut ids = Vec::with_capacity(ORDERS);
            for number in 0..ORDERS {
                let new = NewUser {
                    first_name: PersonName::parse("Customer").unwrap(),
                    last_name: PersonName::parse(number.to_string()).unwrap(),
                    email: EmailAddress::parse(email(number)).unwrap(),
                    password: PasswordHash::new("none".to_owned()),
                    address: PostalAddress::default(),
                    created_at: SystemClock.now(),
                };
                let id = users::insert(tx, new).await?.unwrap().id;
                let change = UserChange {
                    phone: Some(Some(PhoneNumber::parse(phone(number)).unwrap())),
                    ..UserChange::default()
                };
                users::update(tx, id, &change).await?.unwrap();
                ids.push(id);
            }
            Ok(ids)
        })
    });
    inserted.await.unwrap()
}

/// Places an order for each user, again until it is acknowledged: whoever takes them may be killed meanwhile.
async fn place_all(client: &reqwest::Client, url: &str, users: &[UserId]) {
    let clerks = (0..CLERKS).map(async |clerk| {
        for (number, user) in users.iter().enumerate().skip(clerk).step_by(CLERKS) {
            place(client, url, number, *user).await;
        }
    });
    join_all(clerks).await;
}

async fn place(client: &reqwest::Client, url: &str, number: usize, user: UserId) {
    let sequencing = if by_sms(number) {
        "whole-exome-sequencing"
    } else {
        "targeted-sequencing"
    };
    let lines = [
        "delivery_name",
        "first_line",
        "second_line",
        "town",
        "postcode",
        "country",
    ];
    let shipping: serde_json::Value = lines.iter().map(|line| ((*line).to_owned(), json!("x"))).collect();
    let body = json!({"user_id": user, "sequencing_type": sequencing, "shipping_info": shipping});
    eventually_within(QUIET, "an order is taken", async || {
        let request = client.post(url).header("Idempotency-Key", format!("order-{number}"));
        match request.json(&body).send().await {
            Ok(answer) if answer.status() == 201 => Ok(()),
            Ok(answer) => Err(answer.status().to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

/// Waits until the provider has been called so often in all.
async fn called(provider: &ProviderSink, times: usize) {
    eventually_within(QUIET, "the provider is called", async || match provider.calls().len() {
        calls if calls >= times => Ok(()),
        calls => Err(calls),
    })
    .await;
}

/// How many calls there are to be before a kill: they are spread over the run, and come in the middle of things.
fn calls_before(kill: usize) -> usize {
    kill * ORDERS / (KILLS + 2)
}

/// Waits until everybody was told, and balances the books.
async fn everyone_was_told_under_one_key(db: &Db, provider: &ProviderSink, where_: &str, began: Instant) {
    let told = eventually_within(QUIET, "everybody is told", async || {
        let all = notifications::list(db.read(), NotificationFilter::default(), 2 * ORDERS as u64);
        let all = all.await.unwrap();
        let sent = all.iter().filter(|one| one.status == NotificationStatus::Sent).count();
        match sent == ORDERS {
            true => Ok(all),
            false => Err((sent, all.len())),
        }
    })
    .await;
    assert_eq!(told.len(), ORDERS, "one notification for each order");
    let orders: BTreeSet<_> = told.iter().map(|one| one.order.unwrap()).collect();
    assert_eq!(orders.len(), ORDERS);

    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let calls = provider.calls();
    for call in &calls {
        let recipient = call.json()["recipient"].as_str().unwrap().to_owned();
        assert!(!call.id.is_empty(), "a call without a key: {call:?}");
        keys.entry(recipient).or_default().insert(call.id.clone());
    }
    let expected: BTreeSet<_> = (0..ORDERS)
        .map(|number| if by_sms(number) { phone(number) } else { email(number) })
        .collect();
    assert_eq!(
        keys.keys().cloned().collect::<BTreeSet<_>>(),
        expected,
        "none is missing"
    );
    let several: Vec<_> = keys.iter().filter(|(_, keys)| keys.len() != 1).collect();
    assert!(several.is_empty(), "under several keys: {several:?}");
    let known: BTreeSet<_> = told.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(keys.into_values().flatten().collect::<BTreeSet<_>>(), known);
    for channel in ChannelName::ALL {
        assert_eq!(notifications::backlog(db.read(), *channel).await.unwrap().pending, 0);
    }
    eprintln!(
        "{where_}: {ORDERS} orders, {KILLS} kills, {} calls in {} s; {} came again, each under its key",
        calls.len(),
        began.elapsed().as_secs(),
        calls.len() - ORDERS,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_kills_the_stack_everyone_is_told_under_one_key() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let provider = ProviderSink::start(TOKEN, Behavior::Acknowledge).await;
    let settings = settings(&provider);
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, &value[..])).collect();
    let mut stack = TestStack::start(TIDINGS, &receiver.url(), &settings).await;
    let began = Instant::now();
    let users = populate(&stack.database().await).await;
    let (client, url) = (stack.client().clone(), stack.url("/orders"));
    let killing = async {
        for kill in 1..=KILLS {
            called(&provider, calls_before(kill)).await;
            stack.kill().await;
            stack.up().await;
        }
    };
    tokio::join!(place_all(&client, &url, &users), killing);
    let db = stack.database().await;
    everyone_was_told_under_one_key(&db, &provider, "embedded", began).await;
    stack.finish().await;
}

/// The processes of their own, on external parts.
struct Alone<'a> {
    settings: &'a BTreeMap<String, String>,
    folder: &'a Path,
}

impl Alone<'_> {
    async fn start(&self, role: &str) -> TestProcess {
        let mut process = TestProcess::spawn(TIDINGS, &[role], self.folder, self.settings);
        process.says("health and metrics on http://").await;
        process
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_kills_the_notifier_everyone_is_told_under_one_key() {
    let (Some(admin), Some(brokers)) = (backends::postgres(), backends::kafka()) else {
        return;
    };
    let kafka = TestKafka::exclusive(&brokers).await;
    let database = TestDatabase::postgres(&admin).await;
    let provider = ProviderSink::start(TOKEN, Behavior::Acknowledge).await;
    let folder = TempDir::new().unwrap();
    let mut all: BTreeMap<String, String> = settings(&provider)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (name, value) in [
        ("DATABASE_URL", database.url()),
        ("KAFKA_BROKERS", kafka.brokers().to_owned()),
        ("TIDINGS_LISTEN", "127.0.0.1:0".to_owned()),
        ("TIDINGS_OPS_LISTEN", "127.0.0.1:0".to_owned()),
        (
            "TIDINGS_ENCRYPTION_KEY",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
        ),
    ] {
        all.insert(name.to_owned(), value);
    }
    let alone = Alone {
        settings: &all,
        folder: folder.path(),
    };
    let began = Instant::now();
    let users = populate(&database.db).await;
    let gateway = alone.start("gateway").await;
    let said = gateway.output();
    let (_, api) = said.split_once("API on ").unwrap();
    let url = format!("{}/orders", api.split_whitespace().next().unwrap());
    tidings_runtime::http_client::install_crypto_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let killing = async {
        let mut notifier = alone.start("notifier").await;
        for kill in 1..=KILLS {
            called(&provider, calls_before(kill)).await;
            notifier.kill().await;
            notifier = alone.start("notifier").await;
        }
        notifier
    };
    let ((), notifier) = tokio::join!(place_all(&client, &url, &users), killing);
    everyone_was_told_under_one_key(&database.db, &provider, "separate processes", began).await;
    for process in [notifier, gateway] {
        let (status, said) = process.stop().await;
        assert!(status.success(), "{status}:\n{said}");
    }
}
