//! Who may sign up: what is asked, what is believed, and what becomes of it when nobody answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidings_domain::Country;
use tidings_gateway::Parts;
use tidings_gateway::location::{GeoLocator, Tuning, Unlocated};
use tidings_testkit::{Behavior, Received, TestDatabase, WebhookReceiver, eventually};

use super::{COLLECTION, USERS, user};
use crate::harness::{Answer, TestGateway, locator, send};
use crate::mmdb;

const SWISS: &str = "203.0.113.1";
const FRENCH: &str = "203.0.113.2";
const SPANISH: &str = "2001:db8::3";

/// Answers as ipapi.co does.
fn ipapi() -> Behavior {
    Behavior::Json(Box::new(|question: &Received| {
        let address = question.path.split('/').nth(1).unwrap();
        let (code, name) = match address {
            SWISS => ("CH", "Switzerland"),
            FRENCH => ("FR", "France"),
            SPANISH => ("ES", "Spain"),
            _ => return json!({"ip": address, "error": true, "reason": "Reserved IP Address"}).to_string(),
        };
        json!({"ip": address, "country": code, "country_code": code, "country_name": name, "city": "somewhere"})
            .to_string()
    }))
}

fn url(service: &WebhookReceiver) -> String {
    format!("http://{}/{{ip}}/json/", service.addr())
}

fn paths(service: &WebhookReceiver) -> Vec<String> {
    service.received().into_iter().map(|question| question.path).collect()
}

async fn start(service: &WebhookReceiver, change: impl FnOnce(&mut Parts)) -> TestGateway {
    let located = locator(&url(service), None, Tuning::default());
    TestGateway::start_with(TestDatabase::sqlite().await, |parts| {
        parts.locator = located;
        change(parts);
    })
    .await
}

/// Signs up through proxies that say so.
async fn sign_up(gateway: &TestGateway, forwarded: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = gateway.open(Method::POST, USERS).header("X-Forwarded-For", forwarded);
    send(request.header("content-type", "application/json").body(body)).await
}

fn refused(answer: &Answer, country: &str) {
    let text = format!("Only users located in Switzerland can be created (remote address in {country})");
    assert_eq!((answer.status.as_u16(), answer.detail()), (403, text));
    assert_eq!(answer.header("allow"), Some(COLLECTION));
}

#[tokio::test]
async fn only_who_is_in_switzerland_can_be_created() {
    let service = WebhookReceiver::start(ipapi()).await;
    let gateway = start(&service, |_| ()).await;
    let body = user("Serge", "Karamazov").to_string();
    refused(&sign_up(&gateway, FRENCH, body.clone()).await, "France");
    refused(&sign_up(&gateway, SPANISH, body.clone()).await, "Spain");
    refused(&sign_up(&gateway, "203.0.113.99", body.clone()).await, "Undefined");
    refused(&sign_up(&gateway, "nonsense", body.clone()).await, "Undefined");
    assert_eq!(gateway.user_count().await, 0);
    assert!(gateway.events().await.is_empty());
    let created = sign_up(&gateway, SWISS, body).await;
    assert_eq!(created.status, 201);
    // Everything else can be done from anywhere.
    let path = gateway.path(&created.json());
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let request = gateway.open(method, &path).header("X-Forwarded-For", FRENCH);
        assert!(send(request).await.status.is_success());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn where_somebody_is_comes_before_what_they_send() {
    let service = WebhookReceiver::start(ipapi()).await;
    let gateway = start(&service, |_| ()).await;
    for body in ["{}", "{", "[]", "", &"x".repeat(2 << 20)] {
        refused(&sign_up(&gateway, SPANISH, body.to_owned()).await, "Spain");
    }
    let request = gateway.open(Method::POST, USERS).header("X-Forwarded-For", SPANISH);
    refused(
        &send(request.header("content-type", "text/plain").body("x")).await,
        "Spain",
    );
    // The key, where there must be one, comes before both.
    let closed = start(&service, |parts| parts.open_contracts = false).await;
    assert_eq!(sign_up(&closed, SPANISH, "{}").await.status, 401);
    let request = closed.request(Method::POST, USERS).header("X-Forwarded-For", SPANISH);
    refused(&send(request).await, "Spain");
    gateway.stop().await;
    closed.stop().await;
}

#[tokio::test]
async fn only_trusted_proxies_are_believed() {
    let service = WebhookReceiver::start(ipapi()).await;
    let body = || user("Serge", "Karamazov").to_string();
    // The tests come from 127.0.0.1, whom this one does not trust.
    let distrustful = start(&service, |parts| {
        parts.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]
    })
    .await;
    assert_eq!(sign_up(&distrustful, FRENCH, body()).await.status, 201);
    assert!(service.received().is_empty());
    distrustful.stop().await;

    let gateway = start(&service, |parts| {
        parts.trusted_proxies.push("10.0.0.0/8".parse().unwrap())
    })
    .await;
    refused(
        &sign_up(&gateway, &format!("{SWISS}, {FRENCH}"), body()).await,
        "France",
    );
    refused(
        &sign_up(&gateway, &format!("{SWISS}, {FRENCH}, 10.0.0.1"), body()).await,
        "France",
    );
    refused(
        &sign_up(&gateway, &format!("{SWISS}, [{SPANISH}]:4711"), body()).await,
        "Spain",
    );
    let swiss = format!("{FRENCH}, {SWISS}:4711, 10.0.0.1,127.0.0.1");
    assert_eq!(sign_up(&gateway, &swiss, body()).await.status, 201);
    gateway.stop().await;
}

