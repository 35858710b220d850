use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A server on loopback that answers byte for byte as a test scripts it.
pub struct Receiver {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

/// A request as it came in.
pub struct Request {
    /// The request line and the headers, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

/// A connection on which a request has come in.
pub struct Exchange {
    pub request: Request,
    pub stream: BufReader<TcpStream>,
}

impl Exchange {
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }
}

impl Receiver {
    /// Serves every request by `answer`, which keeps the connection open by returning `true`.
    pub async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Exchange) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Option<Exchange>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen_connections, seen_requests) = (connections.clone(), requests.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                seen_connections.fetch_add(1, Ordering::SeqCst);
                let (answer, requests) = (answer.clone(), seen_requests.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = read_request(&mut stream).await {
                        requests.fetch_add(1, Ordering::SeqCst);
                        match answer(Exchange { request, stream }).await {
                            Some(exchange) => stream = exchange.stream,
                            None => return,
                        }
                    }
                });
            }
        });
        Self {
            port,
            connections,
            requests,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Gives the same answer to everyone.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut exchange| {
            let answer = answer.clone();
            async move { exchange.write(answer.as_slice()).await.then_some(exchange) }
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { head, body })
}
