//! What clients do: they send messages and rename contacts at a steady pace, whether or not the requests
//! before were answered, and send each request again, to either gateway, until it is. There are so many of
//! them; when all of them wait, nobody is left who could send anything new.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::API_KEY;

/// How long one request may take. None may ever take as long: a service that cannot answer says so.
pub const HANG: Duration = Duration::from_secs(30);
/// How long clients go on asking after the last fault.
const PATIENCE: Duration = Duration::from_secs(90);
/// Who waits sends nothing new. Enough for some seconds of an outage; more would only be more of the same.
const CLIENTS: usize = 300;
/// Messages are for these.
const CONTACTS: usize = 300;
/// These are renamed again and again, so that they have a long history.
const RENAMED: usize = 8;
/// One request in so many renames a contact.
const RENAME_EVERY: usize = 10;

/// What becomes of a message, as its receiver decides. The message's own name says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Accepted,
    /// The first attempt is refused.
    SecondTry,
    Refused,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SecondTry => "second-try",
            Self::Refused => "refused",
        }
    }

    /// Reads it from the name of a message.
    pub fn of(name: &str) -> Option<Self> {
        let mut fates = [Self::Accepted, Self::SecondTry, Self::Refused].into_iter();
        fates.find(|fate| name.ends_with(fate.name()))
    }

    /// What the message's status is in the end.
    pub fn status(self) -> &'static str {
        match self {
            Self::Accepted | Self::SecondTry => "delivered",
            Self::Refused => "failed",
        }
    }

    /// What its receiver answers after so many attempts.
    pub fn answer(self, earlier: usize) -> u16 {
        match (self, earlier) {
            (Self::Accepted, _) | (Self::SecondTry, 1..) => 204,
            (Self::Refused, earlier) if earlier % 2 == 1 => 400,
            (Self::SecondTry | Self::Refused, _) => 500,
        }
    }
}

/// One thing that a client wants done, and how that went.
#[derive(Debug)]
pub struct Call {
    /// Of a message: its content, its idempotency key and its correlation id in one. Of a rename: the new name.
    pub name: String,
    /// What becomes of a message; a rename has none.
    pub fate: Option<Fate>,
    pub attempts: Vec<Attempt>,
    /// The id of the message or contact, once a gateway has said that it is done.
    pub acknowledged: Option<String>,
}

#[derive(Debug)]
pub struct Attempt {
    pub began: Instant,
    pub ended: Instant,
    /// Which gateway was asked.
    pub gateway: usize,
    pub answer: Answer,
}

#[derive(Debug)]
pub enum Answer {
    Status {
        code: u16,
        /// Whether it says when to come back.
        retry_after: bool,
    },
    /// Nobody is there, or was there any more.
    Away(String),
    TimedOut,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, retry_after } => {
                let when = if *retry_after { ", to come back" } else { "" };
                write!(f, "{code}{when}")
            }
            Self::Away(why) => write!(f, "nothing: {why}"),
            Self::TimedOut => f.write_str("nothing for too long"),
        }
    }
}

/// Clients at work.
pub struct Load {
    working: JoinHandle<Vec<Call>>,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Client {
    gateways: [SocketAddr; 2],
    http: reqwest::Client,
    give_up: CancellationToken,
}

impl Load {
    /// Begins, with so many requests a second.
    pub async fn start(gateways: [SocketAddr; 2], rate: u32, seed: u64) -> Self {
        let stop = CancellationToken::new();
        let client = Client {
            gateways,
            http: reqwest::Client::builder().no_proxy().timeout(HANG).build().unwrap(),
            give_up: CancellationToken::new(),
        };
        let mut renamed = Vec::new();
        for number in 0..RENAMED {
            renamed.push(client.contact(number).await);
        }
        let working = tokio::spawn(client.work(renamed, rate, fastrand::Rng::with_seed(seed), stop.clone()));
        Self { working, stop }
    }

    /// Sends nothing new, and waits until everything is answered or given up.
    pub async fn stop(self) -> Vec<Call> {
        self.stop.cancel();
        self.working.await.unwrap()
    }
}

impl Client {
    async fn work(
        self,
        renamed: Vec<String>,
        rate: u32,
        mut random: fastrand::Rng,
        stop: CancellationToken,
    ) -> Vec<Call> {
        let (mut calls, mut done) = (JoinSet::new(), Vec::new());
        let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut number = 0;
        while stop.run_until_cancelled(pace.tick()).await.is_some() {
            while let Some(call) = calls.try_join_next() {
                done.push(call.unwrap());
            }
            if calls.len() >= CLIENTS {
                continue;
            }
            number += 1;
            let (client, own) = (self.clone(), random.fork());
            if random.usize(..RENAME_EVERY) == 0 {
                let contact = renamed[random.usize(..renamed.len())].clone();
                calls.spawn(client.rename(contact, format!("rename-{number}"), own));
            } else {
                let fate = match random.u32(..20) {
                    0..3 => Fate::SecondTry,
                    3 => Fate::Refused,
                    _ => Fate::Accepted,
                };
                let (name, to) = (format!("message-{number}-{}", fate.name()), random.usize(..CONTACTS));
                calls.spawn(client.message(name, fate, to, own));
            }
        }
        let give_up = tokio::spawn({
            let give_up = self.give_up;
            async move {
                tokio::time::sleep(PATIENCE).await;
                give_up.cancel();
            }
        });
        done.extend(calls.join_all().await);
        give_up.abort();
        done
    }

