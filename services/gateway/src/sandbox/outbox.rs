use std::collections::{HashMap, VecDeque};

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_domain::ChannelName;
use tidings_events::data::timestamp;

use super::{Refusal, Sandbox};

/// Entries that are kept.
pub(super) const KEPT: usize = 10_000;
/// Bytes of text that are kept.
pub(super) const ROOM: usize = 32 * 1024 * 1024;

/// What somebody handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) channel: ChannelName,
    pub(super) recipient: String,
    pub(super) message: String,
    pub(super) idempotency_key: Option<String>,
}

#[derive(Debug)]
struct Entry {
    sent: Sent,
    received_at: DateTime<Utc>,
    times: u64,
}

/// What was sent, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: VecDeque<Entry>,
    /// How many entries came before the first of `entries`.
    gone: usize,
    bytes: usize,
    /// The place of each entry that has a key, counted from the first that ever was.
    keys: HashMap<(ChannelName, String), usize>,
}

impl Sent {
    fn key(&self) -> Option<(ChannelName, String)> {
        Some((self.channel, self.idempotency_key.clone()?))
    }

    fn bytes(&self) -> usize {
        self.recipient.len() + self.message.len() + self.idempotency_key.as_ref().map_or(0, String::len)
    }
}

impl Outbox {
    pub(super) fn take(&mut self, sent: Sent, at: DateTime<Utc>) {
        let known = sent.key().and_then(|key| self.keys.get(&key));
        if let Some(entry) = known.and_then(|place| self.entries.get_mut(place - self.gone)) {
            entry.times += 1;
            return;
        }
        if let Some(key) = sent.key() {
            self.keys.insert(key, self.gone + self.entries.len());
        }
        self.bytes += sent.bytes();
        self.entries.push_back(Entry {
            sent,
            received_at: at,
            times: 1,
        });
        while self.entries.len() > KEPT || self.bytes > ROOM {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.gone += 1;
            self.bytes -= oldest.sent.bytes();
            if let Some(key) = oldest.sent.key() {
                self.keys.remove(&key);
            }
        }
    }
}

/// What is asked for; everything, if nothing is said.
#[derive(Debug, Deserialize)]
struct Filter {
    recipient: Option<String>,
    channel: Option<String>,
}

/// An entry as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    channel: &'static str,
    recipient: &'a str,
    message: &'a str,
    idempotency_key: Option<&'a str>,
    received_at: String,
    times: u64,
}

pub(super) async fn list(request: HttpRequest, sandbox: web::Data<Sandbox>) -> Result<HttpResponse, Refusal> {
    let filter = web::Query::<Filter>::from_query(request.query_string());
    let filter = filter.map_err(|error| Refusal::Bad(error.to_string()))?.into_inner();
    let channel: Option<ChannelName> = match &filter.channel {
        Some(channel) => Some(channel.parse().map_err(|invalid| Refusal::Bad(format!("{invalid}")))?),
        None => None,
    };
    // A plus sign that was not encoded arrives as a space, which no recipient begins with.
    let recipient = filter.recipient.map(|recipient| match recipient.strip_prefix(' ') {
        Some(number) => format!("+{number}"),
        None => recipient,
    });
    let wanted = |sent: &Sent| {
        channel.is_none_or(|channel| channel == sent.channel)
            && recipient.as_ref().is_none_or(|recipient| *recipient == sent.recipient)
    };
    let outbox = sandbox.outbox();
    let newest_first = outbox.entries.iter().rev();
    let data: Vec<_> = newest_first
        .filter(|entry| wanted(&entry.sent))
        .map(|entry| Shown {
            channel: entry.sent.channel.as_str(),
            recipient: &entry.sent.recipient,
            message: &entry.sent.message,
            idempotency_key: entry.sent.idempotency_key.as_deref(),
            received_at: timestamp(entry.received_at),
            times: entry.times,
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "count": data.len(), "data": data })))
}

pub(super) async fn clear(sandbox: web::Data<Sandbox>) -> HttpResponse {
    *sandbox.outbox() = Outbox::default();
    HttpResponse::NoContent().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: usize, message: &str) -> Sent {
        Sent {
            channel: ChannelName::Email,
            recipient: "odile@example.com".to_owned(),
            message: message.to_owned(),
            idempotency_key: Some(number.to_string()),
        }
    }

    fn take(outbox: &mut Outbox, sent: Sent) {
        outbox.take(sent, DateTime::UNIX_EPOCH);
    }

    #[test]
    fn the_newest_are_kept_and_told_apart_by_their_keys() {
        let mut outbox = Outbox::default();
        for number in 0..KEPT + 5 {
            take(&mut outbox, sent(number, "Hello"));
        }
        assert_eq!((outbox.entries.len(), outbox.keys.len()), (KEPT, KEPT));
        assert_eq!(outbox.entries[0].sent, sent(5, "Hello"));
        // Of these the first was forgotten, the second not.
        take(&mut outbox, sent(KEPT + 4, "Hello"));
        assert_eq!(outbox.entries.back().unwrap().times, 2);
        take(&mut outbox, sent(4, "Hello"));
        assert_eq!(outbox.entries.back().unwrap().sent, sent(4, "Hello"));
        assert_eq!(outbox.entries.len(), KEPT);
        // One key of another channel is another key.
        let sms = Sent {
            channel: ChannelName::Sms,
            ..sent(4, "Hello")
        };
        take(&mut outbox, sms.clone());
        assert_eq!(outbox.entries.back().unwrap().sent, sms);
    }

    #[test]
    fn long_messages_take_no_more_room_than_there_is() {
        let mut outbox = Outbox::default();
        let long = "x".repeat(ROOM / 10);
        for number in 0..25 {
            take(&mut outbox, sent(number, &long));
        }
        assert_eq!(outbox.entries.len(), 9);
        let bytes: usize = outbox.entries.iter().map(|entry| entry.sent.bytes()).sum();
        assert_eq!(outbox.bytes, bytes);
    }

    #[test]
    fn what_has_no_key_is_new_each_time() {
        let mut outbox = Outbox::default();
        for _ in 0..2 {
            let nameless = Sent {
                idempotency_key: None,
                ..sent(1, "Hello")
            };
            take(&mut outbox, nameless);
        }
        assert_eq!(outbox.entries.len(), 2);
    }
}
