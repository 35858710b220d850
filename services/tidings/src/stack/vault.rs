//! Where the keys come from that stored secrets are encrypted with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret, SecretString};
use tidings_runtime::data_dir::DataDir;
use tidings_runtime::settings::Settings;
use tidings_vault::Vault;

/// In the data folder, if the settings have no key.
const FILE: &str = "encryption.key";

/// The keys that are there already.
pub(crate) fn existing(settings: &Settings) -> Result<Option<Vault>> {
    if let Some(keys) = &settings.encryption_keys {
        return Ok(Some(Vault::from_text(keys).context("TIDINGS_ENCRYPTION_KEY")?));
    }
    let path = settings.data_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let keys = SecretString::from(text.trim_end());
            let vault = Vault::from_text(&keys).with_context(|| format!("{} was changed", path.display()))?;
            Ok(Some(vault))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("{} cannot be read: give this user access to it", path.display()))
        }
    }
}

/// The keys for a process that cannot do without.
pub(crate) fn required(settings: &Settings, who: &str) -> Result<Vault> {
    let Some(vault) = existing(settings)? else {
        bail!(
            "{who} needs the key that stored secrets are encrypted with: set TIDINGS_ENCRYPTION_KEY to the one that the \
             other processes have, or to the output of `openssl rand -base64 32` if there is none yet"
        );
    };
    Ok(vault)
}

/// The keys for a whole stack, which makes one if there is none.
pub(crate) fn for_stack(settings: &Settings) -> Result<Vault> {
    if let Some(vault) = existing(settings)? {
        return Ok(vault);
    }
    // Taken by this process already, unless all its parts are elsewhere.
    DataDir::create(&settings.data_dir)?;
    let path = settings.data_dir.join(FILE);
    let key = Vault::new_key()?;
    write(&path, &key).with_context(|| {
        format!(
            "{} cannot be written: give this user access to it, or set TIDINGS_ENCRYPTION_KEY",
            path.display()
        )
    })?;
    Ok(Vault::from_text(&key)?)
}

/// Writes a file that only its owner can read, and that is whole or not there.
fn write(path: &Path, key: &SecretString) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    writeln!(file, "{}", key.expose_secret())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}
