//! What users are told, in words.

use minijinja::{Environment, UndefinedBehavior, context};
use tidings_domain::{Invalid, NotificationText, User};

/// By the names that rules use. Each has a text, and a subject for channels that have one.
const TEMPLATES: &[(&str, &str, &str)] = &[(
    "order-placed",
    include_str!("../templates/order-placed.subject.txt"),
    include_str!("../templates/order-placed.txt"),
)];

#[derive(Debug)]
pub(crate) struct Templates {
    texts: Environment<'static>,
    subjects: Environment<'static>,
}

/// What a template has become for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) message: NotificationText,
}

/// Why there are no words for it.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("a template cannot be used: {0:#}")]
    Template(#[from] minijinja::Error),
    #[error(transparent)]
    Text(#[from] Invalid),
}

impl Templates {
    pub(crate) fn new() -> Result<Self, TemplateError> {
        let environment = || {
            let mut environment = Environment::new();
            environment.set_undefined_behavior(UndefinedBehavior::Strict);
            environment
        };
        let (mut texts, mut subjects) = (environment(), environment());
        for (name, subject, text) in TEMPLATES {
            subjects.add_template(name, subject.trim_end())?;
            texts.add_template(name, text.trim_end())?;
        }
        Ok(Self { texts, subjects })
    }

    /// `user` is `None` if they were deleted; what comes out then is kept, not sent.
    pub(crate) fn render(&self, name: &str, user: Option<&User>) -> Result<Rendered, TemplateError> {
        let words = context! { user_name => user.map(User::name).unwrap_or_default() };
        let subject = self.subjects.get_template(name)?.render(&words)?;
        let message = self.texts.get_template(name)?.render(&words)?;
        Ok(Rendered {
            subject,
            message: NotificationText::parse(message)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_domain::{EmailAddress, PersonName, UserId};
    use tidings_events::rules::RULES;

    use super::*;

    fn user(first_name: &str) -> User {
        User {
            id: UserId::from(7),
            first_name: PersonName::parse(first_name).unwrap(),
            last_name: PersonName::parse("Deray").unwrap(),
            email: EmailAddress::parse("odile@example.com").unwrap(),
            address: Default::default(),
            phone: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
            version: 1,
        }
    }

    #[test]
    fn every_rule_has_words() {
        let templates = Templates::new().unwrap();
        for rule in RULES {
            templates.render(rule.template, Some(&user("Odile"))).unwrap();
            templates.render(rule.template, None).unwrap();
        }
        assert!(templates.render("no such", None).is_err());
    }

    #[test]
    fn a_user_is_called_by_name_and_a_name_is_no_template() {
        let templates = Templates::new().unwrap();
        let message = |name| templates.render("order-placed", Some(&user(name))).unwrap().message;
        assert_eq!(
            message("Odile").as_str(),
            "Hi Odile Deray, your order has been successfully placed."
        );
        assert_eq!(
            message("<b>{{ user_name }}&").as_str(),
            "Hi <b>{{ user_name }}& Deray, your order has been successfully placed."
        );
    }
}
