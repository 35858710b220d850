//! The published contracts, each in the form that its clients know.

pub(crate) mod messaging;
