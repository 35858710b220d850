/// One setting, as it is documented and read.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    /// What holds in the development profile when it is not set.
    pub development: Fallback,
    /// What holds in the production profile when it is not set.
    pub production: Fallback,
    /// One sentence or two for the documentation, in Markdown.
    pub meaning: &'static str,
    /// A value that would be taken, shown where one was refused.
    pub example: &'static str,
    /// A value so well known that production refuses it.
    pub demo: Option<&'static str>,
}

/// What holds when a setting is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This text, as if it had been set.
    Value(&'static str),
    /// Nothing; the text says what happens then.
    Unset(&'static str),
    /// It must be set.
    Required,
}

use Fallback::{Required, Unset, Value};

/// The same in both profiles.
const fn setting(name: &'static str, fallback: Fallback, example: &'static str, meaning: &'static str) -> Setting {
    Setting {
        name,
        development: fallback,
        production: fallback,
        meaning,
        example,
        demo: None,
    }
}

/// Every setting there is, in the order of the documentation.
pub const TABLE: &[Setting] = &[
    setting(
        "TIDINGS_PROFILE",
        Value("development"),
        "production",
        "`development` or `production`: how strict a process is, and which of the two columns of defaults holds.",
    ),
    setting(
        "TIDINGS_LISTEN",
        Value("127.0.0.1:3000"),
        "0.0.0.0:3000",
        "Where the gateway listens.",
    ),
    setting(
        "TIDINGS_OPS_LISTEN",
        Value("127.0.0.1:0"),
        "0.0.0.0:9100",
        "Where a service that runs alone serves health and metrics. Port 0 is any free one; the log names it.",
    ),
    setting(
        "TIDINGS_DATA_DIR",
        Value(".tidings"),
        "/var/lib/tidings",
        "The folder of the embedded database and broker. One process at a time may use it.",
    ),
    setting(
        "DATABASE_URL",
        Unset("SQLite in the data folder"),
        "postgres://tidings:secret@db.example:5432/tidings",
        "The database: `postgres://…` or `sqlite://…`.",
    ),
    setting(
        "KAFKA_BROKERS",
        Unset("the embedded broker"),
        "kafka-1.example:9092,kafka-2.example:9092",
        "Where to find the Kafka cluster: `host:port`, separated by commas.",
    ),
    setting(
        "KAFKA_SECURITY_PROTOCOL",
        Unset("plaintext"),
        "sasl_ssl",
        "`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`. Those with `ssl` need a binary built with `--features kafka-tls`.",
    ),
    setting(
        "KAFKA_SASL_MECHANISM",
        Unset("none"),
        "SCRAM-SHA-512",
        "How to log in to the Kafka cluster. `PLAIN` always works, `SCRAM-…` needs a binary built with `--features kafka-tls`.",
    ),
    setting(
        "KAFKA_SASL_USERNAME",
        Unset("none"),
        "tidings",
        "The user name for the Kafka cluster.",
    ),
    setting(
        "KAFKA_SASL_PASSWORD",
        Unset("none"),
        "a long random password",
        "The password for the Kafka cluster.",
    ),
    setting(
        "KAFKA_SSL_CA_LOCATION",
        Unset("the system's certificates"),
        "/etc/ssl/kafka-ca.pem",
        "The file with the certificate authority of the Kafka cluster.",
    ),
    setting(
        "REDIS_URL",
        Unset("each gateway for itself"),
        "redis://:secret@redis.example:6379/0",
        "A Redis in which gateways share what they have read of GUIDs: `redis://…`, or `rediss://…` with TLS. It may lose everything at any time. Another installation needs another database of it.",
    ),
    setting(
        "TIDINGS_BROKER_LISTEN",
        Value("127.0.0.1:9092"),
        "127.0.0.1:9093",
        "Where the embedded broker listens, for Tidings itself and for any other Kafka client.",
    ),
    setting(
        "TIDINGS_RECEIVER_LISTEN",
        Value("127.0.0.1:3010"),
        "127.0.0.1:3011",
        "Where the built-in webhook receiver listens.",
    ),
    Setting {
        production: Required,
        demo: Some("there-is-no-key"),
        ..setting(
            "TIDINGS_API_KEY",
            Value("there-is-no-key"),
            "the output of `openssl rand -hex 32`",
            "The first key, with every right. Production refuses the demo value.",
        )
    },
    setting(
        "TIDINGS_ENCRYPTION_KEY",
        Unset("`tidings up` makes one and keeps it in the data folder; other processes need it"),
        "the output of `openssl rand -base64 32`",
        "What stored secrets are encrypted with: 32 bytes in base64. Of several, separated by commas, the first encrypts and all decrypt.",
    ),
    setting(
        "TIDINGS_PUBLIC_URL",
        Unset("the scheme and host of each request"),
        "https://api.example.com",
        "What absolute links begin with. Needed behind a proxy that speaks https or changes the `Host` header.",
    ),
    Setting {
        production: Value("false"),
        ..setting(
            "TIDINGS_OPEN_CONTRACTS",
            Value("true"),
            "false",
            "Whether the users and the GUID contract can be used without a key: `true` or `false`.",
        )
    },
    Setting {
        production: Value("600/1m"),
        ..setting(
            "TIDINGS_RATE_LIMIT_PER_KEY",
            Value("off"),
            "600/1m",
            "How many requests of one key each gateway lets through in how much time, or `off`.",
        )
    },
    Setting {
        production: Value("300/1m"),
        ..setting(
            "TIDINGS_RATE_LIMIT_PER_ADDRESS",
            Value("off"),
            "300/1m",
            "The same for one address, which is an IPv4 address or an IPv6 network of 64 bits. Wrong keys count here.",
        )
    },
    Setting {
        production: Unset("none"),
        ..setting(
            "TIDINGS_TRUSTED_PROXIES",
            Value("127.0.0.0/8,::1/128"),
            "10.20.0.0/16,fd00:1234::/64",
            "Networks whose word on where a request comes from counts (`X-Forwarded-For`), separated by commas.",
        )
    },
    setting(
        "GEOIP_URL",
        Value("https://ipapi.co/{ip}/json/"),
        "https://ipapi.co/{ip}/json/",
        "Where to ask for the country of an address, which takes the place of `{ip}`. The answer has the form of ipapi.co's.",
    ),
    setting(
        "GEOIP_DATABASE",
        Unset("none"),
        "/usr/share/GeoIP/GeoLite2-Country.mmdb",
        "A file in MaxMind's format, which is asked when there is no answer from `GEOIP_URL`.",
    ),
    Setting {
        production: Unset("none, so nobody can sign up from there"),
        ..setting(
            "TIDINGS_LOCAL_COUNTRY",
            Value("CH"),
            "CH",
            "The country of private and loopback addresses, as an ISO 3166-1 code of two letters.",
        )
    },
    Setting {
        production: Unset("none"),
        ..setting(
            "TIDINGS_WEBHOOK_ALLOW",
            Value("127.0.0.0/8,::1/128"),
            "10.20.0.0/16,fd00:1234::/64",
            "Networks that webhooks may reach although they are not public, separated by commas.",
        )
    },
    Setting {
        production: Value("15s"),
        ..setting(
            "TIDINGS_ATTEMPT_TIMEOUT",
            Value("2s"),
            "15s",
            "How long one attempt may take in all, the answer of the webhook's receiver or the provider included. Less than `60s`.",
        )
    },
    setting(
        "WEBHOOK_URL",
        Unset("the built-in receiver"),
        "https://hooks.example/tidings",
        "The default webhook endpoint. Where it is set, no built-in receiver is started.",
    ),
    Setting {
        production: Required,
        demo: Some("mySecret"),
        ..setting(
            "WEBHOOK_SECRET",
            Value("mySecret"),
            "the output of `openssl rand -hex 32`",
            "The secret that webhooks to the default endpoint are signed with. Production refuses the demo value.",
        )
    },
    Setting {
        production: Value("0s,5s,5m,30m,2h,5h,10h,10h"),
        ..setting(
            "TIDINGS_RETRY_SCHEDULE",
            Value("0s,1s,3s"),
            "0s,5s,5m",
            "The delay before each attempt to deliver a webhook or a notification, separated by commas. There are as many \
             attempts as entries.",
        )
    },
    Setting {
        production: Unset("no email is sent"),
        ..setting(
            "EMAIL_PROVIDER_URL",
            Unset("the sandbox on the gateway's port"),
            "https://email.example/send",
            "Who passes email on, by `POST` of `recipient` and `message`.",
        )
    },
    Setting {
        production: Unset("needed with `EMAIL_PROVIDER_URL`"),
        demo: Some("7lPIazekwQu7Raz7FqBQmsLvlH29IDwG"),
        ..setting(
            "EMAIL_PROVIDER_TOKEN",
            Value("7lPIazekwQu7Raz7FqBQmsLvlH29IDwG"),
            "the-token-from-your-provider",
            "The bearer token for `EMAIL_PROVIDER_URL`; the sandbox asks for it, too. Production refuses the demo value.",
        )
    },
    setting(
        "EMAIL_SMTP_URL",
        Unset("none"),
        "smtp://user:password@mail.example?tls=required",
        "A mail server, instead of `EMAIL_PROVIDER_URL`: `smtps://…`, `smtp://…?tls=required` for STARTTLS (`opportunistic`: \
         if the server offers it), or `smtp://…` without encryption. A login goes before the host.",
    ),
    Setting {
        production: Unset("needed with `EMAIL_SMTP_URL`"),
        ..setting(
            "EMAIL_FROM",
            Value("Tidings <tidings@localhost>"),
            "Kits <kits@example.com>",
            "Whom mail by `EMAIL_SMTP_URL` comes from.",
        )
    },
    Setting {
        production: Unset("no SMS is sent"),
        ..setting(
            "SMS_PROVIDER_URL",
            Unset("the sandbox on the gateway's port"),
            "https://sms.example/send",
            "Who passes SMS on, by `POST` of `recipient` and `message`.",
        )
    },
    Setting {
        production: Unset("needed with `SMS_PROVIDER_URL`"),
        demo: Some("o8deGqg2vTGYXtvIsA05zOW8ywAPBQuB"),
        ..setting(
            "SMS_PROVIDER_TOKEN",
            Value("o8deGqg2vTGYXtvIsA05zOW8ywAPBQuB"),
            "the-token-from-your-provider",
            "The bearer token for `SMS_PROVIDER_URL`; the sandbox asks for it, too. Production refuses the demo value.",
        )
    },
    setting(
        "PUSH_PROVIDER_URL",
        Unset("no push messages are sent"),
        "https://push.example",
        "A server of ntfy's kind, which push messages are published to: each user has the topic `user-<id>`.",
    ),
    setting(
        "PUSH_PROVIDER_TOKEN",
        Unset("needed with `PUSH_PROVIDER_URL`"),
        "the-token-from-your-server",
        "The bearer token for `PUSH_PROVIDER_URL`. Only those who show it, or the user's own devices, should be let at a topic.",
    ),
    setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        Unset("no traces are sent"),
        "http://collector.example:4318",
        "Where traces are sent by OTLP over HTTP, as protobuf; `/v1/traces` is added to it.",
    ),
    setting(
        "OTEL_TRACES_SAMPLER_ARG",
        Value("1"),
        "0.05",
        "How many of the traces that begin here are sampled, from `0` (none) to `1` (all). One that a client has begun is sampled if its `traceparent` says so.",
    ),
];

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.name == name)
}

/// The name that was probably meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let name = own_part(&name);
    TABLE
        .iter()
        .map(|setting| (strsim::jaro_winkler(name, own_part(setting.name)), setting.name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// A name without the prefix, which says nothing about what was meant and is easily forgotten.
fn own_part(name: &str) -> &str {
    name.strip_prefix("TIDINGS_").unwrap_or(name)
}
