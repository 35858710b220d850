//! What can be done with users.
//!
//! Who may sign up is decided first, by [`admit`]; to create a user takes what it gives. Then everything
//! that is wrong with the fields is told at once. That an email is unique is the database's rule. It is
//! asked about beforehand only where the answer is a refusal anyway, to make that one complete.

mod draft;

use std::net::IpAddr;

use tidings_domain::{
    Clock, Country, EmailAddress, NewUser, Order, Password, PasswordHash, PhoneNumber, User, UserChange, UserId,
};
use tidings_events::data::LinkedUser;
use tidings_events::{Origin, UserCreated, UserDeleted, UserUpdated};
use tidings_storage::outbox::enqueue;
use tidings_storage::{Error, Tx, orders, users};

use self::draft::Parsed;
pub(crate) use self::draft::{Draft, Field, Given, Problem, Problems};
use super::Application;
use super::idempotency::{Once, Outcome, Refused};
use super::passwords::HashError;

pub(crate) use tidings_storage::users::{Sort, SortBy, UserFilter};

/// Where users may come from.
const HOME: &str = "CH";

/// The right to create a user.
#[derive(Debug)]
pub(crate) struct Admitted(());

/// Somebody is elsewhere.
#[derive(Debug)]
pub(crate) struct NotAdmitted {
    /// `None` if it could not be found out.
    pub(crate) country: Option<Country>,
}

/// Why nothing was done with a user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("fields are not as they must be")]
    Problems(Problems),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Storage(#[from] Error),
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// Why nothing was done for a user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForUserError {
    #[error("the user does not exist")]
    UnknownUser,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Storage(#[from] Error),
}

/// Which fields must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    /// All but the address.
    All,
    None,
}

/// Where users are shown, up to their id. An event shows them as the request that set it off would.
#[derive(Debug, Clone)]
pub(crate) struct UserUrl(pub(crate) String);

impl UserUrl {
    fn link(&self, user: User) -> LinkedUser {
        LinkedUser {
            url: self.of(user.id),
            user,
        }
    }

    pub(crate) fn of(&self, id: UserId) -> String {
        format!("{}{id}", self.0)
    }
}

/// A page that someone asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Number(u64),
    Last,
}

/// One page of a list, and where it stands.
#[derive(Debug)]
pub(crate) struct UserPage {
    pub(crate) users: Vec<User>,
    /// Users on all pages together.
    pub(crate) total: u64,
    pub(crate) number: u64,
    pub(crate) pages: u64,
}

/// Decides whether somebody at this address may create a user. `None` is an address that is not known.
pub(crate) async fn admit(app: &Application, client: Option<IpAddr>) -> Result<Admitted, NotAdmitted> {
    let country = match client {
        Some(address) => app.locate(address).await.ok(),
        None => None,
    };
    match country {
        Some(country) if country.code() == HOME => Ok(Admitted(())),
        country => Err(NotAdmitted { country }),
    }
}

pub(crate) async fn create(
    app: &Application,
    _: Admitted,
    draft: Draft,
    url: UserUrl,
    origin: Origin,
    once: Option<Once<LinkedUser>>,
) -> Result<Outcome<LinkedUser>, UserError> {
    let parsed = draft.parse(Needed::All);
    if !parsed.problems.is_empty() {
        return Err(refusal(app, parsed, None).await);
    }
    let missing = || UserError::Problems(Problems::default());
    let new = NewUser {
        first_name: parsed.first_name.ok_or_else(missing)?,
        last_name: parsed.last_name.ok_or_else(missing)?,
        email: parsed.email.ok_or_else(missing)?,
        password: hash(app, parsed.password.ok_or_else(missing)?).await?,
        address: parsed.address.unwrap_or_default(),
        created_at: app.clock().now(),
    };
    let clock = app.clock.clone();
    app.write_once(once, move |tx| {
        Box::pin(async move {
            let Some(user) = users::insert(tx, new).await? else {
                return Err(UserError::Problems(Problems::email_taken()));
            };
            let user = url.link(user);
            enqueue(tx, &UserCreated(&user), &origin, &*clock).await?;
            Ok(user)
        })
    })
    .await
}

pub(crate) async fn find(app: &Application, id: UserId) -> Result<Option<User>, Error> {
    app.read(|db| async move { users::find(db.read(), id).await }).await
}

/// `None` if there is no such page. The first one is always there.
pub(crate) async fn list(
    app: &Application,
    filter: UserFilter,
    sort: Vec<Sort>,
    wanted: Wanted,
    size: u64,
) -> Result<Option<UserPage>, Error> {
    app.read(|db| async move {
        let total = users::count(db.read(), &filter).await?;
        let Some((number, pages)) = place(total, size, wanted) else {
            return Ok(None);
        };
        let users = users::list(db.read(), &filter, &sort, (number - 1) * size, size).await?;
        Ok(Some(UserPage {
            users,
            total,
            number,
            pages,
        }))
    })
    .await
}

