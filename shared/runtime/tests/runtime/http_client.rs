use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tidings_domain::{Clock, SystemClock};
use tidings_runtime::http_client::{Answer, BODY_LIMIT, Bytes, CallError, HeaderMap, HeaderValue, OutwardClient, Url};
use tidings_runtime::reach::{Names, Reach, Resolver};
use tidings_runtime::telemetry::install_metrics;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::child;
use crate::receiver::Receiver;

const AMPLE: Duration = Duration::from_secs(20);
/// For calls that are meant to run into their deadline.
const SHORT: Duration = Duration::from_millis(200);

fn loopback_client() -> OutwardClient {
    let and = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    OutwardClient::new(Reach::Public { and }).unwrap()
}

fn strict_client() -> OutwardClient {
    OutwardClient::new(Reach::Public { and: Vec::new() }).unwrap()
}

async fn post(client: &OutwardClient, url: &str, deadline: Duration) -> Result<Answer, CallError> {
    let url = Url::parse(url).unwrap();
    client
        .post(
            &url,
            HeaderMap::new(),
            Bytes::from_static(b"{}"),
            deadline,
            &SystemClock,
        )
        .await
}

async fn post_to(receiver: &Receiver, deadline: Duration) -> Result<Answer, CallError> {
    post(
        &loopback_client(),
        &format!("http://127.0.0.1:{}/hook?token=hidden", receiver.port),
        deadline,
    )
    .await
}

#[tokio::test]
async fn a_request_arrives_as_it_was_given_and_its_answer_comes_back() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let receiver = Receiver::start(move |mut exchange| {
        let seen = seen.clone();
        async move {
            exchange
                .write("HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow")
                .await;
            seen.send(exchange.request).unwrap();
            None
        }
    })
    .await;
    let url = Url::parse(&format!("http://127.0.0.1:{}/hook?a=b", receiver.port)).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("0190"));
    let body = Bytes::from_static(b"{\"exact\":  1}");
    let answer = loopback_client()
        .post(&url, headers, body.clone(), AMPLE, &SystemClock)
        .await
        .unwrap();
    assert_eq!(answer.status, 429);
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(answer.body, "slow");

    let request = requests.recv().await.unwrap();
    assert!(
        request.head.starts_with("post /hook?a=b http/1.1\r\n"),
        "{}",
        request.head
    );
    assert!(request.head.contains("webhook-id: 0190\r\n"), "{}", request.head);
    assert!(request.head.contains("user-agent: tidings/"), "{}", request.head);
    assert_eq!(request.body, body);
}

#[tokio::test]
async fn retry_after_may_be_a_time_of_day() {
    #[derive(Debug)]
    struct Noon;
    impl Clock for Noon {
        fn now(&self) -> DateTime<Utc> {
            "2026-01-02T12:00:00Z".parse().unwrap()
        }
    }
    let receiver = Receiver::answering(
        "HTTP/1.1 503 Busy\r\nRetry-After: Fri, 02 Jan 2026 12:01:30 GMT\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let url = Url::parse(&format!("http://127.0.0.1:{}/", receiver.port)).unwrap();
    let answer = loopback_client()
        .post(&url, HeaderMap::new(), Bytes::new(), AMPLE, &Noon)
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.retry_after),
        (503, Some(Duration::from_secs(90)))
    );
}

#[tokio::test]
async fn what_is_not_utf_8_is_replaced() {
    let receiver = Receiver::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\xffb".as_slice()).await;
    assert_eq!(post_to(&receiver, AMPLE).await.unwrap().body, "a\u{fffd}b");
}

#[tokio::test]
async fn a_receiver_that_hangs_ends_at_the_deadline() {
    let receiver = Receiver::start(|exchange| async move {
        std::future::pending::<()>().await;
        Some(exchange)
    })
    .await;
    assert_timeout(&receiver).await;
}

#[tokio::test]
async fn a_body_that_drips_ends_at_the_deadline() {
    assert_drips("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n").await;
}

#[tokio::test]
async fn a_header_that_drips_ends_at_the_deadline() {
    assert_drips("HTTP/1.1 200 OK\r\nX-Slow: ").await;
}

