//! Whatever comes as text in a path, a header, a body, a setting or a row. What is taken must read back the
//! same from how it is written.

#![no_main]

use tidings_domain::*;

libfuzzer_sys::fuzz_target!(|text: &str| {
    macro_rules! reads_back {
        ($($kind:ty),*) => {$(
            if let Ok(value) = text.parse::<$kind>() {
                let written = value.to_string();
                let again: $kind = written.parse().expect("what was written is read");
                assert_eq!(again.to_string(), written, stringify!($kind));
            }
        )*};
    }
    reads_back!(
        ContactId, MessageId, ApiKeyId, UserId, Scope, Role, EventTypes, WebhookUrl, CorrelationId, TraceParent, Sender,
        RetrySchedule
    );
    let _ = (text.parse::<KeyToken>(), text.parse::<KeyName>(), Country::from_code(text));
    let _ = (PhoneNumber::parse(text), EmailAddress::parse(text), ContactName::parse(text), Content::parse(text));
    let _ = (PersonName::parse(text), PostalAddress::parse(text));
    let _ = Scopes::parse(text.split(','), Role::Staff);
    assert_eq!(Scopes::known_of(&Scopes::known_of(text).to_string()), Scopes::known_of(text));
});
