//! What the tests happen on: a ground, and a provider for each channel.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidings_domain::{
    ChannelName, EmailAddress, EventId, NewUser, Notification, NotificationStatus, NotificationText, Order, OrderId,
    PasswordHash, PersonName, PhoneNumber, Route, SequencingType, ShippingInfo, ShippingLine, User, UserChange,
};
use tidings_events::{OrderPlaced, Origin};
use tidings_notifier::Parts;
use tidings_notifier::channels::{self, Channels, EmailProvider, HttpProvider, Providers};
use tidings_runtime::reach::Reach;
use tidings_storage::notifications::{self, Notice, NotificationFilter};
use tidings_storage::{Db, Error, orders, outbox, users};
use tidings_testkit::{Behavior, Ground, ProviderSink, eventually};

/// Ample for an attempt that is meant to be answered.
pub const AMPLE: Duration = Duration::from_secs(30);

pub const EXOME: &str = "whole-exome-sequencing";
const TOKEN: &str = "a token";

pub struct Stage {
    ground: Ground,
    pub email: ProviderSink,
    pub sms: ProviderSink,
}

pub type Running = tidings_testkit::Running<tidings_notifier::Error>;

impl Deref for Stage {
    type Target = Ground;
    fn deref(&self) -> &Ground {
        &self.ground
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Ground {
        &mut self.ground
    }
}

/// Runs a test on each database there is, with providers that take everything.
pub async fn on_each_database(test: impl AsyncFn(Stage)) {
    Ground::on_each_database(async |ground| {
        let stage = Stage {
            ground,
            email: ProviderSink::start(TOKEN, Behavior::Acknowledge).await,
            sms: ProviderSink::start(TOKEN, Behavior::Acknowledge).await,
        };
        test(stage).await;
    })
    .await;
}

impl Stage {
    pub fn channels(&self) -> Channels {
        let provider = |sink: &ProviderSink| HttpProvider {
            url: sink.url().into(),
            token: TOKEN.into(),
        };
        let providers = Providers {
            email: Some(EmailProvider::Http(provider(&self.email))),
            sms: Some(provider(&self.sms)),
            // Whatever a test does, nothing leaves this machine.
            resolver: Reach::loopback().into(),
            clock: self.clock.clone(),
        };
        channels::open(providers).unwrap()
    }

    /// Starts the service.
    pub fn run(&self, schedule: &str) -> Running {
        self.run_with(self.db.clone(), self.channels(), schedule, AMPLE)
    }

    pub fn run_with(&self, db: Db, channels: Channels, schedule: &str, attempt_timeout: Duration) -> Running {
        let parts = Parts {
            db,
            clock: self.clock.clone(),
            connection: self.connection.clone(),
            channels,
            schedule: schedule.parse().unwrap(),
            attempt_timeout,
        };
        Running::start(|cancel| tidings_notifier::run(parts, cancel))
    }

    pub async fn user(&self, phone: Option<&str>) -> User {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let new = NewUser {
            first_name: PersonName::parse("Odile").unwrap(),
            last_name: PersonName::parse("Deray").unwrap(),
            email: EmailAddress::parse(format!("odile{number}@example.com")).unwrap(),
            password: PasswordHash::new("$argon2id$".to_owned()),
            address: Default::default(),
            created_at: self.clock.now(),
        };
        let change = UserChange {
            phone: Some(phone.map(|phone| PhoneNumber::parse(phone).unwrap())),
            ..UserChange::default()
        };
        let user = self.db.write::<_, Error, _>(move |tx| {
            Box::pin(async move {
                let user = users::insert(tx, new).await?.unwrap();
                users::update(tx, user.id, &change).await
            })
        });
        user.await.unwrap().unwrap()
    }

    pub async fn delete(&self, user: &User) {
        let (id, now) = (user.id, self.clock.now());
        let deleted = self
            .db
            .write::<_, Error, _>(move |tx| Box::pin(users::delete(tx, id, now)));
        deleted.await.unwrap().unwrap();
    }

    /// Places an order, as the gateway does, and answers it with the id of its event.
    pub async fn order(&self, user: &User, sequencing: &str, channel: ChannelName) -> (Order, EventId) {
        let line = |line: &str| ShippingLine::parse("line", line).unwrap();
        let order = Order {
            id: OrderId::generate(&*self.clock),
            user: user.id,
            sequencing: SequencingType::parse(sequencing).unwrap(),
            shipping: ShippingInfo {
                delivery_name: line("Odile Deray"),
                first_line: line("12 Rue de la Paix"),
                second_line: line(""),
                town: line("Genève"),
                postcode: line("1202"),
                country: line("CH"),
            },
            channel,
            created_at: self.clock.now(),
            version: 1,
        };
        let (placed, clock) = (order.clone(), self.clock.clone());
        let event = self.db.write::<_, Error, _>(move |tx| {
            Box::pin(async move {
                orders::insert(tx, &placed).await?;
                let origin = Origin::own("gateway", &*clock);
                outbox::enqueue(tx, &OrderPlaced(&placed), &origin, &*clock).await
            })
        });
        (order, event.await.unwrap())
    }

    /// Asks for a notification, as the gateway does.
    pub async fn notify(&self, user: &User, message: &str, channel: ChannelName) -> Notification {
        let notice = Notice {
            user: user.id,
            wanted: channel,
            route: Route::to(user, channel),
            subject: "A message for you".to_owned(),
            message: NotificationText::parse(message).unwrap(),
            cause: None,
            origin: Origin::own("gateway", &*self.clock),
        };
        let clock = self.clock.clone();
        let added = self.db.write::<_, Error, _>(move |tx| {
            Box::pin(async move { notifications::notify(tx, vec![notice], &*clock).await })
        });
        added.await.unwrap().remove(0)
    }

    /// All notifications, the newest first.
    pub async fn notifications(&self) -> Vec<Notification> {
        notifications::list(self.db.read(), NotificationFilter::default(), 10_000)
            .await
            .unwrap()
    }

    /// Waits until there are so many notifications, and all of them have this status.
    pub async fn all_become(&self, count: usize, status: NotificationStatus) -> Vec<Notification> {
        eventually(&format!("{count} notifications are {status:?}"), async || {
            let all = self.notifications().await;
            let so_far = all.iter().filter(|one| one.status == status).count();
            if all.len() == count && so_far == count {
                Ok(all)
            } else {
                Err(all.into_iter().take(3).collect::<Vec<_>>())
            }
        })
        .await
    }

    /// Waits until there is one notification with this status.
    pub async fn it_becomes(&self, status: NotificationStatus) -> Notification {
        self.all_become(1, status).await.remove(0)
    }
}
