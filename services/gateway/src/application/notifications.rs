//! What can be done with notifications.

use tidings_domain::{ChannelName, Notification, NotificationId, NotificationText, Route, UserId};
use tidings_events::Origin;
use tidings_storage::Error;
use tidings_storage::notifications::{self, Notice};

use super::Application;
use super::idempotency::{Once, Outcome};
use super::users::{ForUserError, stay};

pub(crate) use tidings_storage::notifications::NotificationFilter;

/// What stands above a message that somebody wrote, where a channel shows such a thing.
const SUBJECT: &str = "A message for you";
/// How many are listed.
const NEWEST: u64 = 100;

/// Something that a user is to be told.
#[derive(Debug, Clone)]
pub(crate) struct NewNotification {
    pub(crate) user: UserId,
    pub(crate) message: NotificationText,
    pub(crate) channel: ChannelName,
}

/// Has a user told something. It goes where everything goes that users are told, [`notifications::notify`].
pub(crate) async fn notify(
    app: &Application,
    new: NewNotification,
    origin: Origin,
    once: Option<Once<Notification>>,
) -> Result<Outcome<Notification>, ForUserError> {
    let clock = app.clock.clone();
    app.write_once(once, move |tx| {
        Box::pin(async move {
            let user = stay(tx, new.user).await?;
            let notice = Notice {
                user: user.id,
                wanted: new.channel,
                route: Route::to(&user, new.channel),
                subject: SUBJECT.to_owned(),
                message: new.message,
                cause: None,
                origin,
            };
            let added = notifications::notify(tx, vec![notice], &*clock).await?;
            let lost = || Error::Corrupt("a notification that nobody asked for before was there".to_owned());
            Ok(added.into_iter().next().ok_or_else(lost)?)
        })
    })
    .await
}

pub(crate) async fn find(app: &Application, id: NotificationId) -> Result<Option<Notification>, Error> {
    app.read(|db| async move { notifications::find(db.read(), id).await })
        .await
}

/// The newest, the newest of them first.
pub(crate) async fn list(app: &Application, filter: NotificationFilter) -> Result<Vec<Notification>, Error> {
    app.read(|db| async move { notifications::list(db.read(), filter, NEWEST).await })
        .await
}
