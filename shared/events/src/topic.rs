use std::time::Duration;

/// The topics. This is the only place that says what they are called and how they are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    Users,
    Contacts,
    Messages,
    Orders,
    Notifications,
    Guids,
    Webhooks,
    ApiKeys,
}

/// All topics, in the order in which they are created and documented.
pub const TOPICS: &[Topic] = &[
    Topic::Users,
    Topic::Contacts,
    Topic::Messages,
    Topic::Orders,
    Topic::Notifications,
    Topic::Guids,
    Topic::Webhooks,
    Topic::ApiKeys,
];

impl Topic {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users-events",
            Self::Contacts => "contacts-events",
            Self::Messages => "messages-events",
            Self::Orders => "orders-events",
            Self::Notifications => "notifications-events",
            Self::Guids => "guids-events",
            Self::Webhooks => "webhooks-events",
            Self::ApiKeys => "api-keys-events",
        }
    }

    /// Enough for a few consumers to share the work. More would spread the same records over smaller
    /// batches, which costs throughput.
    pub const fn partitions(self) -> i32 {
        match self {
            Self::Users | Self::Contacts | Self::Messages | Self::Orders | Self::Notifications | Self::Guids => 3,
            Self::Webhooks | Self::ApiKeys => 1,
        }
    }

    /// How long records stay readable on the topic. The database keeps the same events as long.
    pub const fn retention(self) -> Duration {
        Duration::from_secs(30 * 24 * 60 * 60)
    }

    pub fn from_name(name: &str) -> Option<Self> {
        TOPICS.iter().copied().find(|topic| topic.name() == name)
    }
}
