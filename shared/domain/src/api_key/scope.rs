use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::Role;
use crate::Invalid;

/// Declares scopes and lists them.
macro_rules! scopes {
    ($($name:ident: $text:literal;)*) => {
        /// One thing that a key may be good for: reading or changing one kind of resource.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope {
            $($name,)*
        }

        impl Scope {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

scopes! {
    UsersRead: "users:read";
    UsersWrite: "users:write";
    ContactsRead: "contacts:read";
    ContactsWrite: "contacts:write";
    MessagesRead: "messages:read";
    MessagesWrite: "messages:write";
    OrdersRead: "orders:read";
    OrdersWrite: "orders:write";
    NotificationsRead: "notifications:read";
    NotificationsWrite: "notifications:write";
    GuidsRead: "guids:read";
    GuidsWrite: "guids:write";
    ApiKeysRead: "api-keys:read";
    ApiKeysWrite: "api-keys:write";
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let scope = Self::ALL.iter().copied().find(|scope| scope.as_str() == text);
        scope.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|scope| scope.as_str()).collect();
            Invalid::new(format!(
                "there is no such scope; there are {}, and * for all that the role may have",
                names.join(", ")
            ))
        })
    }
}

/// Everything that one key is good for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// All that a key with this role can have.
    pub fn of_role(role: Role) -> Self {
        Scope::ALL
            .iter()
            .copied()
            .filter(|scope| role.may_have(*scope))
            .collect()
    }

    /// Takes names as someone lists them; `*` stands for all that the role may have.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>, role: Role) -> Result<Self, Invalid> {
        let mut scopes = Self::default();
        for name in names {
            if name == "*" {
                scopes.0.extend(Self::of_role(role).0);
                continue;
            }
            let scope = name.parse()?;
            if !role.may_have(scope) {
                return Err(Invalid::new(format!("a {role} key cannot have the scope {scope}")));
            }
            scopes.0.insert(scope);
        }
        match scopes.0.is_empty() {
            true => Err(Invalid::new("scopes must name at least one")),
            false => Ok(scopes),
        }
    }

    /// Reads what [`Display`](fmt::Display) wrote. What it does not know was granted by a later version, and
    /// opens nothing here.
    pub fn known_of(text: &str) -> Self {
        text.split(',').filter_map(|name| name.parse().ok()).collect()
    }

    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// The first of the others that is not among these.
    pub fn lacks(&self, others: &Self) -> Option<Scope> {
        others.0.difference(&self.0).next().copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// Names separated by commas.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scopes_are_names_or_all_that_a_role_may_have() {
        let parse = |names: &[&str], role| Scopes::parse(names.iter().copied(), role);
        let both = parse(&["messages:write", "contacts:read", "messages:write"], Role::Service).unwrap();
        assert_eq!(both.to_string(), "contacts:read,messages:write");
        assert_eq!(parse(&["*"], Role::Staff).unwrap(), Scopes::of_role(Role::Staff));
        assert_eq!(Scopes::of_role(Role::Admin).iter().count(), Scope::ALL.len());
        assert!(!Scopes::of_role(Role::Staff).has(Scope::ApiKeysRead));
        for bad in [&[][..], &["messages"], &["messages:write,contacts:read"], &[""]] {
            assert!(parse(bad, Role::Admin).is_err(), "{bad:?}");
        }
        let beyond = parse(&["api-keys:write"], Role::Staff).unwrap_err().to_string();
        assert_eq!(beyond, "a staff key cannot have the scope api-keys:write");
        assert_eq!(both.lacks(&Scopes::of_role(Role::Admin)), Some(Scope::UsersRead));
        assert_eq!(Scopes::of_role(Role::Admin).lacks(&both), None);
    }

    #[test]
    fn what_a_later_version_granted_opens_nothing() {
        let scopes = Scopes::known_of("planets:write,messages:read");
        assert_eq!(scopes.to_string(), "messages:read");
        assert_eq!(Scopes::known_of("").to_string(), "");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(names in prop::collection::vec(prop::sample::select(Scope::ALL), 0..20)) {
            let scopes: Scopes = names.into_iter().collect();
            prop_assert_eq!(Scopes::known_of(&scopes.to_string()), scopes);
        }

        #[test]
        fn no_input_panics(text in ".*") {
            let _ = (text.parse::<Scope>(), text.parse::<Role>(), Scopes::known_of(&text));
            let _ = Scopes::parse(text.split(' '), Role::Staff);
        }
    }
}
