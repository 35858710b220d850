use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A secret as it is kept: encrypted, or in the clear if it was written before secrets were. The vault alone
/// makes and opens them.
#[derive(Clone)]
pub struct SealedSecret(SecretString);

impl SealedSecret {
    /// Takes it from where it is kept.
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// For whoever keeps it.
    pub fn as_stored(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for SealedSecret {
    fn eq(&self, other: &Self) -> bool {
        self.as_stored() == other.as_stored()
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret(hidden)")
    }
}
