//! Push messages, by the HTTP interface of ntfy: each user has a topic, to which their devices subscribe.

use serde_json::{Value, json};

use super::Letter;

/// What is published, as JSON to the server's root. Topics can be guessed, so the server must not let everyone
/// read them.
pub(super) fn topic_title_and_message(letter: &Letter) -> Value {
    json!({ "topic": letter.recipient, "title": letter.subject, "message": letter.message })
}