#[tokio::test]
async fn an_address_is_asked_about_once_and_local_ones_never() {
    let service = WebhookReceiver::start(ipapi()).await;
    let gateway = start(&service, |_| ()).await;
    let addresses = [
        SWISS,
        FRENCH,
        SWISS,
        FRENCH,
        SPANISH,
        "127.0.0.1",
        "10.1.2.3",
        "fd00::1",
        "::1",
        SWISS,
    ];
    let answers = addresses.map(|address| sign_up(&gateway, address, "{}"));
    for answer in futures_util::future::join_all(answers).await {
        assert!(matches!(answer.status.as_u16(), 400 | 403), "{answer:?}");
    }
    for address in addresses {
        sign_up(&gateway, address, "{}").await;
    }
    let mut asked = paths(&service);
    asked.sort();
    assert_eq!(
        asked,
        [SPANISH, SWISS, FRENCH].map(|address| format!("/{address}/json/"))
    );
    let metrics = send(gateway.open(Method::GET, "/metrics")).await;
    for line in [
        "tidings_geoip_lookups_total{source=\"service\",outcome=\"found\"}",
        "tidings_geoip_lookups_total{source=\"cache\",outcome=\"found\"}",
        "tidings_geoip_lookup_duration_seconds_bucket",
        // Of the process: another test's breaker may be open.
        "tidings_geoip_breaker_open ",
    ] {
        assert!(metrics.text().contains(line), "{line} in\n{}", metrics.text());
    }
    gateway.stop().await;

    // Nobody knows where local addresses are unless told.
    let strict = tidings_gateway::location::Locator::new(
        url(&service).into(),
        None,
        None,
        Tuning::default(),
        Arc::new(tidings_domain::SystemClock),
    );
    let strict = start(&service, |parts| parts.locator = Arc::new(strict.unwrap())).await;
    refused(&strict.post(USERS, &json!({})).await, "Undefined");
    strict.stop().await;
}

#[tokio::test]
async fn an_answer_is_good_for_a_while() {
    let service = WebhookReceiver::start(ipapi()).await;
    let brief = Tuning {
        kept: Duration::from_millis(20),
        ..Tuning::default()
    };
    let locator = locator(&url(&service), None, brief);
    let address: IpAddr = SWISS.parse().unwrap();
    eventually("it is asked again", async || {
        assert_eq!(
            locator.locate(address).await.unwrap(),
            Country::from_code("CH").unwrap()
        );
        match service.received().len() {
            0 | 1 => Err("still kept"),
            _ => Ok(()),
        }
    })
    .await;
}

