//! Resources as the published contracts show them: in answers of the API and as the `data` of events.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use tidings_domain as domain;

/// A kind of payload, with the URI under which `ce_dataschema` names it.
pub trait Data: Serialize {
    const SCHEMA: &'static str;
}

/// A user together with its address in the API, which depends on where the request came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedUser {
    pub user: domain::User,
    pub url: String,
}

/// A user without the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Absolute.
    pub url: String,
    pub id: domain::UserId,
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    pub address: String,
}

impl Data for User {
    const SCHEMA: &'static str = "urn:tidings:schema:user:1";
}

impl From<&LinkedUser> for User {
    fn from(LinkedUser { user, url }: &LinkedUser) -> Self {
        Self {
            url: url.clone(),
            id: user.id,
            first_name: user.first_name.as_str().to_owned(),
            last_name: user.last_name.as_str().to_owned(),
            email: user.email.as_str().to_owned(),
            address: user.address.as_str().to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub id: domain::ContactId,
    pub name: String,
    pub phone: String,
}

impl Data for Contact {
    const SCHEMA: &'static str = "urn:tidings:schema:contact:1";
}

impl From<&domain::Contact> for Contact {
    fn from(contact: &domain::Contact) -> Self {
        Self {
            id: contact.id,
            name: contact.name.as_str().to_owned(),
            phone: contact.phone.as_str().to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub id: domain::MessageId,
    /// An E.164 number or a contact's id.
    pub from: String,
    /// The recipient's contact id.
    pub to: domain::ContactId,
    pub content: String,
    /// `queued`, `delivered` or `failed`.
    pub status: String,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    /// `null` until the message is delivered.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub delivered_at: Option<DateTime<Utc>>,
}

impl Data for Message {
    const SCHEMA: &'static str = "urn:tidings:schema:message:1";
}

impl From<&domain::Message> for Message {
    fn from(message: &domain::Message) -> Self {
        Self {
            id: message.id,
            from: message.from.to_string(),
            to: message.to,
            content: message.content.as_str().to_owned(),
            status: message.status.as_str().to_owned(),
            created_at: message.created_at,
            delivered_at: message.delivered_at,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub id: domain::OrderId,
    pub user_id: domain::UserId,
    pub sequencing_type: String,
    pub shipping_info: ShippingInfo,
    /// How the user is told.
    pub channel: String,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippingInfo {
    pub delivery_name: String,
    pub first_line: String,
    pub second_line: String,
    pub town: String,
    pub postcode: String,
    pub country: String,
}

impl Data for Order {
    const SCHEMA: &'static str = "urn:tidings:schema:order:1";
}

impl From<&domain::Order> for Order {
    fn from(order: &domain::Order) -> Self {
        let line = |line: &domain::ShippingLine| line.as_str().to_owned();
        Self {
            id: order.id,
            user_id: order.user,
            sequencing_type: order.sequencing.as_str().to_owned(),
            shipping_info: ShippingInfo {
                delivery_name: line(&order.shipping.delivery_name),
                first_line: line(&order.shipping.first_line),
                second_line: line(&order.shipping.second_line),
                town: line(&order.shipping.town),
                postcode: line(&order.shipping.postcode),
                country: line(&order.shipping.country),
            },
            channel: order.channel.as_str().to_owned(),
            created_at: order.created_at,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    pub id: domain::NotificationId,
    pub user_id: domain::UserId,
    /// `null` if it is not about an order.
    pub order_id: Option<domain::OrderId>,
    /// The one by which it goes out.
    pub channel: String,
    /// The one that was asked for.
    pub requested_channel: String,
    /// Why the two differ; `null` where they do not.
    pub fallback: Option<String>,
    /// `null` if the user was deleted before.
    pub recipient: Option<String>,
    pub message: String,
    /// `requested`, `sent` or `failed`.
    pub status: String,
    pub attempts: i32,
    /// What the provider said to the last attempt, or why it could not be asked; `null` before the first.
    pub answer: Option<String>,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    /// `null` until the notification is sent.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub sent_at: Option<DateTime<Utc>>,
}

impl Data for Notification {
    const SCHEMA: &'static str = "urn:tidings:schema:notification:1";
}

impl From<&domain::Notification> for Notification {
    fn from(notification: &domain::Notification) -> Self {
        let route = &notification.route;
        Self {
            id: notification.id,
            user_id: notification.user,
            order_id: notification.order,
            channel: route.channel.as_str().to_owned(),
            requested_channel: notification.wanted.as_str().to_owned(),
            fallback: route.fallback.clone(),
            recipient: route.recipient.clone(),
            message: notification.message.as_str().to_owned(),
            status: notification.status.as_str().to_owned(),
            attempts: notification.attempts,
            answer: notification.answer.clone(),
            created_at: notification.created_at,
            sent_at: notification.sent_at,
        }
    }
}

/// A GUID with whose it is and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuidRecord {
    /// 32 hexadecimal digits in upper case.
    pub guid: String,
    /// Unix time in seconds, as text.
    pub expire: String,
    pub user: String,
}

impl Data for GuidRecord {
    const SCHEMA: &'static str = "urn:tidings:schema:guid:1";
}

impl From<&domain::GuidRecord> for GuidRecord {
    fn from(record: &domain::GuidRecord) -> Self {
        Self {
            guid: record.id.to_string(),
            expire: record.expires.to_string(),
            user: record.user.as_str().to_owned(),
        }
    }
}

/// An endpoint without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookEndpoint {
    pub id: domain::EndpointId,
    pub url: String,
    /// `["*"]` stands for all types.
    pub event_types: Vec<String>,
    /// `enabled` or `disabled`.
    pub state: String,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: DateTime<Utc>,
}

impl Data for WebhookEndpoint {
    const SCHEMA: &'static str = "urn:tidings:schema:webhook-endpoint:1";
}

impl From<&domain::WebhookEndpoint> for WebhookEndpoint {
    fn from(endpoint: &domain::WebhookEndpoint) -> Self {
        Self {
            id: endpoint.id.clone(),
            url: endpoint.url.to_string(),
            event_types: match &endpoint.event_types {
                domain::EventTypes::All => vec!["*".to_owned()],
                domain::EventTypes::Only(types) => types.clone(),
            },
            state: endpoint.state.as_str().to_owned(),
            created_at: endpoint.created_at,
        }
    }
}

/// A key, recognisable by its prefix. Neither its secret nor the hash of it is in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: domain::ApiKeyId,
    pub prefix: String,
    pub name: String,
    /// `admin`, `staff` or `service`.
    pub role: String,
    pub scopes: Vec<String>,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "rfc3339_or_null")]
    pub expires_at: Option<DateTime<Utc>>,
    /// From when on the key opens nothing; ahead of the event if another one takes its place first.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Data for ApiKey {
    const SCHEMA: &'static str = "urn:tidings:schema:api-key:1";
}

impl From<&domain::ApiKey> for ApiKey {
    fn from(key: &domain::ApiKey) -> Self {
        Self {
            id: key.id,
            prefix: domain::KeyToken::prefix(key.id),
            name: key.name.as_str().to_owned(),
            role: key.role.as_str().to_owned(),
            scopes: key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// The one way in which times are written: UTC, milliseconds, `Z`.
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn rfc3339<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&timestamp(*time))
}

fn rfc3339_or_null<S: Serializer>(time: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, to),
        None => to.serialize_none(),
    }
}
