//! A server that goes away under load, and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tidings_storage::{Db, Error, Location};
use tidings_testkit::{TestDatabase, backends, eventually};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use url::Url;

/// How long the server takes to let somebody in.
const WELCOME: Duration = Duration::from_millis(250);

/// Passes connections on to a server, each after a while, until dropped.
async fn serve(listener: TcpListener, server: String) {
    let mut passing = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let server = server.clone();
        passing.spawn(async move {
            sleep(WELCOME).await;
            let mut server = TcpStream::connect(server).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// Those who wait when it comes back must not take its time away from those who connect.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_to_let_people_in_is_used_again_under_load() {
    let Some(admin) = backends::postgres() else { return };
    let test = TestDatabase::postgres(&admin).await;
    let Location::Postgres(url) = &test.location else {
        unreachable!("that is a PostgreSQL");
    };
    let mut url = Url::parse(url.expose_secret()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front: SocketAddr = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, server.clone()));
    url.set_port(Some(front.port())).unwrap();
    let location = Location::Postgres(SecretString::from(url.to_string()));
    // Where many open a database at the same time, one may be given up.
    let db = eventually("it opens", || Db::open::<Error, _>(&location, async |_| Ok(()))).await;

    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (db, done, failed) = (db.clone(), done.clone(), failed.clone());
        async move {
            let mut pace = interval(Duration::from_millis(2));
            loop {
                pace.tick().await;
                let (db, done, failed) = (db.clone(), done.clone(), failed.clone());
                tokio::spawn(async move {
                    let written = db.write::<(), Error, _>(|_| Box::pin(async { Ok(()) })).await;
                    let count = if written.is_ok() { done } else { failed };
                    count.fetch_add(1, Ordering::SeqCst);
                });
            }
        }
    });
    let reaches = async |count: &AtomicUsize, more: usize| {
        let goal = count.load(Ordering::SeqCst) + more;
        eventually("writes end", async || match count.load(Ordering::SeqCst) {
            now if now >= goal => Ok(()),
            now => Err(now),
        })
        .await;
    };
    reaches(&done, 500).await;
    serving.abort();
    reaches(&failed, 1000).await;
    let serving = tokio::spawn(serve(TcpListener::bind(front).await.unwrap(), server));
    reaches(&done, 1000).await;
    load.abort();
    serving.abort();
}
