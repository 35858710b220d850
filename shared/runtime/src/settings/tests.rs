use std::io::Write;

use super::*;

mod providers;

/// Loads from an environment and, where there is any text, a file.
fn load(env: &[(&str, &str)], file: &str) -> Result<Settings, SettingsError> {
    let mut toml = tempfile::NamedTempFile::new().unwrap();
    toml.write_all(file.as_bytes()).unwrap();
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::load(env, Some(toml.path()))
}

/// What some settings need beside them in production.
const NEEDED: [(&str, &str); 4] = [
    ("PUSH_PROVIDER_TOKEN", "a-real-token"),
    ("EMAIL_PROVIDER_TOKEN", "a-real-token"),
    ("SMS_PROVIDER_TOKEN", "a-real-token"),
    ("EMAIL_FROM", "kits@example.com"),
];

/// The refusal, which must be one line.
fn refusal(env: &[(&str, &str)], file: &str) -> String {
    let text = load(env, file).unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

const PRODUCTION: [(&str, &str); 3] = [
    ("TIDINGS_PROFILE", "production"),
    ("TIDINGS_API_KEY", "a-real-key"),
    ("WEBHOOK_SECRET", "a-real-secret"),
];

fn production(more: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let mut env: Vec<_> = PRODUCTION
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    for (name, value) in more {
        let setting = table::find(name).unwrap();
        env.retain(|(name, _)| *name != setting.name);
        env.push((setting.name, (*value).to_owned()));
    }
    env
}

fn in_production(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::load(
        production(more)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
        None,
    )
}

#[test]
fn nothing_needs_to_be_set_in_development() {
    let settings = load(&[], "").unwrap();
    assert_eq!(settings.profile, Profile::Development);
    assert_eq!(settings.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(settings.ops_listen.to_string(), "127.0.0.1:0");
    assert_eq!(settings.data_dir, Path::new(".tidings"));
    assert!(settings.database_url.is_none() && settings.kafka_brokers.is_none() && settings.webhook_url.is_none());
    assert!(settings.kafka_properties.is_empty());
    assert_eq!(settings.broker_listen.to_string(), "127.0.0.1:9092");
    assert_eq!(settings.receiver_listen.to_string(), "127.0.0.1:3010");
    assert_eq!(settings.api_key.expose_secret(), "there-is-no-key");
    assert_eq!(
        (settings.rate_limit_per_key, settings.rate_limit_per_address),
        (None, None)
    );
    assert_eq!(settings.webhook_secret.expose_secret(), "mySecret");
    assert_eq!(settings.attempt_timeout, Duration::from_secs(2));
    assert_eq!(settings.retry_schedule.to_string(), "0s,1s,3s");
    let allowed: Vec<_> = settings.webhook_allow.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["127.0.0.0/8", "::1/128"]);
    assert!(settings.open_contracts && settings.public_url.is_none() && settings.geoip_database.is_none());
    assert_eq!(settings.trusted_proxies, settings.webhook_allow);
    assert_eq!(settings.geoip_url.expose_secret(), "https://ipapi.co/{ip}/json/");
    assert_eq!(settings.local_country.unwrap().name(), "Switzerland");
}

#[test]
fn production_is_stricter() {
    let settings = in_production(&[]).unwrap();
    assert_eq!(settings.profile, Profile::Production);
    assert!(settings.webhook_allow.is_empty() && settings.trusted_proxies.is_empty());
    assert!(!settings.open_contracts && settings.local_country.is_none());
    let per_minute = |requests| {
        let per = Duration::from_secs(60);
        Some(RateLimit { requests, per })
    };
    assert_eq!(settings.rate_limit_per_key, per_minute(600));
    assert_eq!(settings.rate_limit_per_address, per_minute(300));
    assert_eq!(settings.attempt_timeout, Duration::from_secs(15));
    assert_eq!(settings.retry_schedule.attempts(), 8);
}

#[test]
fn production_refuses_demo_secrets_however_they_come_about() {
    for (name, demo) in [("TIDINGS_API_KEY", "there-is-no-key"), ("WEBHOOK_SECRET", "mySecret")] {
        let given = in_production(&[(name, demo)]).unwrap_err().to_string();
        assert!(
            given.starts_with(&format!("{name} (environment): the well-known demo value is refused")),
            "{given}"
        );
        let unset = in_production(&[(name, "")]).unwrap_err().to_string();
        assert!(unset.starts_with(&format!("{name} is not set")), "{unset}");
        for text in [given, unset] {
            assert!(
                text.contains("set it to the output of `openssl rand -hex 32`") && !text.contains('\n'),
                "{text}"
            );
        }
    }
}

#[test]
fn the_environment_wins_over_the_file_which_wins_over_the_default() {
    let file = "TIDINGS_LISTEN = \"127.0.0.1:1111\"\nTIDINGS_DATA_DIR = \"from-file\"\n";
    let settings = load(&[("TIDINGS_LISTEN", "127.0.0.1:2222")], file).unwrap();
    assert_eq!(settings.listen.port(), 2222);
    assert_eq!(settings.data_dir, Path::new("from-file"));
    assert_eq!(settings.receiver_listen.port(), 3010);
}

#[test]
fn an_empty_value_is_none() {
    let file = "TIDINGS_LISTEN = \"127.0.0.1:1111\"\nTIDINGS_OPS_LISTEN = \"\"\n";
    let settings = load(&[("TIDINGS_LISTEN", ""), ("WEBHOOK_URL", "  ")], file).unwrap();
    assert_eq!(settings.listen.port(), 1111);
    assert_eq!(settings.ops_listen.port(), 0);
    assert!(settings.webhook_url.is_none());
}

#[test]
fn a_file_that_does_not_exist_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    Settings::load(std::iter::empty(), Some(&folder.path().join(FILE))).unwrap();
}

