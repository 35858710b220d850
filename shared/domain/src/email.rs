use std::fmt;

use url::Host;

use crate::TextFault;

/// An email address that mail can be sent to, kept exactly as given. `Ada@example.com` and
/// `ada@example.com` are two.
///
/// It is what RFC 5321 calls a mailbox, without what nobody has: no quoted local part, no address in
/// brackets in the place of the domain, and a domain of at least two labels. The domain may be written in
/// any script.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The longest that mail servers have to take (RFC 5321, erratum 1690).
    pub const MAX_CHARS: usize = 254;
    const MAX_LOCAL: usize = 64;

    /// Answers everything that is wrong with it.
    pub fn parse(text: impl Into<String>) -> Result<Self, Vec<TextFault>> {
        let text = text.into();
        let mut faults = crate::text::faults(&text, Self::MAX_CHARS);
        if faults.contains(&TextFault::Blank) {
            return Err(faults);
        }
        if !is_mailbox(&text) {
            faults.push(TextFault::NotAnEmail);
        }
        if faults.is_empty() { Ok(Self(text)) } else { Err(faults) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_mailbox(text: &str) -> bool {
    text.rsplit_once('@')
        .is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain))
}

/// Atoms with dots between them.
fn is_local_part(local: &str) -> bool {
    let atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    local.len() <= EmailAddress::MAX_LOCAL && local.split('.').all(atom)
}

fn is_domain(domain: &str) -> bool {
    // What a URL's host may contain beyond these, such as percent signs, has no business here.
    if !domain
        .chars()
        .all(|character| character == '.' || character == '-' || character.is_alphanumeric() || !character.is_ascii())
    {
        return false;
    }
    // Into the form that name servers know; this refuses what cannot be a name in any script.
    let Ok(Host::Domain(ascii)) = Host::parse(domain) else {
        return false;
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let top_level = ascii.rsplit('.').next().unwrap_or_default();
    ascii.len() <= 253
        && ascii.contains('.')
        && ascii.split('.').all(label)
        && top_level.len() >= 2
        && !top_level.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ATOM: &str = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,12}";
    const LABEL: &str = "[a-z0-9]([a-z0-9]{0,10}[a-z0-9])?";

    proptest! {
        #[test]
        fn mailboxes_of_the_standard_form_are_kept_as_given(
            local in prop::collection::vec(ATOM, 1..4),
            labels in prop::collection::vec(LABEL, 1..4),
            top_level in "[a-z]{2,10}",
        ) {
            let text = format!("{}@{}.{top_level}", local.join("."), labels.join("."));
            let kept = EmailAddress::parse(text.clone()).unwrap();
            prop_assert_eq!(kept.as_str(), text);
        }

        #[test]
        fn what_is_kept_has_one_at_a_domain_and_no_blank(text in "[a-z@. \\-\"\\n\\t<>,;:%é\\[\\]]{0,20}") {
            if let Ok(kept) = EmailAddress::parse(text.clone()) {
                prop_assert_eq!(kept.as_str(), &text);
                let (local, domain) = text.split_once('@').unwrap();
                prop_assert!(!local.is_empty() && !domain.contains('@') && domain.contains('.'));
                prop_assert!(!text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"<>,;:%[]".contains(c)));
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = EmailAddress::parse(text);
        }
    }

    #[test]
    fn the_edges_of_an_address() {
        let longest_local = "x".repeat(64);
        let long = format!(
            "{}@{}.ch",
            "x".repeat(64),
            ["y".repeat(62), "y".repeat(62), "z".repeat(60)].join(".")
        );
        assert_eq!(long.len(), 254);
        for good in [
            "a@b.ch",
            "Serge.Karamazov@example.com",
            "serge+news@example.co.uk",
            "o'hara_%@example.museum",
            "info@zürich.ch",
            "info@xn--zrich-kva.ch",
            "x@1.2.ch",
            &format!("{longest_local}@example.com"),
            &long,
        ] {
            assert!(EmailAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "serge",
            "@",
            "@example.com",
            "serge@",
            "serge@localhost",
            "serge@example",
            "serge@example.c",
            "serge@example.123",
            "serge@127.0.0.1",
            "serge@[127.0.0.1]",
            "serge@-example.com",
            "serge@example-.com",
            "serge@example..com",
            "serge@.example.com",
            "serge@example.com.",
            "serge@exa mple.com",
            "serge@exam_ple.com",
            "serge@example%2ecom",
            ".serge@example.com",
            "serge.@example.com",
            "ser..ge@example.com",
            "ser ge@example.com",
            "serge@odile@example.com",
            "\"serge\"@example.com",
            "Serge <serge@example.com>",
            "serge@example.com\nBcc: odile@example.com",
            "sérge@example.com",
            &format!("{longest_local}x@example.com"),
        ] {
            assert_eq!(EmailAddress::parse(bad), Err(vec![TextFault::NotAnEmail]), "{bad}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        assert_eq!(EmailAddress::parse(""), Err(vec![TextFault::Blank]));
        let long = "x".repeat(255);
        let too_long = TextFault::TooLong { max: 254 };
        assert_eq!(EmailAddress::parse(long), Err(vec![too_long, TextFault::NotAnEmail]));
        let long_but_well_formed = format!(
            "{}@{}.ch",
            "x".repeat(64),
            ["y".repeat(62), "y".repeat(62), "z".repeat(61)].join(".")
        );
        assert_eq!(EmailAddress::parse(long_but_well_formed), Err(vec![too_long]));
    }
}
