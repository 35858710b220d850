//! Work on a thread of its own: Kafka's client blocks whoever asks it certain things, and whoever drops it.

use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long what remains of the work may take to be dropped.
const LEAVE: Duration = Duration::from_secs(5);

/// How work ended.
pub(crate) struct Ended<T> {
    /// `None` if it panicked.
    pub(crate) output: Option<T>,
    /// Whether what remained of it is gone, too. Without a broker to talk to, the thread stays behind until there is
    /// one or the process ends.
    pub(crate) left: bool,
}

/// Runs what `work` makes on a thread of that name, within the runtime of the caller. What it answers beside
/// its output is dropped there.
pub(crate) async fn run<W, T, R>(name: &str, work: impl FnOnce() -> W + Send + 'static) -> io::Result<Ended<T>>
where
    W: Future<Output = (T, R)>,
    T: Send + 'static,
{
    let ((ended, end), (left, leave)) = (oneshot::channel(), oneshot::channel());
    let runtime = tokio::runtime::Handle::current();
    let working = move || {
        let (output, rest) = runtime.block_on(work());
        // Nobody may be waiting any more.
        let _ = ended.send(output);
        drop(rest);
        let _ = left.send(());
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(working)?;
    let output = end.await.ok();
    let left = timeout(LEAVE, leave).await.is_ok();
    Ok(Ended { output, left })
}
