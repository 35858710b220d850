use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for what should happen at once, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something, and returns it. Fails the test with what `what`
/// names if that takes longer than [`PATIENCE`].
pub async fn eventually<T, E: Debug>(what: &str, look: impl AsyncFnMut() -> Result<T, E>) -> T {
    eventually_within(PATIENCE, what, look).await
}

pub async fn eventually_within<T, E: Debug>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => panic!("{what}: not within {patience:?}, last seen: {seen:?}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
