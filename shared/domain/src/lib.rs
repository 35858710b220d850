//! What Tidings talks about: ids, values that exist only in valid form, states and their transitions.
//!
//! Nothing here touches a network, a disk or a clock. A value of one of these types has passed its
//! checks: whoever holds a [`PhoneNumber`] need not look at it again.

mod api_key;
mod clock;
mod contact;
mod country;
mod delivery;
mod email;
mod endpoint;
mod guid;
mod ids;
mod message;
mod notification;
mod order;
mod sealed;
mod text;
mod trace;
mod user;

pub use api_key::{ApiKey, KeyName, KeySecret, KeyState, KeyToken, Role, Scope, Scopes};
pub use clock::{Clock, SystemClock, new_id};
pub use contact::{Contact, ContactName, PhoneNumber};
pub use country::Country;
pub use delivery::{Attempt, AttemptResult, RetrySchedule};
pub use email::EmailAddress;
pub use endpoint::{EndpointState, EventTypes, WebhookEndpoint, WebhookUrl};
pub use guid::{Expiry, Guid, GuidChange, GuidRecord, GuidUser};
pub use ids::{ApiKeyId, ContactId, DeliveryId, EndpointId, EventId, MessageId, NotificationId, OrderId, UserId};
pub use message::{Content, Message, MessageStatus, Sender};
pub use notification::{ChannelName, Notification, NotificationStatus, NotificationText, Route};
pub use order::{Order, SequencingType, ShippingInfo, ShippingLine};
pub use sealed::SealedSecret;
pub use text::TextFault;
pub use trace::{CorrelationId, TraceParent};
pub use user::{NewUser, Password, PasswordHash, PersonName, PostalAddress, User, UserChange};

/// Why a value was refused. The text is meant for the person who sent it and names the rule, not the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
