use serde::Serialize;
use tidings_domain::{ApiKey, Contact, GuidRecord, Message, Notification, Order, WebhookEndpoint};

use crate::data::{self, Data, LinkedUser};
use crate::topic::Topic;

/// What an event did to its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Update,
    Delete,
}

/// Something that happened to one resource.
pub trait Event {
    type Data: Data;
    /// The CloudEvents `type`: `tidings.<aggregate>.<past-tense verb>`.
    const TYPE: &'static str;
    const TOPIC: Topic;
    const ACTION: Action;

    /// The aggregate's id: the record's key and its `subject`.
    fn key(&self) -> String;
    /// The aggregate's version that this event made; one more than that of the event before.
    fn sequence(&self) -> i64;
    fn data(&self) -> Self::Data;
}

/// A declared event, for whoever needs to know all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType {
    pub name: &'static str,
    pub topic: Topic,
    pub action: Action,
    pub schema: &'static str,
}

impl EventType {
    pub fn from_name(name: &str) -> Option<&'static Self> {
        REGISTRY.iter().find(|declared| declared.name == name)
    }
}

/// Something that events can be about.
pub trait Resource {
    type Data: Data;

    fn id(&self) -> String;
    fn version(&self) -> i64;
    /// As its contract shows it.
    fn data(&self) -> Self::Data;
}

/// Resources that bring along all that is to be shown of them.
macro_rules! resources {
    ($($name:ident),*) => {$(
        impl Resource for $name {
            type Data = data::$name;

            fn id(&self) -> String {
                self.id.to_string()
            }
            fn version(&self) -> i64 {
                self.version
            }
            fn data(&self) -> Self::Data {
                self.into()
            }
        }
    )*};
}

resources!(
    ApiKey,
    Contact,
    GuidRecord,
    Message,
    Order,
    Notification,
    WebhookEndpoint
);

impl Resource for LinkedUser {
    type Data = data::User;

    fn id(&self) -> String {
        self.user.id.to_string()
    }
    fn version(&self) -> i64 {
        self.user.version
    }
    fn data(&self) -> Self::Data {
        self.into()
    }
}

/// Declares events and lists them, so that none can be declared without being listed.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident($resource:ident): $type:literal on $topic:ident, $action:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name<'a>(pub &'a $resource);

            impl Event for $name<'_> {
                type Data = <$resource as Resource>::Data;
                const TYPE: &'static str = $type;
                const TOPIC: Topic = Topic::$topic;
                const ACTION: Action = Action::$action;

                fn key(&self) -> String {
                    self.0.id()
                }
                fn sequence(&self) -> i64 {
                    self.0.version()
                }
                fn data(&self) -> Self::Data {
                    self.0.data()
                }
            }
        )*

        /// Every event there is.
        pub const REGISTRY: &[EventType] = &[$(EventType {
            name: $type,
            topic: Topic::$topic,
            action: Action::$action,
            schema: <<$resource as Resource>::Data as Data>::SCHEMA,
        }),*];
    };
}

events! {
    UserCreated(LinkedUser): "tidings.user.created" on Users, Create;
    /// Its password may be all that changed, which no event shows.
    UserUpdated(LinkedUser): "tidings.user.updated" on Users, Update;
    UserDeleted(LinkedUser): "tidings.user.deleted" on Users, Delete;
    ContactCreated(Contact): "tidings.contact.created" on Contacts, Create;
    ContactUpdated(Contact): "tidings.contact.updated" on Contacts, Update;
    ContactDeleted(Contact): "tidings.contact.deleted" on Contacts, Delete;
    /// A message was accepted and is owed to its receiver.
    MessageQueued(Message): "tidings.message.queued" on Messages, Create;
    /// The receiver acknowledged the message.
    MessageDelivered(Message): "tidings.message.delivered" on Messages, Update;
    /// The receiver did not acknowledge the message in any attempt.
    MessageFailed(Message): "tidings.message.failed" on Messages, Update;
    OrderPlaced(Order): "tidings.order.placed" on Orders, Create;
    /// A user is to be told something.
    NotificationRequested(Notification): "tidings.notification.requested" on Notifications, Create;
    /// The channel's provider took it.
    NotificationSent(Notification): "tidings.notification.sent" on Notifications, Update;
    /// The provider refused it, or could not be reached in time; it is not tried again.
    NotificationFailed(Notification): "tidings.notification.failed" on Notifications, Update;
    /// Its sequence is 1, or goes on where the GUID's last life ended.
    GuidCreated(GuidRecord): "tidings.guid.created" on Guids, Create;
    GuidUpdated(GuidRecord): "tidings.guid.updated" on Guids, Update;
    GuidDeleted(GuidRecord): "tidings.guid.deleted" on Guids, Delete;
    /// Its time was over, which may have been a while ago.
    GuidExpired(GuidRecord): "tidings.guid.expired" on Guids, Delete;
    WebhookEndpointCreated(WebhookEndpoint): "tidings.webhook-endpoint.created" on Webhooks, Create;
    WebhookEndpointUpdated(WebhookEndpoint): "tidings.webhook-endpoint.updated" on Webhooks, Update;
    /// The endpoint answered 410 or failed for too long, and is sent nothing more.
    WebhookEndpointDisabled(WebhookEndpoint): "tidings.webhook-endpoint.disabled" on Webhooks, Update;
    WebhookEndpointDeleted(WebhookEndpoint): "tidings.webhook-endpoint.deleted" on Webhooks, Delete;
    ApiKeyCreated(ApiKey): "tidings.api-key.created" on ApiKeys, Create;
    /// Somebody ended it, at once or from a time on that the payload has.
    ApiKeyRevoked(ApiKey): "tidings.api-key.revoked" on ApiKeys, Delete;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TOPICS;

    const PAGE: &str = include_str!("../../../docs/events.md");

    /// The cells of the table row that begins with this name.
    fn row(name: &str) -> Vec<&'static str> {
        let start = format!("| `{name}` |");
        let row = PAGE.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("docs/events.md has no row for {name}"));
        row.split('|').map(|cell| cell.trim().trim_matches('`')).collect()
    }

    #[test]
    fn the_page_for_consumers_has_every_type() {
        for declared in REGISTRY {
            let action = format!("{:?}", declared.action).to_lowercase();
            let expected = [declared.topic.name(), &action, declared.schema];
            assert_eq!(row(declared.name)[2..5], expected, "{}", declared.name);
        }
        let rows = PAGE.lines().filter(|line| line.starts_with("| `tidings.")).count();
        assert_eq!(rows, REGISTRY.len(), "docs/events.md has types that are not declared");
    }

    #[test]
    fn the_page_for_consumers_has_every_topic() {
        for topic in TOPICS {
            let days = topic.retention().as_secs() / (24 * 60 * 60);
            let expected = [topic.partitions().to_string(), format!("{days} days")];
            assert_eq!(row(topic.name())[3..5], expected, "{}", topic.name());
        }
        let rows = PAGE.lines().filter(|line| {
            line.starts_with("| `")
                && line
                    .split('|')
                    .nth(1)
                    .is_some_and(|cell| cell.trim().ends_with("-events`"))
        });
        assert_eq!(
            rows.count(),
            TOPICS.len(),
            "docs/events.md has topics that are not declared"
        );
    }
}
