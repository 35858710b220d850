//! What the parts of a trace are told to, wherever they happen.
//!
//! Trace contexts are passed on in any case: a request's own span stands in its events, on Kafka, and as the
//! parent in webhooks. A span that is told of here has the id that was passed on, so that what others do because
//! of it finds its place. Without a collector nothing is put together and nothing is kept.

use std::sync::OnceLock;
use std::time::Duration;

use tidings_domain::TraceParent;

/// A part of a trace that has just ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub name: String,
    pub kind: SpanKind,
    pub context: TraceParent,
    /// What it belongs to; none for the first of a trace.
    pub parent: Option<TraceParent>,
    pub took: Duration,
    /// Under the names of OpenTelemetry's semantic conventions where there are some.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it came to nothing.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Answered a request.
    Server,
    /// Asked somebody else.
    Client,
    /// Put a record on a topic.
    Producer,
    /// Worked on a record of a topic.
    Consumer,
    Internal,
}

type Collector = Box<dyn Fn(Span) + Send + Sync>;

static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// Has spans collected from now on, in the whole process. Only the first call counts.
pub fn collect_with(collector: impl Fn(Span) + Send + Sync + 'static) {
    let _ = COLLECTOR.set(Box::new(collector));
}

/// Tells of a span at its end, if somebody wants to know and if there is one.
pub fn tell<S: Into<Option<Span>>>(span: impl FnOnce() -> S) {
    if let Some(collect) = COLLECTOR.get()
        && let Some(span) = span().into()
    {
        collect(span);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn spans_are_put_together_for_a_collector_only() {
        let span = || Span {
            name: "publish".to_owned(),
            kind: SpanKind::Producer,
            context: TraceParent::generate(),
            parent: None,
            took: Duration::from_millis(1),
            attributes: Vec::new(),
            error: None,
        };
        tell(|| -> Span { unreachable!("nobody wants to know") });
        let (sender, told) = mpsc::channel();
        collect_with(move |span| sender.send(span).unwrap());
        let told_of = span();
        tell(|| told_of.clone());
        assert_eq!(told.try_recv(), Ok(told_of));
    }
}
