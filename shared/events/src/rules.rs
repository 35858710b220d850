//! What users are told about, by which channel and in which words.
//!
//! The rules are tried from the top, and the first that fits an event is the one. A channel that the
//! event itself names goes before the rule's.

use tidings_domain::ChannelName;

use crate::{Event, OrderPlaced};

/// One thing that users are told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Stands in rows: an event is told once by one rule and channel. So it is never changed.
    pub name: &'static str,
    /// The type of the event that the user is told about.
    pub event: &'static str,
    /// An attribute of the event's data and the value it must have. `None`: whatever they are.
    pub when: Option<(&'static str, &'static str)>,
    pub channel: ChannelName,
    pub template: &'static str,
}

pub const RULES: &[Rule] = &[
    Rule {
        name: "exome-order-placed",
        event: OrderPlaced::TYPE,
        when: Some(("sequencing_type", "whole-exome-sequencing")),
        channel: ChannelName::Sms,
        template: "order-placed",
    },
    Rule {
        name: "order-placed",
        event: OrderPlaced::TYPE,
        when: None,
        channel: ChannelName::Email,
        template: "order-placed",
    },
];

/// The rule for an event with these attributes.
pub fn rule_for<'a>(event_type: &str, attribute: impl Fn(&str) -> Option<&'a str>) -> Option<&'static Rule> {
    let fits = |rule: &&Rule| match rule.when {
        Some((name, value)) => attribute(name) == Some(value),
        None => true,
    };
    RULES.iter().filter(|rule| rule.event == event_type).find(fits)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::EventType;

    fn channel(sequencing: &str) -> ChannelName {
        let rule = rule_for(OrderPlaced::TYPE, |name| {
            (name == "sequencing_type").then_some(sequencing)
        });
        rule.unwrap().channel
    }

    #[test]
    fn an_exome_is_told_by_sms_and_everything_else_by_email() {
        assert_eq!(channel("whole-exome-sequencing"), ChannelName::Sms);
        for other in [
            "targeted-sequencing",
            "Whole-Exome-Sequencing",
            "whole-exome-sequencing ",
        ] {
            assert_eq!(channel(other), ChannelName::Email, "{other}");
        }
        assert_eq!(rule_for("tidings.user.created", |_| None), None);
    }

    #[test]
    fn rules_are_about_events_that_there_are_and_can_be_told_apart() {
        let mut names = HashSet::new();
        for rule in RULES {
            assert!(EventType::from_name(rule.event).is_some(), "{}", rule.event);
            assert!(names.insert(rule.name), "{}", rule.name);
        }
    }
}