/// The number of a page and how many there are; `None` if there is no such page.
fn place(total: u64, size: u64, wanted: Wanted) -> Option<(u64, u64)> {
    let pages = total.div_ceil(size).max(1);
    let number = match wanted {
        Wanted::Last => pages,
        Wanted::Number(number) => number,
    };
    (1..=pages).contains(&number).then_some((number, pages))
}

/// Changes a user; answers it as it is then, or `None` if there is none. Each that succeeds is one event,
/// even if it left everything as it was: the password is kept in a form that cannot be compared.
pub(crate) async fn update(
    app: &Application,
    id: UserId,
    draft: Draft,
    needed: Needed,
    url: UserUrl,
    origin: Origin,
) -> Result<Option<LinkedUser>, UserError> {
    let parsed = draft.parse(needed);
    if !parsed.problems.is_empty() {
        return Err(refusal(app, parsed, Some(id)).await);
    }
    let password = match parsed.password {
        Some(password) => Some(hash(app, password).await?),
        None => None,
    };
    let change = UserChange {
        first_name: parsed.first_name,
        last_name: parsed.last_name,
        email: parsed.email,
        password,
        address: parsed.address,
        phone: None,
    };
    let clock = app.clock.clone();
    app.write(move |tx| {
        Box::pin(async move {
            match change_row(tx, id, &change, &url, &origin, &*clock).await {
                Err(Error::Conflict(_)) => Err(UserError::Problems(Problems::email_taken())),
                changed => Ok(changed?),
            }
        })
    })
    .await
}

/// Sets the phone of a user, or takes it away; answers the user with their orders, or `None` if there is none.
pub(crate) async fn set_phone(
    app: &Application,
    id: UserId,
    phone: Option<PhoneNumber>,
    url: UserUrl,
    origin: Origin,
) -> Result<Option<(User, Vec<Order>)>, Error> {
    let change = UserChange {
        phone: Some(phone),
        ..UserChange::default()
    };
    let clock = app.clock.clone();
    app.write(move |tx| {
        Box::pin(async move {
            let Some(changed) = change_row(tx, id, &change, &url, &origin, &*clock).await? else {
                return Ok(None);
            };
            Ok(Some((changed.user, orders::of_user(tx.conn(), id).await?)))
        })
    })
    .await
}

/// Changes a user with the event that tells of it.
async fn change_row(
    tx: &Tx<'_>,
    id: UserId,
    change: &UserChange,
    url: &UserUrl,
    origin: &Origin,
    clock: &dyn Clock,
) -> Result<Option<LinkedUser>, Error> {
    let Some(user) = users::update(tx, id, change).await?.map(|user| url.link(user)) else {
        return Ok(None);
    };
    enqueue(tx, &UserUpdated(&user), origin, clock).await?;
    Ok(Some(user))
}

/// Finds the user for whom something is done, who stays as they are until that is done.
pub(super) async fn stay(tx: &Tx<'_>, id: UserId) -> Result<User, ForUserError> {
    users::lock(tx, id).await?.ok_or(ForUserError::UnknownUser)
}

/// Deletes a user; answers whether there was one. Its email is free again.
pub(crate) async fn delete(app: &Application, id: UserId, url: UserUrl, origin: Origin) -> Result<bool, Error> {
    let clock = app.clock.clone();
    app.write(move |tx| {
        Box::pin(async move {
            let Some(user) = users::delete(tx, id, clock.now()).await? else {
                return Ok(false);
            };
            enqueue(tx, &UserDeleted(&url.link(user)), &origin, &*clock).await?;
            Ok(true)
        })
    })
    .await
}

async fn hash(app: &Application, password: Password) -> Result<PasswordHash, HashError> {
    app.passwords.hash(&app.runtime, password).await
}

/// Everything that is wrong, which may include that another user has the email.
async fn refusal(app: &Application, parsed: Parsed, except: Option<UserId>) -> UserError {
    let mut problems = parsed.problems;
    let taken = match parsed.email {
        Some(email) => email_is_taken(app, email, except).await,
        None => Ok(false),
    };
    match taken {
        Ok(taken) => {
            if taken {
                problems.add(Field::Email, Problem::Taken);
            }
            UserError::Problems(problems)
        }
        Err(error) => error.into(),
    }
}

async fn email_is_taken(app: &Application, email: EmailAddress, except: Option<UserId>) -> Result<bool, Error> {
    app.read(|db| async move { users::email_is_taken(db.read(), &email, except).await })
        .await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Page after page, everybody is on one of them, and none but the first is empty.
        #[test]
        fn pages_cover_everybody_once(total in 0..10_000_u64, size in 1..=20_u64, wanted in any::<u64>()) {
            let (last, pages) = place(total, size, Wanted::Last).unwrap();
            prop_assert_eq!(last, pages);
            let on = |number: u64| total.saturating_sub((number - 1) * size).min(size);
            prop_assert_eq!((1..=pages).map(on).sum::<u64>(), total);
            prop_assert!((2..=pages).all(|number| on(number) > 0));
            let exists = (1..=pages).contains(&wanted);
            prop_assert_eq!(place(total, size, Wanted::Number(wanted)), exists.then_some((wanted, pages)));
            prop_assert_eq!(place(total, size, Wanted::Number(0)), None);
        }
    }
}
