use std::error::Error as StdError;

use actix_web::http::StatusCode;

/// Seconds after which a request that failed for want of the database, or of patience, may be sent again.
pub(crate) const RETRY: &str = "1";

/// What went wrong on this side, in the same words in every contract. The cause ends here: it is logged, and
/// clients learn only what they can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("something went wrong; the correlation id of this answer finds it in the log")]
    Internal,
    #[error("the service cannot reach its database; try again, with an Idempotency-Key if it is a POST")]
    Unavailable,
}

impl Failure {
    /// Of a request that somebody will have to look into.
    pub(crate) fn internal(error: &(dyn StdError + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::Internal
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<tidings_storage::Error> for Failure {
    fn from(error: tidings_storage::Error) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = &error as &dyn StdError, "a request could not be carried out");
            Self::Unavailable
        } else {
            Self::internal(&error)
        }
    }
}

/// Of an answer, which should always be possible to write.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        tracing::error!(error = &error as &dyn StdError, "an answer could not be written");
        Self::Internal
    }
}
