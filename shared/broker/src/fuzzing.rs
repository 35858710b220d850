//! Entry points for fuzzing: everything that interprets bytes from outside.

use bytes::Bytes;

use crate::{api, batch};

/// Decodes a request as a connection would.
pub fn request(frame: &[u8]) {
    let _ = api::parse(Bytes::copy_from_slice(frame));
}

/// Takes a record batch in, and looks for a record in it as if it had been stored unseen. Length, format
/// and checksum are put right first, or nothing would get past them.
pub fn records(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if bytes.len() > 21 {
        let length = u32::try_from(bytes.len() - 12).unwrap_or_default();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let checksum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
    for timestamp in [i64::MIN, 0, i64::MAX] {
        let _ = batch::first_at_or_after(&bytes, timestamp);
    }
    let _ = batch::Batch::parse(bytes.into());
}
