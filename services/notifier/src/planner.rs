//! From an event to the notifications it makes.
//!
//! A notification that was asked for elsewhere is in the database already when its event comes. The event
//! says only that there is something to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tidings_domain::{ChannelName, Clock, Invalid, OrderId, Route, UserId};
use tidings_events::rules::{Rule, rule_for};
use tidings_events::{DecodeError, Event, EventRecord, NotificationRequested, Origin, RawRecord, Topic};
use tidings_messaging::{HandleError, Handler};
use tidings_storage::notifications::{Cause, Notice, notify};
use tidings_storage::{Db, Error, dead_letters, users};

use crate::templates::{TemplateError, Templates};
use crate::{Desk, GROUP};

/// Plans notifications for what the consumer hands it.
#[derive(Debug)]
pub(crate) struct Planner {
    desk: Arc<Desk>,
}

/// A record that is no event that a user could be told about, although there is a rule.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unplannable {
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    #[error("the data are not as the rule needs them: {0}")]
    Data(#[from] serde_json::Error),
    #[error("the data are not as the rule needs them: {0}")]
    Value(#[from] Invalid),
}

/// What an event comes to.
#[derive(Debug)]
enum Planned {
    Tell(Box<Telling>),
    /// A notification waits that this service has not planned itself.
    Look(ChannelName),
    Nothing,
}

/// A user who is to be told about an event.
#[derive(Debug, Clone)]
struct Telling {
    event: EventRecord,
    rule: &'static Rule,
    user: UserId,
    order: Option<OrderId>,
    channel: ChannelName,
}

#[derive(Deserialize)]
struct Payload {
    data: Value,
}

/// What every event that a user can be told about must say.
#[derive(Deserialize)]
struct Concerned {
    user_id: UserId,
}

fn decode(record: &RawRecord) -> Result<Planned, Unplannable> {
    let event = EventRecord::decode(record)?;
    let Payload { data } = serde_json::from_slice(&event.payload)?;
    let attribute = |name: &str| data.get(name).and_then(Value::as_str);
    let named = attribute("channel").map(str::parse::<ChannelName>).transpose()?;
    if event.event_type == NotificationRequested::TYPE {
        return Ok(match named {
            Some(channel) if event.origin.service != GROUP => Planned::Look(channel),
            _ => Planned::Nothing,
        });
    }
    let Some(rule) = rule_for(&event.event_type, attribute) else {
        return Ok(Planned::Nothing);
    };
    let is_order = event.topic == Topic::Orders.name();
    let order = is_order.then(|| event.key.parse()).transpose()?;
    let channel = named.unwrap_or(rule.channel);
    let Concerned { user_id: user } = Concerned::deserialize(data)?;
    Ok(Planned::Tell(Box::new(Telling {
        event,
        rule,
        user,
        order,
        channel,
    })))
}

/// Why users could not be told about some events.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Database(#[from] Error),
}

/// Adds the notifications that there are not yet; answers by which channels.
async fn tell(
    db: &Db,
    clock: &Arc<dyn Clock>,
    templates: &Templates,
    tellings: Vec<Telling>,
) -> Result<Vec<ChannelName>, TellError> {
    let users = users::find_all(db.read(), tellings.iter().map(|telling| telling.user)).await?;
    let mut notices = Vec::with_capacity(tellings.len());
    for telling in tellings {
        let user = users.get(&telling.user);
        let words = templates.render(telling.rule.template, user)?;
        notices.push(Notice {
            user: telling.user,
            wanted: telling.channel,
            route: user.map_or_else(
                || Route::nowhere(telling.channel),
                |user| Route::to(user, telling.channel),
            ),
            subject: words.subject,
            message: words.message,
            // A part of the same trace, of which nothing else need be told.
            origin: Origin {
                service: GROUP.to_owned(),
                ..telling.event.origin.clone()
            },
            cause: Some(Cause {
                event: telling.event.id,
                rule: telling.rule.name,
                order: telling.order,
            }),
        });
    }
    let clock = clock.clone();
    let added = db
        .write::<_, Error, _>(move |tx| Box::pin(async move { notify(tx, notices, &*clock).await }))
        .await?;
    Ok(added
        .into_iter()
        .map(|notification| notification.route.channel)
        .collect())
}

impl Planner {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

impl Handler for Planner {
    async fn handle(&self, records: &[RawRecord]) -> Result<(), HandleError> {
        let (mut tellings, mut channels) = (Vec::new(), BTreeSet::new());
        for record in records {
            match decode(record).map_err(|error| HandleError::reject(error.to_string()))? {
                Planned::Tell(telling) => tellings.push(*telling),
                Planned::Look(channel) => drop(channels.insert(channel)),
                Planned::Nothing => {}
            }
        }
        if !tellings.is_empty() {
            let Desk {
                db, clock, templates, ..
            } = &*self.desk;
            match tell(db, clock, templates, tellings).await {
                Ok(added) => channels.extend(added),
                Err(TellError::Template(error)) => return Err(HandleError::reject(error.to_string())),
                // A record says nothing that a database could refuse, so this is not its fault.
                Err(TellError::Database(error)) => return Err(HandleError::retry(error)),
            }
        }
        for channel in channels {
            self.desk.note(channel, Duration::ZERO);
        }
        Ok(())
    }

    async fn set_aside(&self, record: &RawRecord, reason: &str) -> Result<(), HandleError> {
        let kept = dead_letters::set_aside(&self.desk.db, &self.desk.clock, GROUP, record, reason);
        kept.await.map_err(HandleError::retry)
    }
}

/// Why a record that was set aside could not be handled now either.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the record is rejected again: {0}")]
    Rejected(String),
    #[error(transparent)]
    Database(#[from] Error),
}

/// Handles one record once more, beside the service. Answers how many notifications that added; a running
/// service finds them within seconds.
pub async fn replay(db: &Db, clock: &Arc<dyn Clock>, record: &RawRecord) -> Result<usize, ReplayError> {
    let planned = decode(record).map_err(|error| ReplayError::Rejected(error.to_string()))?;
    let Planned::Tell(telling) = planned else {
        return Ok(0);
    };
    let rejected = |error: TemplateError| ReplayError::Rejected(error.to_string());
    let templates = Templates::new().map_err(rejected)?;
    match tell(db, clock, &templates, vec![*telling]).await {
        Ok(added) => Ok(added.len()),
        Err(TellError::Template(error)) => Err(rejected(error)),
        Err(TellError::Database(error)) => Err(error.into()),
    }
}
