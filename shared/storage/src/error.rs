use sea_orm::{DbErr, RuntimeErr, SqlErr, SqlxError};

/// Why a query failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It may work if tried again: the database is away, overloaded, or chose this transaction as the
    /// victim of a deadlock. At a commit it is not known whether it took effect.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// A uniqueness rule of the schema spoke against it.
    #[error("the database has a conflicting row")]
    Conflict(#[source] DbErr),
    /// The database understood and refused, or answered what it should not.
    #[error("the database refused")]
    Refused(#[source] DbErr),
    /// A row does not hold what this version can read.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}

impl Error {
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// For what was begun and whose end nobody waits for any more.
    pub fn given_up(what: &str) -> Self {
        Self::Unavailable(DbErr::Custom(format!("{what} took too long")))
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
            return Self::Conflict(error);
        }
        let passing = match &error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
            DbErr::Exec(RuntimeErr::SqlxError(source)) | DbErr::Query(RuntimeErr::SqlxError(source)) => {
                may_pass(source)
            }
            _ => false,
        };
        if passing {
            Self::Unavailable(error)
        } else {
            Self::Refused(error)
        }
    }
}

impl From<tidings_domain::Invalid> for Error {
    fn from(invalid: tidings_domain::Invalid) -> Self {
        Self::Corrupt(invalid.to_string())
    }
}

fn may_pass(error: &SqlxError) -> bool {
    let SqlxError::Database(refusal) = error else {
        return matches!(
            error,
            SqlxError::Io(_)
                | SqlxError::Tls(_)
                | SqlxError::Protocol(_)
                | SqlxError::PoolTimedOut
                | SqlxError::PoolClosed
                | SqlxError::WorkerCrashed
        );
    };
    let Some(code) = refusal.code() else { return false };
    if refusal.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // The low byte is the primary code: busy, locked, out of memory, input/output, full, cannot open.
        return matches!(
            code.parse::<u32>().map(|code| code & 0xff),
            Ok(5 | 6 | 7 | 10 | 13 | 14)
        );
    }
    // PostgreSQL: connection, rollback by the system, resources, intervention by an operator, system errors;
    // a standby, and a lock that was not to be had in time.
    matches!(&code[..2], "08" | "40" | "53" | "57" | "58") || matches!(&*code, "25006" | "55P03")
}
