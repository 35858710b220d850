use std::time::Duration;

use tidings_domain::{
    Clock, EmailAddress, NewUser, PasswordHash, PersonName, PhoneNumber, PostalAddress, User, UserChange,
};
use tidings_storage::users::{self as rows, Sort, SortBy, UserFilter};
use tidings_storage::{Db, Error};
use tidings_testkit::databases;
use tokio::sync::oneshot;

use crate::CLOCK;

fn name(name: &str) -> PersonName {
    PersonName::parse(name).unwrap()
}

pub fn new(first: &str, last: &str, email: &str) -> NewUser {
    NewUser {
        first_name: name(first),
        last_name: name(last),
        email: EmailAddress::parse(email).unwrap(),
        password: PasswordHash::new("$argon2id$…".to_owned()),
        address: PostalAddress::default(),
        created_at: CLOCK.now(),
    }
}

pub async fn add(db: &Db, new: NewUser) -> Option<User> {
    db.write(move |tx| Box::pin(rows::insert(tx, new))).await.unwrap()
}

pub async fn update(db: &Db, user: &User, change: UserChange) -> Result<Option<User>, Error> {
    let id = user.id;
    db.write(move |tx| Box::pin(async move { rows::update(tx, id, &change).await }))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_belongs_to_one_user_at_a_time() {
    for test in databases().await {
        let db = &test.db;
        let serge = add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap();
        assert_eq!(
            rows::find(db.read(), serge.id).await.unwrap(),
            Some(serge.clone()),
            "{}",
            test.name
        );
        assert_eq!(add(db, new("Simon", "Jeremi", "serge@example.com")).await, None);
        let other_case = add(db, new("Serge", "Karamazov", "Serge@example.com")).await.unwrap();
        let taken = UserChange {
            email: Some(serge.email.clone()),
            ..UserChange::default()
        };
        let clash = update(db, &other_case, taken).await;
        assert!(matches!(clash, Err(Error::Conflict(_))), "{}: {clash:?}", test.name);
        for (except, expected) in [(None, true), (Some(serge.id), false), (Some(other_case.id), true)] {
            assert_eq!(
                rows::email_is_taken(db.read(), &serge.email, except).await.unwrap(),
                expected
            );
        }

        let id = serge.id;
        let delete = || db.write(move |tx| Box::pin(rows::delete(tx, id, CLOCK.now())));
        let gone = delete().await.unwrap().unwrap();
        assert_eq!(
            gone,
            User {
                version: 2,
                ..serge.clone()
            },
            "as it was"
        );
        assert_eq!(delete().await.unwrap(), None);
        assert_eq!(rows::find(db.read(), id).await.unwrap(), None);
        assert_eq!(update(db, &serge, UserChange::default()).await.unwrap(), None);
        let again = add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap();
        assert!(again.id > other_case.id, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_counts_the_version_up_and_is_found_by_searches() {
    for test in databases().await {
        let db = &test.db;
        let user = add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap();
        let same = update(db, &user, UserChange::default()).await.unwrap().unwrap();
        assert_eq!(
            same,
            User {
                version: 2,
                ..user.clone()
            }
        );
        let change = UserChange {
            last_name: Some(name("MÜLLER")),
            email: Some(EmailAddress::parse("MUELLER@example.com").unwrap()),
            address: Some(PostalAddress::parse("Zürich, Switzerland").unwrap()),
            password: Some(PasswordHash::new("$argon2id$other".to_owned())),
            first_name: None,
            phone: None,
        };
        let changed = update(db, &user, change).await.unwrap().unwrap();
        assert_eq!((changed.version, changed.first_name.as_str()), (3, "Serge"));
        for (search, country, found) in [
            ("müller", "CH", 1),
            ("mueller@", "switzerland", 1),
            ("karamazov", "CH", 0),
            ("müller", "Zürich", 0),
        ] {
            let filter = UserFilter {
                search: vec![search.to_owned()],
                country: Some(country.to_owned()),
                ..UserFilter::default()
            };
            assert_eq!(
                rows::count(db.read(), &filter).await.unwrap(),
                found,
                "{}: {search} {country}",
                test.name
            );
            let listed = rows::list(db.read(), &filter, &[], 0, 10).await.unwrap();
            assert_eq!(listed.len() as u64, found);
        }
    }
}

/// The order is the same on every database, whatever its collation.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_by_code_points() {
    for test in databases().await {
        for (number, last) in ["b", "B", "a", "ä", "A", "_"].iter().enumerate() {
            add(&test.db, new("x", last, &format!("{number}@example.com")))
                .await
                .unwrap();
        }
        let sorted = async |descending| {
            let sort = [Sort {
                by: SortBy::LastName,
                descending,
            }];
            let users = rows::list(test.db.read(), &UserFilter::default(), &sort, 0, 10)
                .await
                .unwrap();
            users
                .iter()
                .map(|user| user.last_name.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(sorted(false).await, ["A", "B", "_", "a", "b", "ä"], "{}", test.name);
        assert_eq!(sorted(true).await, ["ä", "b", "a", "_", "B", "A"], "{}", test.name);
    }
}

pub fn phone(number: Option<&str>) -> UserChange {
    UserChange {
        phone: Some(number.map(|number| PhoneNumber::parse(number).unwrap())),
        ..UserChange::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_set_kept_and_removed() {
    for test in databases().await {
        let db = &test.db;
        let user = add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap();
        assert_eq!(user.phone, None, "{}", test.name);
        let number = Some(PhoneNumber::parse("+41791234567").unwrap());
        let set = update(db, &user, phone(Some("+41791234567"))).await.unwrap().unwrap();
        assert_eq!((&set.phone, set.version), (&number, 2), "{}", test.name);
        let kept = update(db, &user, UserChange::default()).await.unwrap().unwrap();
        assert_eq!(kept.phone, number, "{}", test.name);
        assert_eq!(
            rows::find(db.read(), user.id).await.unwrap(),
            Some(kept),
            "{}",
            test.name
        );
        let removed = update(db, &user, phone(None)).await.unwrap().unwrap();
        assert_eq!((removed.phone, removed.version), (None, 4), "{}", test.name);

        // Two may share a phone, and of whoever is deleted none is left.
        let other = add(db, new("Odile", "Deray", "odile@example.com")).await.unwrap();
        for user in [&user, &other] {
            update(db, user, phone(Some("+41791234567"))).await.unwrap().unwrap();
        }
        let id = other.id;
        let deleted = db
            .write(move |tx| Box::pin(rows::delete(tx, id, CLOCK.now())))
            .await
            .unwrap();
        assert_eq!(deleted.unwrap().phone, number, "{}: what it was", test.name);
        let wiped = "UPDATE users SET version = version WHERE deleted_at IS NOT NULL AND phone IS NULL";
        assert_eq!(test.tamper(wiped).await, 1, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_found_by_their_ids() {
    for test in databases().await {
        let db = &test.db;
        let serge = add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap();
        let odile = add(db, new("Odile", "Deray", "odile@example.com")).await.unwrap();
        let nobody = 99.into();
        let found = rows::find_all(db.read(), [serge.id, nobody, odile.id, serge.id])
            .await
            .unwrap();
        assert_eq!(found.len(), 2, "{}", test.name);
        assert_eq!(
            (&found[&serge.id], &found[&odile.id]),
            (&serge, &odile),
            "{}",
            test.name
        );
        assert!(rows::find_all(db.read(), []).await.unwrap().is_empty(), "{}", test.name);
    }
}

/// Whoever is locked can neither be changed nor deleted until the transaction ends, but by others be locked, too.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_locked_stays() {
    for test in databases().await {
        let db = &test.db;
        let user = add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap();
        let id = user.id;
        let (locked, is_locked) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let holder = test.reopen().await;
        let holding = tokio::spawn(async move {
            let held: Result<Option<User>, Error> = holder
                .write(move |tx| {
                    Box::pin(async move {
                        let user = rows::lock(tx, id).await?;
                        locked.send(()).unwrap();
                        let _ = released.await;
                        Ok(user)
                    })
                })
                .await;
            held.unwrap()
        });
        is_locked.await.unwrap();
        if test.name == "PostgreSQL" {
            let beside = db.write(move |tx| Box::pin(rows::lock(tx, id)));
            assert_eq!(beside.await.unwrap(), Some(user.clone()));
        }
        let deleting = db.write(move |tx| Box::pin(rows::delete(tx, id, CLOCK.now())));
        let mut deleting = std::pin::pin!(deleting);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut deleting).await;
        assert!(early.is_err(), "{}: deleted while locked", test.name);
        release.send(()).unwrap();
        assert_eq!(holding.await.unwrap(), Some(user), "{}", test.name);
        assert!(deleting.await.unwrap().is_some(), "{}", test.name);
        let gone = db.write(move |tx| Box::pin(rows::lock(tx, id)));
        assert_eq!(gone.await.unwrap(), None, "{}", test.name);
    }
}
