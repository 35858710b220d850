//! What the parts of a trace are told to, wherever they happen.
//!
//! Trace contexts are passed on in any case: a request's own span stands in its events, on Kafka, and as the
//! parent in webhooks. A span that is told of here has the id that was passed on, so that what others do because
//! of it finds its place. Without a collector nothing is put together and nothing is kept.
//!
//! Whether a trace is sampled is decided where it begins, and stands in its context: by the client that sent one, else
//! [here](begin). What is not sampled is passed on all the same, and told to nobody.

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
/// Of the traces that begin in this process, how many are sampled.
static SHARE: OnceLock<f64> = OnceLock::new();

/// Has spans collected from now on, in the whole process. Only the first call counts.
pub fn collect_with(collector: impl Fn(Span) + Send + Sync + 'static) {
    let _ = COLLECTOR.set(Box::new(collector));
}

/// Has this share of the traces that begin in this process sampled from now on, from 0 to 1. Only the first call counts;
/// without one, all are.
pub fn sample(share: f64) {
    let _ = SHARE.set(share);
}

/// The start of a trace that nobody has begun before.
pub fn begin() -> TraceParent {
    let start = TraceParent::generate();
    match SHARE.get() {
        Some(share) if !is_within(*share, start) => start.unsampled(),
        _ => start,
    }
}

/// By the id, so that whoever asks again decides the same. Its last seven bytes are all random, as those of a trace id
/// should be; others of it say that it is a random UUID.
fn is_within(share: f64, trace: TraceParent) -> bool {
    const ALL: f64 = (1_u64 << 56) as f64;
    let [.., a, b, c, d, e, f, g] = trace.trace_id_bytes();
    (u64::from_be_bytes([0, a, b, c, d, e, f, g]) as f64) < share * ALL
}

/// Tells of a span at its end, if somebody wants to know, and if there is one and its trace is sampled.
pub fn tell<S: Into<Option<Span>>>(span: impl FnOnce() -> S) {
    if let Some(collect) = COLLECTOR.get()
        && let Some(span) = span().into()
        && span.context.is_sampled()
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
        tell(|| Span {
            context: TraceParent::generate().unsampled(),
            ..span()
        });
        assert!(told.try_recv().is_err(), "nobody is to record this one");
    }

    #[test]
    fn as_many_traces_are_sampled_as_asked_for() {
        let traces: Vec<_> = (0..10_000).map(|_| TraceParent::generate()).collect();
        let sampled = |share| traces.iter().filter(|trace| is_within(share, **trace)).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, traces.len()));
        // Ten times as far from the mean as they usually are.
        assert!((2_000..3_000).contains(&sampled(0.25)), "{}", sampled(0.25));
        let both = traces
            .iter()
            .all(|trace| is_within(0.5, *trace) || !is_within(0.25, *trace));
        assert!(both, "whoever samples more has all that others have");
    }

    #[test]
    fn without_a_share_every_trace_is_sampled() {
        assert!(begin().is_sampled());
    }
}
