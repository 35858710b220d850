//! Whatever text comes in, nothing panics, and what is taken reads back the same from how it is written.
#![allow(clippy::unwrap_used)]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use proptest::prelude::*;
use tidings_domain::*;

/// Arbitrary text, and text that is nearly what some parser wants.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-fA-F]{11,13}",
        "\\+?[0-9]{0,17}",
        "https?://[a-z0-9.@:\\[\\]/?#%-]{0,30}",
        "[0-9]{1,12}(ms|s|m|h|d)(,[0-9]{1,12}(ms|s|m|h|d)){0,4}",
        "[a-z.*, -]{0,40}",
        "0[01]-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
    ]
}

fn reads_back<T: FromStr + Display>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        let again: T = written.parse().unwrap();
        assert_eq!(again.to_string(), written);
    }
}

proptest! {
    #[test]
    fn what_is_taken_reads_back_the_same(text in text()) {
        reads_back::<ContactId>(&text);
        reads_back::<MessageId>(&text);
        reads_back::<ApiKeyId>(&text);
        reads_back::<OrderId>(&text);
        reads_back::<NotificationId>(&text);
        reads_back::<UserId>(&text);
        reads_back::<Scope>(&text);
        reads_back::<Role>(&text);
        reads_back::<EventTypes>(&text);
        reads_back::<WebhookUrl>(&text);
        reads_back::<CorrelationId>(&text);
        reads_back::<TraceParent>(&text);
        reads_back::<Sender>(&text);
        reads_back::<RetrySchedule>(&text);
    }

    #[test]
    fn no_text_panics(text in text()) {
        let _ = (PhoneNumber::parse(&*text), EmailAddress::parse(&*text), Country::from_code(&text));
        let _ = (ContactName::parse(&*text), Content::parse(&*text), KeyName::parse(&*text));
        let _ = (PersonName::parse(&*text), PostalAddress::parse(&*text), Password::parse(&text.as_str().into()));
        let _ = (SequencingType::parse(&*text), ShippingLine::parse("town", &*text), NotificationText::parse(&*text));
        let _ = (text.parse::<KeyToken>(), text.parse::<ChannelName>());
    }

    /// No two texts are one phone number, and none is taken that is not a number as E.164 has it.
    #[test]
    fn a_phone_number_is_taken_as_it_stands(text in text()) {
        let digits = text.strip_prefix('+').unwrap_or_default();
        let fits = (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        match PhoneNumber::parse(&*text) {
            Ok(phone) => prop_assert!(fits && phone.as_str() == text),
            Err(_) => prop_assert!(!fits),
        }
    }
}
