use secrecy::SecretString;

use super::error::SettingsError;
use super::sources::Profiled;
use super::{Profile, parse};

/// Who passes on what users are told.
#[derive(Debug, Clone)]
pub struct Providers {
    pub email: Provider,
    pub sms: Provider,
    /// Takes the place of the provider of email, which then has no URL.
    pub smtp: Option<Smtp>,
}

/// One who is spoken to over HTTP.
#[derive(Debug, Clone)]
pub struct Provider {
    /// It may contain a key. `None`: the sandbox in development, and nobody in production.
    pub url: Option<SecretString>,
    /// There is one wherever there is a URL, and always in development.
    pub token: Option<SecretString>,
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// With the password, if there is one.
    pub url: SecretString,
    /// Whom mail comes from, as `Name <address>`.
    pub from: String,
}

impl Providers {
    pub(super) fn read(from: &Profiled<'_>) -> Result<Self, SettingsError> {
        let providers = Self {
            email: provider(from, "EMAIL_PROVIDER_URL", "EMAIL_PROVIDER_TOKEN")?,
            sms: provider(from, "SMS_PROVIDER_URL", "SMS_PROVIDER_TOKEN")?,
            smtp: smtp(from)?,
        };
        if providers.email.url.is_some() && providers.smtp.is_some() {
            return Err(SettingsError::Both {
                one: "EMAIL_PROVIDER_URL",
                other: "EMAIL_SMTP_URL",
            });
        }
        Ok(providers)
    }
}

fn provider(from: &Profiled<'_>, url: &'static str, token: &'static str) -> Result<Provider, SettingsError> {
    let url = from.optional(url, parse::provider_url)?;
    let token = match (from.profile(), &url) {
        (Profile::Production, None) => from.optional_secret(token, parse::token)?,
        _ => Some(from.secret(token, parse::token)?),
    };
    Ok(Provider { url, token })
}

fn smtp(from: &Profiled<'_>) -> Result<Option<Smtp>, SettingsError> {
    // Looked at even where there is no use for it, so that a mistake does not wait there.
    let sender = from.optional("EMAIL_FROM", parse::sender)?;
    let Some(url) = from.optional("EMAIL_SMTP_URL", parse::smtp_url)? else {
        return Ok(None);
    };
    let from = match sender {
        Some(sender) => sender,
        None => from.required("EMAIL_FROM", parse::sender)?,
    };
    Ok(Some(Smtp { url, from }))
}