/// Each byte comes well within the deadline, so that only one for the whole call can end it.
async fn assert_drips(start: &'static str) {
    let receiver = Receiver::start(move |mut exchange| async move {
        exchange.write(start).await;
        let mut drip = tokio::time::interval(SHORT / 10);
        while exchange.write("x").await {
            drip.tick().await;
        }
        None
    })
    .await;
    assert_timeout(&receiver).await;
}

async fn assert_timeout(receiver: &Receiver) {
    let start = Instant::now();
    let error = post_to(receiver, SHORT).await.unwrap_err();
    assert_eq!(
        error,
        CallError::Timeout {
            host: "127.0.0.1".to_owned(),
            deadline: SHORT
        }
    );
    assert_eq!(error.to_string(), "no complete answer from 127.0.0.1 within 200ms");
    assert!(start.elapsed() >= SHORT && start.elapsed() < AMPLE);
}

#[tokio::test]
async fn of_an_endless_body_only_the_beginning_is_read() {
    let receiver = Receiver::start(|mut exchange| async move {
        exchange.write("HTTP/1.1 200 OK\r\n\r\n").await;
        while exchange.write([b'x'; 5000]).await {}
        None
    })
    .await;
    let answer = post_to(&receiver, AMPLE).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.len(), BODY_LIMIT);
}

#[tokio::test]
async fn a_body_of_the_longest_length_is_whole_and_its_connection_used_again() {
    let body = "y".repeat(BODY_LIMIT);
    let receiver = Receiver::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_LIMIT}\r\n\r\n{body}")).await;
    let client = loopback_client();
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    for _ in 0..3 {
        assert_eq!(post(&client, &url, AMPLE).await.unwrap().body, body);
    }
    assert_eq!((receiver.connections(), receiver.requests()), (1, 3));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let elsewhere = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        let receiver = Receiver::answering(format!(
            "HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: 0\r\n\r\n",
            elsewhere.port
        ))
        .await;
        assert_eq!(post_to(&receiver, AMPLE).await.unwrap().status, status);
        assert_eq!(receiver.requests(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_exchange_that_breaks_off_is_an_error_without_the_path() {
    for cut in [
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "not http at all\r\n\r\n",
    ] {
        let receiver = Receiver::start(move |mut exchange| async move {
            exchange.write(cut).await;
            None
        })
        .await;
        let error = post_to(&receiver, AMPLE).await.unwrap_err();
        assert!(matches!(error, CallError::Io { .. }), "{cut}: {error:?}");
        assert_tells_only_the_host(&error);
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_an_error_without_the_path() {
    // Bound and dropped again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let refused = post(
        &loopback_client(),
        &format!("http://127.0.0.1:{port}/?token=hidden"),
        AMPLE,
    )
    .await;
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");

    // No label of a name is that long, so this is known not to exist without asking anyone.
    let url = format!("http://{}.invalid/?token=hidden", "x".repeat(64));
    let unknown = post(&loopback_client(), &url, AMPLE).await.unwrap_err();

    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls_port = listener.local_addr().unwrap().port();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Plain\r\n\r\n")
            .await
            .unwrap();
        stream
    });
    let untrusted = post(
        &loopback_client(),
        &format!("https://127.0.0.1:{tls_port}/?token=hidden"),
        AMPLE,
    )
    .await;
    let untrusted = untrusted.unwrap_err();
    plain.await.unwrap();
    assert_eq!(receiver.connections(), 0);

    for error in [refused, unknown, untrusted] {
        assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
        assert_tells_only_the_host(&error);
    }
}

fn assert_tells_only_the_host(error: &CallError) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hidden") && !shown.contains("hook"), "{shown}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[tokio::test]
async fn nothing_connects_inwards_unless_it_is_allowed() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let client = strict_client();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let error = post(
            &client,
            &format!("http://{host}:{}/hook?token=hidden", receiver.port),
            AMPLE,
        )
        .await;
        let error = error.unwrap_err();
        assert!(matches!(error, CallError::Forbidden { .. }), "{host}: {error:?}");
        assert_tells_only_the_host(&error);
    }
    let error = post(&client, &format!("http://localhost:{}/", receiver.port), AMPLE)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("localhost is not allowed: ") && error.contains("a loopback address"),
        "{error}"
    );
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn what_is_allowed_is_reached_by_name_and_by_address() {
    let receiver = Receiver::answering("HTTP/1.1 204 Done\r\n\r\n").await;
    let client = loopback_client();
    for host in ["127.0.0.1", "127.1", "localhost", "[::ffff:127.0.0.1]"] {
        let answer = post(&client, &format!("http://{host}:{}/", receiver.port), AMPLE).await;
        assert_eq!(answer.unwrap().status, 204, "{host}");
    }
    // What is allowed is the network, not everything inside.
    let error = post(&client, &format!("http://0.0.0.0:{}/", receiver.port), AMPLE)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Forbidden { .. }), "{error:?}");
}

