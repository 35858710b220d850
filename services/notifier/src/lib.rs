//! The notification service: tells users what concerns them.

pub mod channels;
