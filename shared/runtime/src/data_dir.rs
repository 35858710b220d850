//! The folder of the embedded database and broker.
//!
//! Guaranteed: while a [`DataDir`] is held, no other process holds one for the same folder. The lock is the
//! operating system's own, so it ends with the process however that ends, and a file left behind means nothing.
//!
//! Not guaranteed: anything on network file systems that do not carry locks, or against programs that
//! open the files without asking for the lock.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// A folder that belongs to this process until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data folder cannot be used; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the data folder {} is in use by another process; stop the other process or set TIDINGS_DATA_DIR", path.display())]
    InUse { path: PathBuf },

    #[error("the data folder {} cannot be used: {reason}; give this user write access or set TIDINGS_DATA_DIR", path.display())]
    Unusable { path: PathBuf, reason: io::Error },
}

impl DataDir {
    /// Takes the folder for this process, creating it, for its owner's eyes only, where it does not exist.
    pub fn lock(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let unusable = |reason| Error::Unusable {
            path: path.to_owned(),
            reason,
        };
        create(path).map_err(unusable)?;
        // Absolute from here on, so that it stays the same folder if the process changes its own.
        let path = path.canonicalize().map_err(unusable)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path }),
            Err(TryLockError::Error(reason)) => Err(Error::Unusable { path, reason }),
        }
    }

    /// Creates the folder, for its owner's eyes only, where it does not exist.
    pub fn create(path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        create(path).map_err(|reason| Error::Unusable {
            path: path.to_owned(),
            reason,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("nested/data");
        let first = DataDir::lock(&path).unwrap();
        assert!(first.path().is_absolute());

        let refused = DataDir::lock(&path).unwrap_err().to_string();
        assert!(
            refused.contains("nested/data is in use by another process"),
            "{refused}"
        );
        assert!(
            refused.contains("TIDINGS_DATA_DIR") && !refused.contains('\n'),
            "{refused}"
        );

        drop(first);
        DataDir::lock(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::lock(parent.path().join("data")).unwrap();
        assert_eq!(data.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_not_a_folder_is_refused_in_one_line() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        std::fs::write(&path, "").unwrap();
        let refused = DataDir::lock(&path).unwrap_err().to_string();
        assert!(
            refused.contains("cannot be used") && refused.contains("TIDINGS_DATA_DIR"),
            "{refused}"
        );
        assert!(!refused.contains('\n'));
    }
}
