//! Entry points for fuzzing: everything that interprets bytes from outside.

use bytes::Bytes;

use crate::{api, batch};

/// Decodes a request as a connection would.
pub fn request(frame: &[u8]) {
    let _ = api::parse(Bytes::copy_from_slice(frame));
}

/// Takes a record batch in, and looks for a record in it as if it had been stored unseen.
pub fn records(bytes: &[u8]) {
    let _ = batch::Batch::parse(Bytes::copy_from_slice(bytes));
    for timestamp in [i64::MIN, 0, i64::MAX] {
        let _ = batch::first_at_or_after(bytes, timestamp);
    }
}