/// However a service fails, sign-ups are refused, and soon without waiting for it.
#[tokio::test]
async fn a_service_that_does_not_answer_is_left_alone() {
    let silent = WebhookReceiver::start(Behavior::Hang).await;
    let dripping = WebhookReceiver::start(Behavior::Drip).await;
    let broken = WebhookReceiver::start(Behavior::Refuse(500)).await;
    let busy = WebhookReceiver::start(Behavior::Refuse(429)).await;
    let nonsense = WebhookReceiver::start(Behavior::Json(Box::new(|_| "<html>".to_owned()))).await;
    for service in [&silent, &dripping, &broken, &busy, &nonsense] {
        let short = Tuning {
            deadline: Duration::from_millis(200),
            ..Tuning::default()
        };
        let located = locator(&url(service), None, short);
        let gateway = start(service, |parts| parts.locator = located).await;
        for number in 0..40 {
            let answer = sign_up(
                &gateway,
                &format!("203.0.113.{number}"),
                user("Serge", "Karamazov").to_string(),
            )
            .await;
            refused(&answer, "Undefined");
        }
        // A question may have been given up before it arrived.
        let asked = service.received().len();
        assert!(
            (1..=3).contains(&asked),
            "{asked}: after three failures nobody asks any more"
        );
        // Those who need not be asked about are none the worse for it.
        assert_eq!(gateway.post(USERS, &user("Odile", "Deray")).await.status, 201);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_service_that_comes_back_is_noticed_by_one_who_tries() {
    let service = WebhookReceiver::start(Behavior::Refuse(500)).await;
    let quick = Tuning {
        deadline: Duration::from_millis(500),
        pause: Duration::from_millis(50),
        ..Tuning::default()
    };
    let locator = locator(&url(&service), None, quick);
    let ask = async |last: u8| locator.locate(IpAddr::from([203, 0, 113, last])).await;
    for _ in 0..3 {
        assert!(matches!(ask(1).await, Err(Unlocated::Unavailable(_))));
    }
    // When the pause is over one question gets through, however many there are.
    service.set(Behavior::Hang);
    let before = service.received().len();
    let tried = eventually("one tries", async || {
        futures_util::future::join_all((2..40).map(ask)).await;
        match service.received().len() - before {
            0 => Err("nobody yet"),
            tried => Ok(tried),
        }
    })
    .await;
    assert_eq!(tried, 1);
    service.set(ipapi());
    eventually("it is asked again", async || ask(1).await).await;
    assert_eq!(ask(2).await.unwrap().name(), "France");
}

#[tokio::test]
async fn a_file_answers_when_the_service_does_not() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("countries.mmdb");
    std::fs::write(
        &path,
        mmdb::file(&[(SWISS, "CH", "Switzerland"), (FRENCH, "FR", "France")]),
    )
    .unwrap();
    let down = WebhookReceiver::start(Behavior::Refuse(503)).await;
    let located = locator(&url(&down), Some(&path), Tuning::default());
    let gateway = start(&down, |parts| parts.locator = located).await;
    for _ in 0..5 {
        refused(&sign_up(&gateway, FRENCH, "{}").await, "France");
        refused(&sign_up(&gateway, "203.0.113.99", "{}").await, "Undefined");
    }
    assert_eq!(down.received().len(), 3);
    assert_eq!(
        sign_up(&gateway, SWISS, user("Serge", "Karamazov").to_string())
            .await
            .status,
        201
    );
    gateway.stop().await;

    // The service goes first.
    let up = WebhookReceiver::start(Behavior::Json(Box::new(|_| json!({"country": "ES"}).to_string()))).await;
    let located = locator(&url(&up), Some(&path), Tuning::default());
    assert_eq!(located.locate(SWISS.parse().unwrap()).await.unwrap().name(), "Spain");

    std::fs::write(&path, "nonsense").unwrap();
    let refused = tidings_gateway::location::Locator::new(
        "http://127.0.0.1:9/{ip}".into(),
        Some(&path),
        None,
        Tuning::default(),
        Arc::new(tidings_domain::SystemClock),
    );
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("GEOIP_DATABASE") && error.contains("countries.mmdb"),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_in_the_url_is_not_shown() {
    let service = WebhookReceiver::start(Behavior::Refuse(403)).await;
    let url = format!("{}?key=hidden", url(&service));
    let locator = locator(&url, None, Tuning::default());
    let error = locator.locate(SWISS.parse().unwrap()).await.unwrap_err();
    let shown = format!("{error} {error:?} {locator:?}");
    assert!(!shown.contains("hidden"), "{shown}");
    assert_eq!(service.received().len(), 1);
}
