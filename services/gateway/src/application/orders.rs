//! What can be done with orders of kits.

use tidings_domain::{ChannelName, Order, OrderId, SequencingType, ShippingInfo, User, UserId};
use tidings_events::rules::rule_for;
use tidings_events::{Event, OrderPlaced, Origin};
use tidings_storage::outbox::enqueue;
use tidings_storage::{Error, orders};

use super::Application;
use super::idempotency::{Once, Outcome};
use super::users::{ForUserError, stay};

/// An order as someone places it.
#[derive(Debug, Clone)]
pub(crate) struct NewOrder {
    pub(crate) user: UserId,
    pub(crate) sequencing: SequencingType,
    pub(crate) shipping: ShippingInfo,
    /// How the user is to be told. Without one the rules decide.
    pub(crate) channel: Option<ChannelName>,
}

/// Places an order. That the user is told of it is what its event sets off.
pub(crate) async fn place(
    app: &Application,
    new: NewOrder,
    origin: Origin,
    once: Option<Once<Order>>,
) -> Result<Outcome<Order>, ForUserError> {
    let order = Order {
        id: OrderId::generate(app.clock()),
        user: new.user,
        channel: new.channel.unwrap_or_else(|| channel_of(&new.sequencing)),
        sequencing: new.sequencing,
        shipping: new.shipping,
        created_at: app.clock().now(),
        version: 1,
    };
    let clock = app.clock.clone();
    app.write_once(once, move |tx| {
        Box::pin(async move {
            stay(tx, order.user).await?;
            orders::insert(tx, &order).await?;
            enqueue(tx, &OrderPlaced(&order), &origin, &*clock).await?;
            Ok(order)
        })
    })
    .await
}

/// By what the rules have users told about such an order.
fn channel_of(sequencing: &SequencingType) -> ChannelName {
    let rule = rule_for(OrderPlaced::TYPE, |name| {
        (name == "sequencing_type").then_some(sequencing.as_str())
    });
    rule.map_or(ChannelName::Email, |rule| rule.channel)
}

pub(crate) async fn find(app: &Application, id: OrderId) -> Result<Option<Order>, Error> {
    app.read(|db| async move { orders::find(db.read(), id).await }).await
}

/// All of them, oldest first.
pub(crate) async fn list(app: &Application) -> Result<Vec<Order>, Error> {
    app.read(|db| async move { orders::list(db.read()).await }).await
}

/// All users, each with their orders, oldest first.
pub(crate) async fn by_user(app: &Application) -> Result<Vec<(User, Vec<Order>)>, Error> {
    app.read(|db| async move { orders::by_user(db.read()).await }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exomes_are_told_by_sms_and_everything_else_by_email() {
        for (sequencing, channel) in [
            ("whole-exome-sequencing", ChannelName::Sms),
            ("whole-genome-sequencing", ChannelName::Email),
            ("Whole-Exome-Sequencing", ChannelName::Email),
            ("anything", ChannelName::Email),
        ] {
            assert_eq!(
                channel_of(&SequencingType::parse(sequencing).unwrap()),
                channel,
                "{sequencing}"
            );
        }
    }
}
