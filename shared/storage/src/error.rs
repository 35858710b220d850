use sea_orm::{DbErr, RuntimeErr, SqlErr, SqlxError};

/// Why a query failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It may work if tried again: the database is away, overloaded, or chose this transaction as the
    /// victim of a deadlock. At a commit it is not known whether it took effect.
    #[error("the database is not available: {0}")]
    Unavailable(DbErr),
    /// A uniqueness rule of the schema spoke against it.
    #[error("the database has a conflicting row: {0}")]
    Conflict(DbErr),
    /// The database understood and refused, or answered what it should not.
    #[error("the database refused: {0}")]
    Refused(DbErr),
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

    /// For those who are asked for something before the database was reached for the first time.
    pub fn not_open_yet() -> Self {
        Self::Unavailable(DbErr::Custom("the database was not reached yet".into()))
    }
}

/// Why a database could not be opened, in the words of whoever refused.
pub fn why_not_open(error: &DbErr) -> String {
    let DbErr::Conn(RuntimeErr::SqlxError(source)) = error else {
        return error.to_string();
    };
    match &**source {
        SqlxError::Io(error) => error.to_string(),
        SqlxError::Database(refusal) => refusal.message().to_owned(),
        other => other.to_string(),
    }
}

/// Whether what failed while a database was opened may work later without anybody's doing: the server is
/// down, still starting, or full. A login that it refuses, a database that it does not have, a certificate
/// that is not trusted or a schema that cannot be read need someone who repairs them.
pub fn may_open_later(error: &DbErr) -> bool {
    let DbErr::Conn(RuntimeErr::SqlxError(source)) = error else {
        return Error::from(error.clone()).is_unavailable();
    };
    match &**source {
        // What rustls thinks of the other side comes as this kind.
        SqlxError::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        // 55000: somebody has closed the database to new connections for a while.
        SqlxError::Database(refusal) => may_pass(source) || refusal.code().is_some_and(|code| code == "55000"),
        other => matches!(other, SqlxError::PoolTimedOut | SqlxError::WorkerCrashed),
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
            return Self::Conflict(error);
        }
        let passing = match &error {
            // Also when a login is refused: it worked when this process began, or it would not have begun, and
            // whoever took it away may give it back. Nothing was done, and nothing is wrong with the request.
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
