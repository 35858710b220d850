//! Names that answer otherwise the second time, by a lookup that tests decide about.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidings_domain::SystemClock;
use tidings_runtime::http_client::{Answer, Bytes, CallError, HeaderMap, OutwardClient, Url};
use tidings_runtime::reach::{Names, Reach, Resolver};

use crate::receiver::Receiver;

const AMPLE: Duration = Duration::from_secs(20);

/// Gives one list of addresses after the other, and the last one for ever.
#[derive(Debug)]
struct Changing(Mutex<VecDeque<Vec<IpAddr>>>);

impl Names for Changing {
    fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        };
        Box::pin(async move { Ok(answer) })
    }
}

/// A client for which `127.0.0.1` alone stands for the public, and every name answers like this.
fn client(answers: &[&[&str]]) -> OutwardClient {
    let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
    let names = Changing(Mutex::new(answers.iter().map(parse).collect()));
    let and = vec!["127.0.0.1/32".parse().unwrap()];
    OutwardClient::new(Resolver::new(Reach::Public { and }, Arc::new(names))).unwrap()
}

async fn post(client: &OutwardClient, url: &Url) -> Result<Answer, CallError> {
    client
        .post(url, HeaderMap::new(), Bytes::from_static(b"{}"), AMPLE, &SystemClock)
        .await
}

/// One whose connections are good for one request.
async fn receiver() -> (Receiver, Url) {
    let receiver = Receiver::start(|mut exchange| async move {
        exchange
            .write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;
        None
    })
    .await;
    let url = Url::parse(&format!("http://hooks.example:{}/hook?token=hidden", receiver.port)).unwrap();
    (receiver, url)
}

const INWARDS: [&str; 7] = [
    "127.0.0.2",
    "10.0.0.1",
    "169.254.169.254",
    "::1",
    "::ffff:10.0.0.1",
    "fe80::1",
    "fd00:ec2::254",
];

#[tokio::test]
async fn a_name_that_turns_inwards_after_it_was_judged_is_not_followed() {
    for inwards in INWARDS {
        let (receiver, url) = receiver().await;
        let client = client(&[&["127.0.0.1"], &["127.0.0.1"], &[inwards]]);
        // As when an endpoint is added, and when it is called for the first time.
        client.check(&url).await.unwrap();
        assert_eq!(post(&client, &url).await.unwrap().status, 204);
        let error = post(&client, &url).await.unwrap_err();
        let CallError::Forbidden { address, .. } = &error else {
            panic!("{inwards}: {error}")
        };
        assert_eq!(*address, inwards.parse::<IpAddr>().unwrap());
        assert!(!error.to_string().contains("hidden"), "{error}");
        assert!(client.check(&url).await.is_err(), "{inwards}");
        assert_eq!(receiver.requests(), 1);
    }
}

#[tokio::test]
async fn of_many_addresses_only_those_are_tried_that_may_be() {
    let (receiver, url) = receiver().await;
    let client = client(&[&["10.0.0.1", "::1", "127.0.0.1", "169.254.169.254"]]);
    client.check(&url).await.unwrap();
    assert_eq!(post(&client, &url).await.unwrap().status, 204);
    assert_eq!(receiver.requests(), 1);
}

#[tokio::test]
async fn what_cannot_be_a_receiver_is_refused_before_anything_is_sent() {
    let client = client(&[&[]]);
    let check = async |url: &str| client.check(&Url::parse(url).unwrap()).await;
    for inwards in [
        "http://10.0.0.1/",
        "http://[::ffff:127.0.0.2]/",
        "http://0x7f000002/",
        "http://2130706434/",
    ] {
        let error = check(inwards).await.unwrap_err();
        assert!(matches!(error, CallError::Forbidden { .. }), "{inwards}: {error}");
    }
    assert!(matches!(
        check("ftp://hooks.example/").await,
        Err(CallError::Unsuitable { .. })
    ));
    // A name without an address may have one tomorrow.
    assert_eq!(check("http://hooks.example/").await, Ok(()));
}
