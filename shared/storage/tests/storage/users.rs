use tidings_domain::{Clock, EmailAddress, NewUser, PasswordHash, PersonName, PostalAddress, User, UserChange};
use tidings_storage::users::{self as rows, Sort, SortBy, UserFilter};
use tidings_storage::{Db, Error};
use tidings_testkit::databases;

use crate::CLOCK;

fn name(name: &str) -> PersonName {
    PersonName::parse(name).unwrap()
}

fn new(first: &str, last: &str, email: &str) -> NewUser {
    NewUser {
        first_name: name(first),
        last_name: name(last),
        email: EmailAddress::parse(email).unwrap(),
        password: PasswordHash::new("$argon2id$…".to_owned()),
        address: PostalAddress::default(),
        created_at: CLOCK.now(),
    }
}

async fn add(db: &Db, new: NewUser) -> Option<User> {
    db.write(move |tx| Box::pin(rows::insert(tx, new))).await.unwrap()
}

async fn update(db: &Db, user: &User, change: UserChange) -> Result<Option<User>, Error> {
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
