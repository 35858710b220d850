use super::*;

#[test]
fn development_has_the_sandbox_and_its_tokens() {
    let providers = load(&[], "").unwrap().providers;
    assert!(providers.smtp.is_none());
    for (provider, token) in [
        (providers.email, "7lPIazekwQu7Raz7FqBQmsLvlH29IDwG"),
        (providers.sms, "o8deGqg2vTGYXtvIsA05zOW8ywAPBQuB"),
    ] {
        assert!(provider.url.is_none());
        assert_eq!(provider.token.unwrap().expose_secret(), token);
    }
    let smtp = load(&[("EMAIL_SMTP_URL", "smtp://127.0.0.1:2525")], "").unwrap();
    assert_eq!(smtp.providers.smtp.unwrap().from, "Tidings <tidings@localhost>");
}

#[test]
fn production_asks_for_what_a_provider_needs_only_where_there_is_one() {
    let providers = in_production(&[]).unwrap().providers;
    assert!(providers.email.url.is_none() && providers.email.token.is_none() && providers.smtp.is_none());
    for (url, needed) in [
        (
            ("EMAIL_PROVIDER_URL", "https://email.example/send"),
            "EMAIL_PROVIDER_TOKEN",
        ),
        (("SMS_PROVIDER_URL", "https://sms.example/send"), "SMS_PROVIDER_TOKEN"),
        (("EMAIL_SMTP_URL", "smtps://mail.example"), "EMAIL_FROM"),
    ] {
        let missing = in_production(&[url]).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("{needed} is not set")), "{missing}");
        let example = table::find(needed).unwrap().example;
        in_production(&[url, (needed, example)]).unwrap();
    }
    for token in ["EMAIL_PROVIDER_TOKEN", "SMS_PROVIDER_TOKEN"] {
        let demo = table::find(token).unwrap().demo.unwrap();
        let refused = in_production(&[(token, demo)]).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("{token} (environment): the well-known demo value is refused")),
            "{refused}"
        );
    }
}

#[test]
fn email_goes_one_way() {
    let both = [
        ("EMAIL_PROVIDER_URL", "https://email.example/send"),
        ("EMAIL_SMTP_URL", "smtps://mail.example"),
    ];
    assert_eq!(
        refusal(&both, ""),
        "EMAIL_PROVIDER_URL and EMAIL_SMTP_URL are both set, and only one of them can be used; unset the other"
    );
}

#[test]
fn a_bad_value_is_refused() {
    for (name, values) in [
        (
            "SMS_PROVIDER_URL",
            &[
                "sms.example",
                "ftp://sms.example",
                "https://",
                "https://user:pass@sms.example",
            ][..],
        ),
        ("EMAIL_PROVIDER_TOKEN", &["two words", "é", "line\nbreak"]),
        (
            "EMAIL_SMTP_URL",
            &[
                "mail.example",
                "https://mail.example",
                "smtp://",
                "smtp://user@mail.example",
                "smtp://mail.example?tls=maybe",
                "smtp://mail.example?tls=required&more=1",
                "smtps://mail.example?tls=opportunistic",
            ],
        ),
        (
            "EMAIL_FROM",
            &[
                "Kits",
                "Kits <kits>",
                "@example.com",
                "kits@",
                "a@b.example\r\nBcc: c@d.example",
            ],
        ),
    ] {
        assert_refused(name, values);
    }
}
