//! What can be told of a PostgreSQL that cannot be opened.

use std::net::{Ipv4Addr, TcpListener};

use sea_orm::DbErr;
use secrecy::SecretString;
use tidings_storage::{Db, Location, may_open_later, why_not_open};
use tidings_testkit::{TestDatabase, backends};
use uuid::Uuid;

/// Whether it is worth trying again, and why it failed.
async fn failed(url: &str) -> (bool, String) {
    let location = Location::Postgres(SecretString::from(url.to_owned()));
    let opened = Db::open::<DbErr, _>(&location, async |_| Ok(())).await;
    let error = opened.expect_err("this cannot be opened");
    (may_open_later(&error), why_not_open(&error))
}

fn assert_failed((later, why): (bool, String), expected: bool, with: &str) {
    assert_eq!(later, expected, "{why}");
    assert!(why.contains(with), "no `{with}` in {why:?}");
    assert!(!why.contains("open-sesame"), "{why:?}");
}

#[tokio::test]
async fn a_server_that_is_away_may_come() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("postgres://me:open-sesame@{closed}/db");
    assert_failed(failed(&url).await, true, "Connection refused");
    // Reserved for names that do not exist.
    let url = "postgres://me:open-sesame@database.invalid/db";
    assert_failed(failed(url).await, true, "lookup");
    // Accepts connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("postgres://me:open-sesame@{}/db", silent.local_addr().unwrap());
    assert_failed(failed(&url).await, true, "no answer within");
}

#[tokio::test]
async fn an_address_that_is_none_stays_so() {
    assert_failed(failed("postgres://me:open-sesame@host:port/db").await, false, "port");
}

#[tokio::test]
async fn a_server_that_refuses_stays_with_that() {
    let Some(admin) = backends::postgres() else { return };
    let database = TestDatabase::postgres(&admin).await;
    let role = format!("tidings_test_{}", Uuid::new_v4().simple());
    database
        .tamper(&format!("CREATE ROLE {role} LOGIN PASSWORD 'open-sesame'"))
        .await;
    let url = database.url();
    let (_, place) = url.rsplit_once('@').unwrap();
    let as_role = |password: &str| format!("postgres://{role}:{password}@{place}");
    let url = as_role("open-sesame");

    let mistaken = failed(&as_role("mistaken")).await;
    assert_failed(mistaken, false, "password authentication failed");
    assert_failed(failed(&format!("{url}_of_nobody")).await, false, "does not exist");
    assert_failed(failed(&format!("{url}?sslmode=require")).await, false, "TLS");

    // These pass.
    database.tamper(&format!("ALTER ROLE {role} CONNECTION LIMIT 0")).await;
    assert_failed(failed(&url).await, true, "too many connections");
    database.tamper(&format!("ALTER ROLE {role} CONNECTION LIMIT -1")).await;
    let outage = database.outage().await;
    assert_failed(failed(&url).await, true, "not currently accepting connections");
    outage.end().await;

    database.tamper(&format!("ALTER ROLE {role} NOLOGIN")).await;
    assert_failed(failed(&url).await, false, "not permitted to log in");
    database.tamper(&format!("DROP ROLE {role}")).await;
}
