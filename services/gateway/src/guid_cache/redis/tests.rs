//! What Redis takes and what it refuses, where there is one.

use tidings_testkit::{backends, eventually};

use super::*;

const LIFE: Duration = Duration::from_secs(60);

async fn shared(life: Duration) -> Option<Arc<Shared>> {
    let url = backends::redis()?;
    let shared = Shared::start(&Redis::at(&url.into()).unwrap(), life).unwrap();
    eventually("redis answers", async || {
        let answers = shared.answers.load(Ordering::Relaxed);
        if answers { Ok(()) } else { Err(()) }
    })
    .await;
    Some(shared)
}

impl Shared {
    /// Asks until there is an answer: on a busy machine one may be given up.
    async fn held(self: &Arc<Self>, id: Guid) -> (Option<(Lookup, Duration)>, Token) {
        eventually("redis answers", async || self.look(id).await.ok_or(())).await
    }

    async fn version(self: &Arc<Self>, id: Guid) -> Option<i64> {
        self.held(id).await.0.map(|(lookup, _)| lookup.version)
    }

    async fn now(self: &Arc<Self>) -> Token {
        self.held(Guid::random()).await.1
    }

    /// Fills until that is seen: a call that is given up may have been carried out or not.
    async fn surely_fill(self: &Arc<Self>, id: Guid, found: &Lookup) {
        eventually("it is filled", async || {
            let begun = self.now().await;
            self.fill(id, begun, found).await;
            match self.held(id).await.0 {
                Some((held, _)) if held == *found => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }
}

fn lookup(id: Guid, version: i64, user: Option<&str>) -> Lookup {
    let record = user.map(|user| GuidRecord {
        id,
        user: GuidUser::parse(user).unwrap(),
        expires: Expiry::from_unix(4_000_000_000).unwrap(),
        created_at: DateTime::UNIX_EPOCH + Duration::from_micros(1_767_323_045_678_901),
        version,
    });
    Lookup { version, record }
}

#[test]
fn values_read_back_as_they_were_written() {
    let id = Guid::random();
    for found in [
        lookup(id, 0, None),
        lookup(id, 7, None),
        lookup(id, 1, Some("Jay \" ? - é 👋")),
    ] {
        assert_eq!(read(id, &write(&found).unwrap()), Some(found));
    }
    for other in [
        "",
        "1",
        "1 ",
        "x -",
        "1 ?",
        "1 {}",
        "1 {\"user\":\"\",\"expires\":1}",
        "-",
        "\u{0}",
    ] {
        assert_eq!(read(id, other), None, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_takes_the_place_of_the_older_and_never_the_other_way() {
    let Some(shared) = shared(LIFE).await else { return };
    let id = Guid::random();
    assert_eq!(shared.held(id).await.0, None);
    shared.surely_fill(id, &lookup(id, 0, None)).await;
    shared.surely_fill(id, &lookup(id, 1, Some("Jay"))).await;
    let (held, begun) = shared.held(id).await;
    let (found, left) = held.unwrap();
    assert_eq!(found, lookup(id, 1, Some("Jay")));
    assert!(left <= LIFE);

    // Somebody changes it while another is still reading what was before.
    eventually("the mark is there", async || {
        shared.mark(id, 2).await;
        if shared.version(id).await.is_none() {
            Ok(())
        } else {
            Err(())
        }
    })
    .await;
    shared.fill(id, begun, &lookup(id, 1, Some("Jay"))).await;
    assert_eq!(shared.version(id).await, None, "the slow reader's is refused");
    shared.surely_fill(id, &lookup(id, 2, Some("Ada"))).await;
    shared.fill(id, begun, &lookup(id, 1, Some("Jay"))).await;
    shared.mark(id, 2).await;
    shared.mark(id, 1).await;
    assert_eq!(
        shared.version(id).await,
        Some(2),
        "what is known is not forgotten for less"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_lives_from_when_its_reader_began() {
    let Some(shared) = shared(LIFE).await else { return };
    let id = Guid::random();
    let found = lookup(id, 1, Some("Jay"));
    let Token(now) = shared.now().await;
    let life = shared.life_in_millis();
    // Late by all of a life, and from the future, which only a clock that was set back can bring about.
    for impossible in [now - life - 1, now + life] {
        shared.fill(id, Token(impossible), &found).await;
        assert_eq!(shared.version(id).await, None);
    }
    let left = eventually("it is filled", async || {
        shared.fill(id, Token(now - life / 2), &found).await;
        shared.held(id).await.0.map(|(_, left)| left).ok_or(())
    })
    .await;
    assert!(left <= LIFE / 2, "{left:?}");

    let brief = Duration::from_millis(20);
    let Some(short) = self::shared(brief).await else { return };
    let id = Guid::random();
    let begun = short.now().await;
    short.fill(id, begun, &found).await;
    eventually("it has died", async || match short.version(id).await {
        None => Ok(()),
        Some(version) => Err(version),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_is_not_asked() {
    let redis = Redis::at(&"redis://127.0.0.1:9".into()).unwrap();
    let shared = Shared::start(&redis, LIFE).unwrap();
    let id = Guid::random();
    assert!(shared.look(id).await.is_none());
    shared.fill(id, Token(0), &lookup(id, 1, None)).await;
    shared.mark(id, 1).await;
    assert!(!shared.answers.load(Ordering::Relaxed));
}

#[test]
fn a_url_that_cannot_be_used_is_not_repeated() {
    let refused = Redis::at(&"http://:hidden@host".into()).unwrap_err();
    assert!(refused.to_string().contains("REDIS_URL") && !refused.to_string().contains("hidden"));
}
