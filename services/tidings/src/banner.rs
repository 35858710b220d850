//! What a person at the terminal is told.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use tidings_runtime::settings::{Profile, Settings};

use crate::BUILD;

/// Prints a line. Whoever reads the output may have gone; that is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints why the program ends.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What is wrong and what to do about it, causes included. Some errors have their cause in their own text
/// already; it is not told twice.
pub(crate) fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let cause: Vec<_> = cause.split_whitespace().collect();
        let cause = cause.join(" ");
        if !line.contains(&cause) {
            line = if line.is_empty() {
                cause
            } else {
                format!("{line}: {cause}")
            };
        }
    }
    line
}

/// Where everything is.
pub(crate) struct Places<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) database: String,
    pub(crate) api: SocketAddr,
    /// Of the broker, and whether it is the embedded one.
    pub(crate) broker: (String, bool),
    /// Whether the broker is there and has the topics.
    pub(crate) publishing: bool,
    /// The webhooks' URL, and whether the built-in receiver is there.
    pub(crate) webhooks: (String, bool),
}

/// A few lines that are enough to begin with.
pub(crate) fn welcome(places: &Places<'_>, took: Duration) {
    let Places {
        settings,
        database,
        api,
        broker: (broker, embedded),
        publishing,
        webhooks: (webhooks, built_in),
    } = places;
    let development = settings.profile == Profile::Development;
    let key = if development {
        secrecy::ExposeSecret::expose_secret(&settings.api_key).to_owned()
    } else {
        "as set in TIDINGS_API_KEY".to_owned()
    };
    let shown_key = if development { &key[..] } else { "$TIDINGS_API_KEY" };
    let body = r#"{"from":"+41440000000","to":{"name":"Odile","phone":"+41791234567"},"content":"Hello"}"#;
    say(&format!(
        "Tidings {} · {} profile",
        BUILD.version,
        settings.profile.as_str()
    ));
    say(&format!("  API       http://{api}"));
    say(&format!(
        "  docs      http://{api}/docs/  (Redoc: /redoc, health: /health/ready)"
    ));
    say(&format!("  key       {key}"));
    say(&format!(
        "  broker    {broker}{}",
        if *embedded {
            "  (embedded, speaks the Kafka protocol)"
        } else {
            ""
        }
    ));
    say(&format!("  database  {database}"));
    say(&format!(
        "  webhooks  {webhooks}{}",
        if *built_in {
            "  (built-in receiver, prints below)"
        } else {
            ""
        }
    ));
    if let Some(kept) = kept_in_the_sandbox(settings) {
        say(&format!(
            "  outbox    http://{api}/sandbox/outbox  ({kept} that would have been sent)"
        ));
    }
    say("  try       curl -sS -H 'Content-Type: application/json' \\");
    say(&format!(
        "              -H 'Authorization: Bearer {shown_key}' http://{api}/messages -d '{body}'"
    ));
    if *publishing {
        say(&format!("ready in {:.2} s · Ctrl-C stops", took.as_secs_f64()));
    } else {
        say("takes messages, and publishes them once the broker is there · Ctrl-C stops");
    }
}

/// What goes to the sandbox for want of a provider.
fn kept_in_the_sandbox(settings: &Settings) -> Option<&'static str> {
    let providers = &settings.providers;
    let email = providers.email.url.is_none() && providers.smtp.is_none();
    let sms = providers.sms.url.is_none();
    match (settings.profile, email, sms) {
        (Profile::Production, ..) | (_, false, false) => None,
        (_, true, true) => Some("email and SMS"),
        (_, true, false) => Some("email"),
        (_, false, true) => Some("SMS"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn only_what_the_sandbox_keeps_is_announced() {
        let kept = |set: &[(&str, &str)]| {
            let set = set
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            kept_in_the_sandbox(&Settings::load(set, None).unwrap())
        };
        let sms = ("SMS_PROVIDER_URL", "http://127.0.0.1:9");
        assert_eq!(kept(&[]), Some("email and SMS"));
        assert_eq!(kept(&[sms]), Some("email"));
        assert_eq!(kept(&[("EMAIL_PROVIDER_URL", "http://127.0.0.1:9")]), Some("SMS"));
        assert_eq!(kept(&[sms, ("EMAIL_SMTP_URL", "smtp://127.0.0.1")]), None);
        let production = [
            ("TIDINGS_PROFILE", "production"),
            ("TIDINGS_API_KEY", "a-real-key"),
            ("WEBHOOK_SECRET", "a-real-secret"),
        ];
        assert_eq!(kept(&production), None);
    }

    #[test]
    fn an_error_is_one_line_that_names_each_cause_once() {
        let error = anyhow!("no such file").context("cannot open x: no such file; create it");
        assert_eq!(in_one_line(&error), "cannot open x: no such file; create it");
        let error = anyhow!("first\n  second").context("cannot start");
        assert_eq!(in_one_line(&error), "cannot start: first second");
    }
}
