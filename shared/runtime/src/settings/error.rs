use std::fmt;
use std::path::PathBuf;

use super::Setting;

/// Where a setting was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Environment,
    File,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::File => super::FILE,
        })
    }
}

/// Why a process cannot start as it is configured. Each is one line that says what to change, and none
/// shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{} cannot be read: {reason}; make it readable or remove it", path.display())]
    Unreadable { path: PathBuf, reason: String },

    #[error("{} is not valid TOML: line {line}: {reason}; write settings like TIDINGS_LISTEN = \"127.0.0.1:3000\"", path.display())]
    Syntax { path: PathBuf, line: usize, reason: String },

    #[error("{name} ({origin}) is not a setting{}", suggestion.map(|name| format!("; did you mean {name}?")).unwrap_or_else(|| "; docs/settings.md lists all of them".to_owned()))]
    Unknown {
        name: String,
        origin: Source,
        suggestion: Option<&'static str>,
    },

    #[error("{name} ({origin}): {reason}; for example {name}={example}")]
    Invalid {
        name: &'static str,
        origin: Source,
        reason: String,
        example: &'static str,
    },

    #[error("{name} is not set, and the production profile has no default for it; set it to {example}")]
    Missing { name: &'static str, example: &'static str },

    #[error("{one} and {other} are both set, and only one of them can be used; unset the other")]
    Both { one: &'static str, other: &'static str },

    #[error("{name} ({origin}): the well-known demo value is refused in the production profile; set it to {example}")]
    Demo {
        name: &'static str,
        origin: Source,
        example: &'static str,
    },
}

impl SettingsError {
    pub(super) fn invalid(setting: &Setting, origin: Source, reason: String) -> Self {
        Self::Invalid {
            name: setting.name,
            origin,
            reason,
            example: setting.example,
        }
    }
}
