use chrono::Utc;
use tidings_domain::{Expiry, GuidUser};
use tokio::time::advance;

use super::*;

const LIFE: Duration = Duration::from_secs(1);

fn cache() -> GuidCache {
    GuidCache::new(&GuidCaching::default())
}

fn lookup(id: Guid, version: i64, user: Option<&str>) -> Lookup {
    let record = user.map(|user| GuidRecord {
        id,
        user: GuidUser::parse(user).unwrap(),
        expires: Expiry::from_unix(4_000_000_000).unwrap(),
        created_at: chrono::DateTime::<Utc>::UNIX_EPOCH,
        version,
    });
    Lookup { version, record }
}

impl GuidCache {
    /// A read that finds this, after `meanwhile`.
    async fn read(&self, id: Guid, found: Lookup, meanwhile: impl Future<Output = ()>) -> Option<String> {
        let query = async {
            meanwhile.await;
            Ok::<_, ()>(found)
        };
        let record = self.look(id, query).await.unwrap();
        record.map(|record| record.user.as_str().to_owned())
    }

    /// Who is at hand, if it is known; `Some(None)` if it is known that there is nobody.
    fn user(&self, id: Guid) -> Option<Option<String>> {
        let known = self.at_hand(id)?;
        Some(known.map(|record| record.user.as_str().to_owned()))
    }
}

fn known(user: &str) -> Option<Option<String>> {
    Some(Some(user.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn an_entry_lives_from_the_beginning_of_its_read() {
    let (cache, id) = (cache(), Guid::random());
    assert_eq!(cache.user(id), None);
    let slow = advance(Duration::from_millis(700));
    let found = cache.read(id, lookup(id, 1, Some("Jay")), slow).await;
    assert_eq!(found.as_deref(), Some("Jay"));
    advance(Duration::from_millis(299)).await;
    assert_eq!(cache.user(id), known("Jay"));
    advance(Duration::from_millis(1)).await;
    assert_eq!(cache.user(id), None);

    let found = cache.read(id, lookup(id, 1, Some("Jay")), advance(LIFE)).await;
    assert_eq!(found.as_deref(), Some("Jay"), "whoever asked gets it");
    assert_eq!(cache.user(id), None, "and nobody else");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_change_is_not_kept() {
    let (cache, id) = (cache(), Guid::random());
    for (version, change) in [(2, true), (4, false)] {
        let change = async {
            if change {
                cache.changed(id, version);
            } else {
                cache.heard(id, version);
            }
        };
        let old = lookup(id, version - 1, Some("old"));
        assert_eq!(cache.read(id, old.clone(), change).await.as_deref(), Some("old"));
        assert_eq!(cache.user(id), None);
        // One that began before the change may end after the next read did.
        cache.read(id, lookup(id, version, Some("new")), async {}).await;
        cache.read(id, old, async {}).await;
        assert_eq!(cache.user(id), known("new"));
        advance(LIFE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_ends_what_is_known_and_no_more() {
    let (cache, id, other) = (cache(), Guid::random(), Guid::random());
    for id in [id, other] {
        cache.read(id, lookup(id, 3, Some("Jay")), async {}).await;
    }
    cache.heard(id, 2);
    cache.heard(id, 3);
    assert_eq!(cache.user(id), known("Jay"), "that was known already");
    cache.heard(id, 4);
    assert_eq!(cache.user(id), None);
    assert_eq!(cache.user(other), known("Jay"));
}

#[tokio::test(start_paused = true)]
async fn that_there_is_none_is_known_until_there_is_one() {
    let (cache, id) = (cache(), Guid::random());
    assert_eq!(cache.read(id, lookup(id, 0, None), async {}).await, None);
    assert_eq!(cache.user(id), Some(None));
    cache.changed(id, 1);
    assert_eq!(cache.user(id), None);
    cache.read(id, lookup(id, 0, None), async {}).await;
    assert_eq!(cache.user(id), None, "a read from before");
    cache.read(id, lookup(id, 1, Some("Jay")), async {}).await;
    assert_eq!(cache.user(id), known("Jay"));
}

#[tokio::test(start_paused = true)]
async fn an_older_read_that_lives_still_is_refused_however_late_it_ends() {
    let (cache, id) = (cache(), Guid::random());
    // It begins a moment before the change, and ends when it is as good as dead.
    let late = async {
        cache.heard(id, 2);
        advance(LIFE - Duration::from_millis(1)).await;
    };
    cache.read(id, lookup(id, 1, Some("old")), late).await;
    assert_eq!(cache.user(id), None);
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_many_and_not_for_all() {
    let cache = cache();
    for _ in 0..70_000 {
        let id = Guid::random();
        cache.read(id, lookup(id, 1, Some(&"x".repeat(255))), async {}).await;
    }
    cache.0.local.run_pending_tasks();
    assert!(cache.0.local.weighted_size() <= CAPACITY);
}