#[test]
fn values_are_parsed() {
    let settings = load(
        &[
            ("DATABASE_URL", "postgres://tidings:hidden@localhost/tidings"),
            ("KAFKA_BROKERS", "one:9092, two:9093"),
            ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
            ("KAFKA_SASL_PASSWORD", " hidden "),
            ("TIDINGS_WEBHOOK_ALLOW", "10.0.0.0/8, fd00::/8"),
            ("TIDINGS_ATTEMPT_TIMEOUT", "1500ms"),
            ("WEBHOOK_URL", "https://hooks.example/tidings"),
            ("TIDINGS_RETRY_SCHEDULE", "0s,5m"),
            ("TIDINGS_PUBLIC_URL", "https://api.example.com/tidings/"),
            ("TIDINGS_OPEN_CONTRACTS", "false"),
            ("TIDINGS_TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8"),
            ("TIDINGS_LOCAL_COUNTRY", "es"),
            ("GEOIP_URL", "http://127.0.0.1:8080/{ip}/json/?key=hidden"),
            ("GEOIP_DATABASE", "/var/lib/countries.mmdb"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.05"),
            ("REDIS_URL", " rediss://:hidden@redis.example:6380/3 "),
        ],
        "",
    )
    .unwrap();
    assert_eq!(settings.public_url.as_deref(), Some("https://api.example.com/tidings"));
    assert!(!settings.open_contracts);
    assert_eq!(settings.trusted_proxies.len(), 2);
    assert_eq!(settings.local_country.as_ref().unwrap().name(), "Spain");
    assert_eq!(
        settings.geoip_url.expose_secret(),
        "http://127.0.0.1:8080/{ip}/json/?key=hidden"
    );
    assert_eq!(
        settings.geoip_database.as_deref(),
        Some(Path::new("/var/lib/countries.mmdb"))
    );
    let redis = settings.redis_url.as_ref().unwrap();
    assert_eq!(redis.expose_secret(), "rediss://:hidden@redis.example:6380/3");
    assert_eq!(settings.kafka_brokers.as_deref(), Some("one:9092,two:9093"));
    let properties: Vec<_> = settings.exposed_kafka_properties().collect();
    assert_eq!(
        properties,
        [("security.protocol", "sasl_ssl"), ("sasl.password", " hidden ")]
    );
    assert_eq!(settings.webhook_allow.len(), 2);
    assert_eq!(settings.attempt_timeout, Duration::from_millis(1500));
    assert_eq!(
        settings.webhook_url.unwrap().to_string(),
        "https://hooks.example/tidings"
    );
    assert_eq!(settings.retry_schedule.attempts(), 2);
    assert_eq!(settings.otlp_endpoint.as_deref(), Some("http://127.0.0.1:4318"));
    assert_eq!(settings.traces_sampled, 0.05);
}

#[test]
fn nothing_shows_a_secret() {
    let settings = load(
        &[
            ("DATABASE_URL", "postgres://tidings:hidden@localhost/tidings"),
            ("KAFKA_SASL_PASSWORD", "hidden"),
            ("TIDINGS_API_KEY", "hidden"),
            ("WEBHOOK_SECRET", "hidden"),
            ("TIDINGS_ENCRYPTION_KEY", &format!("hidden{}=", "A".repeat(37))),
            ("GEOIP_URL", "https://ipapi.co/{ip}/json/?key=hidden"),
            ("SMS_PROVIDER_URL", "https://sms.example/?key=hidden"),
            ("SMS_PROVIDER_TOKEN", "hidden"),
            ("PUSH_PROVIDER_URL", "https://push.example/?key=hidden"),
            ("PUSH_PROVIDER_TOKEN", "hidden"),
            ("EMAIL_PROVIDER_TOKEN", "hidden"),
            ("EMAIL_SMTP_URL", "smtps://user:hidden@mail.example"),
            ("REDIS_URL", "redis://:hidden@localhost"),
        ],
        "",
    )
    .unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hidden"), "{shown}");
    for bad in [
        ("DATABASE_URL", "mysql://u:hidden@host/db"),
        ("DATABASE_URL", "postgres://u:hidden@host:port/db"),
        ("DATABASE_URL", "postgres://u:hid/den@host/db"),
        ("TIDINGS_API_KEY", " hidden"),
        ("TIDINGS_ENCRYPTION_KEY", "hidden"),
        ("GEOIP_URL", "https://ipapi.co/json/?key=hidden"),
        ("EMAIL_PROVIDER_URL", "https://user:hidden@email.example"),
        ("EMAIL_PROVIDER_TOKEN", "hidden by a space"),
        ("EMAIL_SMTP_URL", "http://user:hidden@mail.example"),
        ("EMAIL_SMTP_URL", "smtp://user:hid/den@mail.example"),
        ("REDIS_URL", "redis://:hidden@host:port/0"),
    ] {
        let refusal = refusal(&[bad], "");
        assert!(!refusal.contains("hidden") && !refusal.contains("den@"), "{refusal}");
    }
}

#[test]
fn a_bad_value_is_refused_by_name_with_its_source_and_an_example() {
    for (name, values) in [
        ("TIDINGS_PROFILE", &["prod", "Production"][..]),
        (
            "TIDINGS_LISTEN",
            &["3000", "localhost:3000", "127.0.0.1", "127.0.0.1:99999", "a\nb"],
        ),
        (
            "DATABASE_URL",
            &[
                "mysql://host/db",
                "/var/db.sqlite",
                "postgres:host/db",
                "postgres://host:port/db",
                "sqlite:file.db",
                "sqlite://",
                "sqlite://file.db?mode=ro",
            ],
        ),
        (
            "KAFKA_BROKERS",
            &["kafka", "kafka:", ":9092", "kafka:0", "one:1,,two:2", "a b:1"],
        ),
        (
            "REDIS_URL",
            &[
                "localhost:6379",
                "http://host",
                "redis://",
                "redis://host:port",
                "redis://host/cache",
                "unix:///redis",
            ],
        ),
        ("KAFKA_SECURITY_PROTOCOL", &["tls"]),
        ("TIDINGS_WEBHOOK_ALLOW", &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/8,"]),
        ("TIDINGS_ATTEMPT_TIMEOUT", &["0s", "60s", "2h", "2", "soon"]),
        ("WEBHOOK_URL", &["localhost", "ftp://host/", "http://user:pass@host/"]),
        ("TIDINGS_RETRY_SCHEDULE", &["1s", "0s,", "0s,soon"]),
        ("TIDINGS_API_KEY", &["key\n", "two\tparts"]),
        (
            "TIDINGS_PUBLIC_URL",
            &[
                "api.example.com",
                "ftp://host",
                "http://host/?a=b",
                "http://host/#a",
                "http://u@host",
            ],
        ),
        ("TIDINGS_OPEN_CONTRACTS", &["yes", "1", "True"]),
        (
            "TIDINGS_RATE_LIMIT_PER_KEY",
            &[
                "600",
                "0/1m",
                "+1/1m",
                "600/0s",
                "600/2d",
                "1000001/1m",
                "x/1m",
                "600/",
                "OFF",
            ],
        ),
        ("TIDINGS_RATE_LIMIT_PER_ADDRESS", &["300 per minute"]),
        (
            "TIDINGS_ENCRYPTION_KEY",
            &[
                "mySecret",
                "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
                "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,",
                "éAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh=",
            ],
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &["collector:4318", "http://u:p@collector"],
        ),
        ("OTEL_TRACES_SAMPLER_ARG", &["-0.1", "1.5", "NaN", "5%", "all"]),
        ("TIDINGS_TRUSTED_PROXIES", &["10.0.0.0", "proxy"]),
        ("TIDINGS_LOCAL_COUNTRY", &["XX", "Switzerland", "756"]),
        (
            "GEOIP_URL",
            &["https://ipapi.co/json/", "ipapi.co/{ip}", "file:///{ip}"],
        ),
    ] {
        assert_refused(name, values);
    }
}

fn assert_refused(name: &str, values: &[&str]) {
    for value in values {
        let text = refusal(&[(name, value)], "");
        assert!(text.starts_with(&format!("{name} (environment): ")), "{text}");
        assert!(text.contains(&format!("for example {name}=")), "{text}");
    }
}

#[test]
fn a_bad_file_is_refused_by_line() {
    assert!(refusal(&[], "TIDINGS_LISTEN = \"127.0.0.1:1\"\nTIDINGS_PROFILE development").contains("line 2"));
    assert!(refusal(&[], "TIDINGS_LISTEN = 3000").contains("TIDINGS_LISTEN (tidings.toml): a value in quotes"));
    assert!(refusal(&[], "TIDINGS_LISTEN = \"nowhere\"").starts_with("TIDINGS_LISTEN (tidings.toml): `nowhere`"));
    let folder = tempfile::tempdir().unwrap();
    let error = Settings::load(std::iter::empty(), Some(folder.path())).unwrap_err();
    assert!(matches!(error, SettingsError::Unreadable { .. }), "{error}");
}

#[test]
fn an_unknown_name_is_refused_with_the_one_that_was_probably_meant() {
    for (wrong, right) in [
        ("TIDINGS_LISTN", "TIDINGS_LISTEN"),
        ("TIDINGS_DATADIR", "TIDINGS_DATA_DIR"),
        ("TIDINGS_RETRY_SHEDULE", "TIDINGS_RETRY_SCHEDULE"),
        ("TIDINGS_OPSLISTEN", "TIDINGS_OPS_LISTEN"),
        ("TIDINGS_DATABASE_URL", "DATABASE_URL"),
    ] {
        let text = refusal(&[(wrong, "x")], "");
        assert_eq!(
            text,
            format!("{wrong} (environment) is not a setting; did you mean {right}?")
        );
    }
    for (wrong, right) in [
        ("WEBHOOK_ULR", "WEBHOOK_URL"),
        ("database_url", "DATABASE_URL"),
        ("listen", "TIDINGS_LISTEN"),
    ] {
        let text = refusal(&[], &format!("{wrong} = \"x\""));
        assert_eq!(
            text,
            format!("{wrong} (tidings.toml) is not a setting; did you mean {right}?")
        );
    }
    // A prefix in common is no likeness.
    let text = refusal(&[("TIDINGS_COLOR", "x")], "");
    assert_eq!(
        text,
        "TIDINGS_COLOR (environment) is not a setting; docs/settings.md lists all of them"
    );
    let text = refusal(&[], "[something]\nelse = 1");
    assert_eq!(
        text,
        "something (tidings.toml) is not a setting; docs/settings.md lists all of them"
    );
    assert!(refusal(&[], "\"a\\nb\" = 1").starts_with("a\\nb (tidings.toml)"));
}

#[test]
fn variables_of_others_are_left_alone() {
    load(
        &[
            ("PATH", "/bin"),
            ("WEBHOOK_ULR", "x"),
            ("TIDINGS_TEST_BACKENDS", "external"),
            ("", ""),
        ],
        "",
    )
    .unwrap();
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<_> = TABLE.iter().map(|setting| setting.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLE.len(), "a name occurs twice");
    for setting in TABLE {
        assert!(
            !setting.meaning.contains('|') && !setting.meaning.contains('\n'),
            "{} breaks the table",
            setting.name
        );
        if let Some(demo) = setting.demo {
            assert_eq!(setting.development, Fallback::Value(demo), "{}", setting.name);
        }
        // This one is a command, of which the output would be taken.
        if setting.name == "TIDINGS_ENCRYPTION_KEY" {
            continue;
        }
        // An example is not followed by a refusal.
        let mut set = NEEDED.to_vec();
        set.push((setting.name, setting.example));
        in_production(&set).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_setting_is_read() {
    // A value that its parser would refuse is refused, so each name of the table reaches a parser.
    for setting in TABLE {
        let taken_as_it_is = setting.name == "TIDINGS_DATA_DIR"
            || setting.name == "GEOIP_DATABASE"
            || setting.name == "WEBHOOK_SECRET"
            || setting.name.starts_with("KAFKA_SASL")
            || setting.name == "KAFKA_SSL_CA_LOCATION";
        assert_eq!(
            load(&[(setting.name, "\t?")], "").is_ok(),
            taken_as_it_is,
            "{}",
            setting.name
        );
    }
}

const BEGIN: &str = "<!-- settings: generated -->\n";
const END: &str = "<!-- settings: end -->\n";

#[test]
fn the_documentation_has_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text
        .split_once(BEGIN)
        .expect("docs/settings.md has a line that begins the table");
    let (table, after) = rest
        .split_once(END)
        .expect("docs/settings.md has a line that ends the table");
    let generated = format!("\n{}\n", markdown_table());
    if table == generated {
        return;
    }
    let update = "UPDATE_DOCS=1 cargo test -p tidings-runtime documentation";
    assert!(
        std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/settings.md is behind the code; rewrite it with `{update}`"
    );
    std::fs::write(&path, format!("{before}{BEGIN}{generated}{END}{after}")).unwrap();
}

proptest::proptest! {
    /// Whatever somebody writes for a setting, they get settings or one line that says what is wrong.
    #[test]
    fn no_value_panics(index: proptest::sample::Index, value: String, near in "[0-9a-z:/,.+= -]{0,40}") {
        let setting = TABLE[index.index(TABLE.len())];
        for value in [value, near] {
            if let Err(error) = load(&[(setting.name, &value)], "") {
                proptest::prop_assert!(!error.to_string().contains('\n'), "{}", error);
            }
        }
    }

    #[test]
    fn no_file_panics(file: String) {
        let _ = load(&[], &file);
    }
}