    async fn contact(&self, number: usize) -> String {
        let url = format!("http://{}/contacts", self.gateways[0]);
        let body = json!({ "name": "Before", "phone": format!("+4176{number:07}") });
        let request = self.http.post(url).bearer_auth(API_KEY).json(&body).send();
        let contact: Value = request.await.unwrap().json().await.unwrap();
        contact["id"].as_str().unwrap_or_else(|| panic!("{contact}")).to_owned()
    }

    async fn message(self, name: String, fate: Fate, to: usize, random: fastrand::Rng) -> Call {
        let body = json!({
            "from": "+41440000000",
            "to": { "name": format!("Contact {to}"), "phone": format!("+4179{to:07}") },
            "content": name,
        });
        let request = |gateway: SocketAddr| {
            self.http
                .post(format!("http://{gateway}/messages"))
                .header("Idempotency-Key", &name)
                .header("X-Correlation-ID", &name)
                .bearer_auth(API_KEY)
                .json(&body)
        };
        let (attempts, acknowledged) = self.insist(request, 201, random).await;
        Call {
            fate: Some(fate),
            attempts,
            acknowledged,
            name: name.clone(),
        }
    }

    async fn rename(self, contact: String, name: String, random: fastrand::Rng) -> Call {
        let request = |gateway: SocketAddr| {
            self.http
                .patch(format!("http://{gateway}/contacts/{contact}"))
                .bearer_auth(API_KEY)
                .json(&json!({ "name": name }))
        };
        let (attempts, acknowledged) = self.insist(request, 200, random).await;
        Call {
            fate: None,
            attempts,
            acknowledged,
            name: name.clone(),
        }
    }

    /// Asks until it is done, or until something is answered that asking again does not help against.
    async fn insist(
        &self,
        request: impl Fn(SocketAddr) -> reqwest::RequestBuilder,
        success: u16,
        mut random: fastrand::Rng,
    ) -> (Vec<Attempt>, Option<String>) {
        let (mut attempts, mut gateway) = (Vec::new(), random.usize(..2));
        let mut pause = Duration::from_secs(1);
        while !self.give_up.is_cancelled() {
            let began = Instant::now();
            let answered = match request(self.gateways[gateway]).send().await {
                Ok(answer) => read(answer).await,
                Err(error) => Err(error),
            };
            let (answer, id) = answered.unwrap_or_else(|error| match error.is_timeout() {
                true => (Answer::TimedOut, None),
                false => (Answer::Away(format!("{error:?}")), None),
            });
            let again = match answer {
                Answer::Status { code, .. } if code == success => return (with(attempts, began, gateway, answer), id),
                Answer::Status {
                    code: 408 | 409 | 503, ..
                }
                | Answer::TimedOut => {
                    pause = (pause * 2).min(Duration::from_secs(8));
                    Some(pause.mul_f64(0.5 + random.f64() / 2.0))
                }
                // The other one may be there.
                Answer::Away(_) => Some(Duration::from_millis(random.u64(50..500))),
                Answer::Status { .. } => None,
            };
            attempts = with(attempts, began, gateway, answer);
            gateway = 1 - gateway;
            match again {
                Some(pause) => drop(self.give_up.run_until_cancelled(tokio::time::sleep(pause)).await),
                None => break,
            }
        }
        (attempts, None)
    }
}

fn with(mut attempts: Vec<Attempt>, began: Instant, gateway: usize, answer: Answer) -> Vec<Attempt> {
    attempts.push(Attempt {
        began,
        ended: Instant::now(),
        gateway,
        answer,
    });
    attempts
}

/// What was answered, and the id that is in it. An answer that is cut off is none.
async fn read(response: reqwest::Response) -> reqwest::Result<(Answer, Option<String>)> {
    let answer = Answer::Status {
        code: response.status().as_u16(),
        retry_after: response.headers().contains_key("retry-after"),
    };
    let body: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
    Ok((answer, body["id"].as_str().map(str::to_owned)))
}