/// Knows a name outside, in every test that must not get there.
#[derive(Debug)]
struct Outside;

impl Names for Outside {
    fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async {
            Ok(vec![
                "8.8.8.8".parse().unwrap(),
                "2001:4860:4860::8888".parse().unwrap(),
            ])
        })
    }
}

#[tokio::test]
async fn who_is_held_to_loopback_calls_nobody_outside() {
    let client = OutwardClient::new(Resolver::new(Reach::loopback(), Arc::new(Outside))).unwrap();
    for host in ["8.8.8.8", "[2001:4860:4860::8888]", "provider.example"] {
        let error = post(&client, &format!("http://{host}/?token=hidden"), AMPLE)
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Forbidden { .. }), "{host}: {error:?}");
        assert!(error.to_string().contains("outside the networks"), "{error}");
        assert_tells_only_the_host(&error);
    }
}

#[tokio::test]
async fn what_may_be_called_beyond_loopback_is_counted_before_it_is() {
    if !child::is_child() {
        // Metrics belong to a whole process.
        let test = "http_client::what_may_be_called_beyond_loopback_is_counted_before_it_is";
        let output = child::output(test, &[]).await;
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let metrics = install_metrics();
    let receiver = Receiver::answering("HTTP/1.1 204 Done\r\n\r\n").await;
    post_to(&receiver, AMPLE).await.unwrap();
    let held = Resolver::new(Reach::loopback(), Arc::new(Outside));
    held.resolve("provider.example").await.unwrap_err();
    assert!(!metrics.render().contains("beyond_loopback"), "{}", metrics.render());

    let free = Resolver::new(Reach::Anything, Arc::new(Outside));
    free.resolve("provider.example").await.unwrap();
    free.resolve("10.0.0.1").await.unwrap();
    let shown = metrics.render();
    for line in [
        "tidings_outward_beyond_loopback_total{scope=\"public\"} 2",
        "tidings_outward_beyond_loopback_total{scope=\"private\"} 1",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used() {
    if child::is_child() {
        let receiver = Receiver::answering("HTTP/1.1 204 Done\r\n\r\n").await;
        assert_eq!(post_to(&receiver, AMPLE).await.unwrap().status, 204);
        assert_eq!(receiver.requests(), 1);
        return;
    }
    let proxy = Receiver::answering("HTTP/1.1 502 Proxy\r\nContent-Length: 0\r\n\r\n").await;
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let mut child = child::start(
        "http_client::a_proxy_in_the_environment_is_not_used",
        &[
            ("HTTP_PROXY", &url),
            ("http_proxy", &url),
            ("ALL_PROXY", &url),
            ("NO_PROXY", ""),
            ("no_proxy", ""),
        ],
    );
    assert!(child.wait().await.unwrap().success());
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn a_machine_without_certificates_refuses_https_and_sends_the_rest() {
    if child::is_child() {
        let receiver = Receiver::answering("HTTP/1.1 204 Done\r\n\r\n").await;
        assert_eq!(post_to(&receiver, AMPLE).await.unwrap().status, 204);
        return;
    }
    let nowhere = [
        ("SSL_CERT_FILE", "/nonexistent/file"),
        ("SSL_CERT_DIR", "/nonexistent/folder"),
    ];
    let mut child = child::start(
        "http_client::a_machine_without_certificates_refuses_https_and_sends_the_rest",
        &nowhere,
    );
    assert!(child.wait().await.unwrap().success());
}
