//! What ties together everything that one request set off.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::{Clock, Invalid, new_id};

/// Chosen by the client or made for it; in every log line, record and webhook that follows from a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationId(String);

impl CorrelationId {
    pub const MAX_LENGTH: usize = 128;

    pub fn generate(clock: &dyn Clock) -> Self {
        Self(new_id(clock).to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Takes 1 to 128 visible ASCII characters, so that the id can go into any header and log line unchanged.
impl FromStr for CorrelationId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("a correlation id has 1 to 128 visible ASCII characters"))
        }
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A W3C Trace Context `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

impl TraceParent {
    /// The start of a new trace, sampled.
    pub fn generate() -> Self {
        Self {
            trace_id: *Uuid::new_v4().as_bytes(),
            parent_id: random_span(),
            flags: 1,
        }
    }

    /// A new span of the same trace.
    pub fn child(self) -> Self {
        Self {
            parent_id: random_span(),
            ..self
        }
    }

    pub fn trace_id(&self) -> String {
        hex::encode(self.trace_id)
    }

    pub fn trace_id_bytes(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The span's own id, which is the parent of whatever it is passed on to.
    pub fn span_id_bytes(&self) -> [u8; 8] {
        self.parent_id
    }

    /// The same, and nobody is to record it.
    pub fn unsampled(self) -> Self {
        Self {
            flags: self.flags & !1,
            ..self
        }
    }

    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

fn random_span() -> [u8; 8] {
    // The second half of a random UUID begins with its variant bits and so is never all zero.
    let (_, half) = Uuid::new_v4().as_u64_pair();
    half.to_be_bytes()
}

impl FromStr for TraceParent {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("not a traceparent of version 00");
        let mut parts = text.split('-');
        let (Some("00"), Some(trace_id), Some(parent_id), Some(flags), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid());
        }
        let mut parent = Self {
            trace_id: [0; 16],
            parent_id: [0; 8],
            flags: 0,
        };
        let mut flag = [0; 1];
        hex::decode_to_slice(trace_id, &mut parent.trace_id).map_err(|_| invalid())?;
        hex::decode_to_slice(parent_id, &mut parent.parent_id).map_err(|_| invalid())?;
        hex::decode_to_slice(flags, &mut flag).map_err(|_| invalid())?;
        [parent.flags] = flag;
        if parent.trace_id == [0; 16] || parent.parent_id == [0; 8] {
            return Err(invalid());
        }
        Ok(parent)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            hex::encode(self.trace_id),
            hex::encode(self.parent_id),
            self.flags
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_traceparent_is_read_and_written_as_the_standard_has_it() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().unwrap();
        assert_eq!(parent.to_string(), text);
        assert_eq!(parent.child().trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(parent.child(), parent);
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in ".*") {
            let _ = text.parse::<TraceParent>();
            let _ = text.parse::<CorrelationId>();
        }

        #[test]
        fn what_was_made_can_be_read(_n in 0..50u8) {
            let made = TraceParent::generate();
            prop_assert_eq!(made.to_string().parse::<TraceParent>().unwrap(), made);
        }
    }
}
