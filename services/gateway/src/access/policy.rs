//! What every operation needs, in one table. The routes are built from it, `docs/keys.md` shows it, and a test
//! compares it with the routes that there are.

use actix_web::http::Method;
use tidings_domain::{Role, Scope};

/// Whom an operation admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Everybody, without a key.
    Open,
    Key(Need),
    /// Everybody while contracts are open (`TIDINGS_OPEN_CONTRACTS`), otherwise as with [`Key`](Self::Key).
    Contract(Need),
}

/// What a key must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) scope: Scope,
    /// The least of the roles that will do.
    pub(crate) role: Role,
}

impl Policy {
    const fn key(scope: Scope) -> Self {
        Self::Key(Need::any(scope))
    }

    const fn contract(scope: Scope) -> Self {
        Self::Contract(Need::any(scope))
    }

    /// The same for people with this role or one above it only.
    const fn for_role(self, role: Role) -> Self {
        match self {
            Self::Open => Self::Open,
            Self::Key(need) => Self::Key(Need { role, ..need }),
            Self::Contract(need) => Self::Contract(Need { role, ..need }),
        }
    }
}

impl Need {
    const fn any(scope: Scope) -> Self {
        Self {
            scope,
            role: Role::Service,
        }
    }
}

type Line = (&'static str, &'static [(Method, Policy)]);

/// By the path under which an operation is registered first.
pub(crate) const TABLE: &[Line] = &[
    // Service endpoints.
    ("/health", PAGE),
    ("/health/live", PAGE),
    ("/health/ready", PAGE),
    ("/version", PAGE),
    ("/metrics", PAGE),
    // Documents.
    ("/docs/openapi.yaml", PAGE),
    ("/docs", PAGE),
    ("/docs/{file}", PAGE),
    ("/redoc", PAGE),
    ("/problems", PAGE),
    ("/problems/{name}", PAGE),
    // The messaging contract. Whoever may send messages may describe their recipients.
    (
        "/contacts",
        &[
            (Method::GET, Policy::key(Scope::ContactsRead)),
            (Method::POST, Policy::key(Scope::ContactsWrite)),
        ],
    ),
    (
        "/contacts/{id}",
        &[
            (Method::GET, Policy::key(Scope::ContactsRead)),
            (Method::PATCH, Policy::key(Scope::ContactsWrite)),
            (Method::DELETE, Policy::key(Scope::ContactsWrite)),
        ],
    ),
    (
        "/messages",
        &[
            (Method::GET, Policy::key(Scope::MessagesRead)),
            (Method::POST, Policy::key(Scope::MessagesWrite)),
        ],
    ),
    ("/messages/{id}", &[(Method::GET, Policy::key(Scope::MessagesRead))]),
    // The users contract.
    (
        "/api/v1/users",
        &[
            (Method::GET, Policy::contract(Scope::UsersRead)),
            (Method::POST, Policy::contract(Scope::UsersWrite)),
            (Method::HEAD, Policy::contract(Scope::UsersRead)),
            (Method::OPTIONS, Policy::contract(Scope::UsersRead)),
        ],
    ),
    (
        "/api/v1/users/{id}",
        &[
            (Method::GET, Policy::contract(Scope::UsersRead)),
            (Method::PUT, Policy::contract(Scope::UsersWrite)),
            (Method::PATCH, Policy::contract(Scope::UsersWrite)),
            (Method::DELETE, Policy::contract(Scope::UsersWrite)),
            (Method::HEAD, Policy::contract(Scope::UsersRead)),
            (Method::OPTIONS, Policy::contract(Scope::UsersRead)),
        ],
    ),
    // The kit-order contract. Orders are for people of the house to place.
    ("/users", &[(Method::GET, Policy::contract(Scope::UsersRead))]),
    ("/users/{id}", &[(Method::PATCH, Policy::contract(Scope::UsersWrite))]),
    (
        "/orders",
        &[
            (Method::GET, Policy::contract(Scope::OrdersRead)),
            (Method::POST, Policy::contract(Scope::OrdersWrite).for_role(Role::Staff)),
        ],
    ),
    ("/orders/{id}", &[(Method::GET, Policy::contract(Scope::OrdersRead))]),
    (
        "/notifications",
        &[
            (Method::GET, Policy::contract(Scope::NotificationsRead)),
            (Method::POST, Policy::contract(Scope::NotificationsWrite)),
        ],
    ),
    (
        "/notifications/{id}",
        &[(Method::GET, Policy::contract(Scope::NotificationsRead))],
    ),
    // The GUID contract.
    ("/guid", &[(Method::POST, Policy::contract(Scope::GuidsWrite))]),
    (
        "/guid/{guid}",
        &[
            (Method::GET, Policy::contract(Scope::GuidsRead)),
            (Method::POST, Policy::contract(Scope::GuidsWrite)),
            (Method::PATCH, Policy::contract(Scope::GuidsWrite)),
            (Method::DELETE, Policy::contract(Scope::GuidsWrite)),
        ],
    ),
    // The sandbox, which only development has. Those who send by it show a token of their own.
    ("/sandbox/email-delivery-service", &[(Method::POST, Policy::Open)]),
    ("/sandbox/sms-delivery-service", &[(Method::POST, Policy::Open)]),
    (
        "/sandbox/outbox",
        &[(Method::GET, Policy::Open), (Method::DELETE, Policy::Open)],
    ),
    (
        "/sandbox/faults",
        &[
            (Method::GET, Policy::Open),
            (Method::PUT, Policy::Open),
            (Method::DELETE, Policy::Open),
        ],
    ),
    // Keys.
    (
        "/api/v2/api-keys",
        &[
            (Method::GET, Policy::key(Scope::ApiKeysRead).for_role(Role::Admin)),
            (Method::POST, Policy::key(Scope::ApiKeysWrite).for_role(Role::Admin)),
        ],
    ),
    (
        "/api/v2/api-keys/{id}",
        &[
            (Method::GET, Policy::key(Scope::ApiKeysRead).for_role(Role::Admin)),
            (Method::DELETE, Policy::key(Scope::ApiKeysWrite).for_role(Role::Admin)),
        ],
    ),
];

