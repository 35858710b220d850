//! Signs webhooks and verifies them.
//!
//! Every webhook carries two signatures made with the same key: `Authorization: Signature <hex>` over
//! the body, as the messaging contract has it, and the `webhook-*` headers of Standard Webhooks 1.0 over
//! id, time and body.
//!
//! # Guaranteed
//!
//! - What [`sign`] makes, [`verify`] accepts with any one of the secrets it was signed with, for
//!   [`TOLERANCE_SECONDS`] before and after the time it was signed for.
//! - Whoever does not know a secret cannot change what [`verify`] answers for: body, id and time when it
//!   answers [`Verified::Standard`], the body alone when it answers [`Verified::BodyOnly`].
//! - Signatures are compared in constant time, and every secret is tried whether or not an earlier one
//!   fitted: how long a refusal takes says nothing about the secrets.
//! - A secret is wiped from memory when dropped and never appears in debug output or in an error.
//!
//! # Not guaranteed
//!
//! - That a webhook comes once. A replay within the tolerance verifies, so receivers remember the
//!   `webhook-id`s they acted upon. [`Verified::BodyOnly`] knows no time at all: a receiver that need
//!   not serve senders without Standard Webhooks should refuse it.
//! - That a secret is hard to guess; only an empty one is refused.
//!
//! # Safe to change
//!
//! Texts of errors, and further signature versions beside `v1`: receivers skip versions unknown to
//! them. The bytes that are signed, the names of the headers and the way a secret's text becomes a key
//! are known to other people's receivers and must stay.

mod secret;
mod sign;
mod verify;

pub use secret::{Secret, SecretError};
pub use sign::{SignError, SignatureHeaders, sign};
pub use verify::{ReceivedHeaders, Verified, VerifyError, verify};

/// Carries [`SignatureHeaders::authorization`].
pub const AUTHORIZATION: &str = "authorization";
/// Carries [`SignatureHeaders::webhook_id`].
pub const WEBHOOK_ID: &str = "webhook-id";
/// Carries [`SignatureHeaders::webhook_timestamp`].
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// Carries [`SignatureHeaders::webhook_signature`].
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// How far the time of a webhook may be from the receiver's, in either direction.
pub const TOLERANCE_SECONDS: i64 = 5 * 60;

/// The scheme of the `Authorization` header.
const SCHEME: &str = "Signature";
/// The version of Standard Webhooks' symmetric signatures.
const VERSION: &str = "v1";
