use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use secrecy::SecretString;

use super::error::{SettingsError, Source};
use super::table::{self, Fallback, Setting};
use super::{Profile, parse};

/// What was written, by name; the environment has already won over the file.
pub(super) struct Sources {
    found: BTreeMap<&'static str, (String, Source)>,
}

impl Sources {
    pub(super) fn read(
        env: impl Iterator<Item = (String, String)>,
        toml_path: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let mut found = BTreeMap::new();
        if let Some(path) = toml_path {
            for (name, value) in file(path)? {
                let setting = known(&name, Source::File)?;
                let toml::Value::String(value) = value else {
                    let reason = format!("a value in quotes is needed, not {}", value.type_str());
                    return Err(SettingsError::invalid(setting, Source::File, reason));
                };
                insert(&mut found, setting, value, Source::File);
            }
        }
        for (name, value) in env {
            if name.starts_with("TIDINGS_TEST_") {
                continue;
            }
            if name.starts_with("TIDINGS_") {
                insert(
                    &mut found,
                    known(&name, Source::Environment)?,
                    value,
                    Source::Environment,
                );
            } else if let Some(setting) = table::find(&name) {
                insert(&mut found, setting, value, Source::Environment);
            }
        }
        Ok(Self { found })
    }

    pub(super) fn profile(&self) -> Result<Profile, SettingsError> {
        // The profile's own default is the same in both profiles.
        self.with_profile(Profile::Development)
            .required("TIDINGS_PROFILE", parse::profile)
    }

    pub(super) fn with_profile(&self, profile: Profile) -> Profiled<'_> {
        Profiled { sources: self, profile }
    }
}

/// An empty value means the same as none, so that `NAME= command` takes a setting back to its default.
fn insert(
    found: &mut BTreeMap<&'static str, (String, Source)>,
    setting: &'static Setting,
    value: String,
    source: Source,
) {
    if !value.trim().is_empty() {
        found.insert(setting.name, (value, source));
    }
}

fn known(name: &str, origin: Source) -> Result<&'static Setting, SettingsError> {
    table::find(name).ok_or_else(|| SettingsError::Unknown {
        // What stands there is not ours, and might break the line.
        name: name.escape_debug().to_string(),
        origin,
        suggestion: table::nearest(name),
    })
}

fn file(path: &Path) -> Result<toml::Table, SettingsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(toml::Table::new()),
        Err(error) => {
            return Err(SettingsError::Unreadable {
                path: path.to_owned(),
                reason: error.to_string(),
            });
        }
    };
    text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        let reason = error.message().replace('\n', ", ");
        SettingsError::Syntax {
            path: path.to_owned(),
            line,
            reason,
        }
    })
}

/// The sources together with the defaults of a profile.
pub(super) struct Profiled<'a> {
    sources: &'a Sources,
    profile: Profile,
}

impl Profiled<'_> {
    pub(super) fn profile(&self) -> Profile {
        self.profile
    }

    /// A setting that always has a value, by default the table's.
    pub(super) fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        self.optional(name, parse)?.ok_or_else(|| {
            let example = table::find(name).map_or("", |setting| setting.example);
            SettingsError::Missing { name, example }
        })
    }

    /// A setting that may be without a value.
    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(setting) = table::find(name) else {
            return Ok(None);
        };
        if let Some((text, source)) = self.sources.found.get(name) {
            let value = parse(text).map_err(|reason| SettingsError::invalid(setting, *source, reason))?;
            return Ok(Some(value));
        }
        let fallback = match self.profile {
            Profile::Development => setting.development,
            Profile::Production => setting.production,
        };
        match fallback {
            // Every default is parsed by a test, so that the source given here is never seen.
            Fallback::Value(text) => parse(text)
                .map(Some)
                .map_err(|reason| SettingsError::invalid(setting, Source::Environment, reason)),
            Fallback::Unset(_) => Ok(None),
            Fallback::Required => Err(SettingsError::Missing {
                name,
                example: setting.example,
            }),
        }
    }

    /// A setting that always has a value and whose demo value only development takes.
    pub(super) fn secret(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<SecretString, String>,
    ) -> Result<SecretString, SettingsError> {
        self.refuse_demo(name)?;
        self.required(name, parse)
    }

    /// The same for one that may be without a value.
    pub(super) fn optional_secret(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<SecretString, String>,
    ) -> Result<Option<SecretString>, SettingsError> {
        self.refuse_demo(name)?;
        self.optional(name, parse)
    }

    fn refuse_demo(&self, name: &'static str) -> Result<(), SettingsError> {
        if let (Some(setting), Some((text, origin)), Profile::Production) =
            (table::find(name), self.sources.found.get(name), self.profile)
            && setting.demo == Some(text.trim())
        {
            return Err(SettingsError::Demo {
                name,
                origin: *origin,
                example: setting.example,
            });
        }
        Ok(())
    }
}