const PAGE: &[(Method, Policy)] = &[(Method::GET, Policy::Open), (Method::HEAD, Policy::Open)];

/// The policy of an operation, if it has one.
pub(crate) fn policy(path: &str, method: &Method) -> Option<Policy> {
    let (_, methods) = TABLE.iter().find(|(declared, _)| *declared == path)?;
    let (_, policy) = methods.iter().find(|(declared, _)| declared == method)?;
    Some(*policy)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use actix_web::introspection::IntrospectionTree;
    use actix_web::{App, test as actix, web};
    use serde_json::Value;
    use tidings_domain::SystemClock;
    use tidings_runtime::health::{BuildInfo, Health};
    use tidings_runtime::telemetry::install_metrics;

    use super::*;
    use crate::sandbox::{Sandbox, SandboxTokens};
    use crate::server::routes;

    /// What refuses everything that comes there.
    const REFUSING: [&str; 2] = ["/api/v1/users/{rest:.*}", "/api/v2/{rest:.*}"];

    /// Every operation that the gateway answers, as actix knows it: method and path as registered first.
    async fn registered() -> BTreeSet<(String, String)> {
        let build = BuildInfo {
            version: "",
            commit: "",
            built_at: "",
        };
        let tokens = SandboxTokens {
            email: "token".into(),
            sms: "token".into(),
        };
        let sandbox = web::Data::new(Sandbox::new(tokens, Arc::new(SystemClock)));
        let tree = "/tree";
        let report = web::get().to(async |tree: web::Data<IntrospectionTree>| tree.report_as_json());
        let app = App::new()
            .configure(routes(&Health::new(), build, Some(&install_metrics()), Some(&sandbox)))
            .route(tree, report);
        let app = actix::init_service(app).await;
        let request = actix::TestRequest::get().uri(tree).to_request();
        let report: Value = serde_json::from_slice(&actix::call_and_read_body(&app, request).await).unwrap();
        let texts = |list: &Value| -> Vec<String> {
            let list = list.as_array().unwrap().iter();
            list.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut operations = BTreeSet::new();
        for item in report.as_array().unwrap() {
            let path = texts(&item["patterns"]).first().cloned().unwrap_or_default();
            let methods = texts(&item["methods"]);
            if path == tree || item["resource_type"] != "resource" {
                continue;
            }
            assert!(
                !methods.is_empty() || REFUSING.contains(&&path[..]),
                "{path} answers to every method"
            );
            operations.extend(methods.into_iter().map(|method| (method, path.clone())));
        }
        operations
    }

    fn declared() -> BTreeSet<(String, String)> {
        let lines = TABLE.iter().flat_map(|(path, methods)| {
            let operation = |(method, _): &(Method, Policy)| (method.to_string(), (*path).to_owned());
            methods.iter().map(operation)
        });
        lines.collect()
    }

    #[actix_web::test]
    async fn every_operation_has_a_policy_and_every_policy_an_operation() {
        let (registered, declared) = (registered().await, declared());
        assert!(registered.len() > 20, "{registered:?}");
        let without: Vec<_> = registered.difference(&declared).collect();
        assert!(without.is_empty(), "without a policy: {without:?}");
        let nothing: Vec<_> = declared.difference(&registered).collect();
        assert!(nothing.is_empty(), "policies of nothing: {nothing:?}");
    }

    fn shown(policy: Policy) -> (&'static str, String) {
        let need = |need: Need| match need.role {
            Role::Service => format!("`{}`", need.scope),
            role => format!("`{}`, role `{role}`", need.scope),
        };
        match policy {
            Policy::Open => ("everybody", String::new()),
            Policy::Key(needed) => ("key", need(needed)),
            Policy::Contract(needed) => ("key, unless contracts are open", need(needed)),
        }
    }

    const BEGIN: &str = "<!-- policies: generated -->\n";
    const END: &str = "<!-- policies: end -->\n";

    #[test]
    fn the_documentation_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/keys.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (table, after) = rest.split_once(END).unwrap();
        let mut generated = "\n| operation | for | needs |\n| --- | --- | --- |\n".to_owned();
        for (path, methods) in TABLE {
            for (method, policy) in *methods {
                let (whom, needs) = shown(*policy);
                generated.push_str(&format!("| `{method} {path}` | {whom} | {needs} |\n"));
            }
        }
        generated.push('\n');
        if table == generated {
            return;
        }
        let update = "UPDATE_DOCS=1 cargo test -p tidings-gateway documentation";
        assert!(
            std::env::var_os("UPDATE_DOCS").is_some(),
            "docs/keys.md is behind the code; rewrite it with `{update}`"
        );
        std::fs::write(path, format!("{before}{BEGIN}{generated}{END}{after}")).unwrap();
    }
}
