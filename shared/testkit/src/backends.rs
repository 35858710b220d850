//! Which real parts the tests are to use beside the embedded ones.

#[cfg(feature = "containers")]
use crate::containers;

/// What `TIDINGS_TEST_BACKENDS` may name.
const KNOWN: [&str; 3] = ["external", "containers", "foreign"];

/// Whether `TIDINGS_TEST_BACKENDS`, a list separated by commas or spaces, names this backend.
pub fn wanted(backend: &str) -> bool {
    let list = std::env::var("TIDINGS_TEST_BACKENDS").unwrap_or_default();
    let mut names = list.split([',', ' ']).filter(|name| !name.is_empty());
    // A name that is mistyped would have nothing tested, and nobody notice.
    let unknown = names.clone().find(|name| !KNOWN.contains(name));
    assert_eq!(unknown, None, "TIDINGS_TEST_BACKENDS names none of {KNOWN:?}");
    names.any(|name| name == backend)
}

/// The PostgreSQL server to make test databases on, if one is wanted.
pub fn postgres() -> Option<String> {
    external("TEST_DATABASE_URL").or_else(|| wanted("containers").then(containers::postgres))
}

/// The Kafka to run stacks on, if one is wanted. It is for tests alone: what it has under the names that
/// Tidings uses is deleted.
pub fn kafka() -> Option<String> {
    external("TEST_KAFKA_BROKERS").or_else(|| wanted("containers").then(containers::kafka))
}

/// Where the Kafka to run stacks on asks for a login, if it does: by PLAIN, as `tidings` with that password.
pub fn kafka_with_login() -> Option<String> {
    external("TEST_KAFKA_SASL_BROKERS")
}

/// The Redis for gateways to share, if one is wanted. Several may use it: what they keep there has names of its
/// own.
pub fn redis() -> Option<String> {
    external("TEST_REDIS_URL").or_else(|| wanted("containers").then(containers::redis))
}

/// The script that starts and kills servers for tests that take them away, if such are wanted.
pub fn real_parts() -> Option<String> {
    external("TEST_REAL_PARTS")
}

/// What this variable names, if that is wanted and there is such.
fn external(variable: &str) -> Option<String> {
    let named = wanted("external").then(|| std::env::var(variable).ok()).flatten();
    named.filter(|value| !value.is_empty())
}

/// The Python that has the foreign clients installed.
pub fn python() -> String {
    std::env::var("TIDINGS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

#[cfg(not(feature = "containers"))]
mod containers {
    const MISSING: &str =
        "containers are wanted, so the tests must be built with `--features tidings-testkit/containers`";

    pub(super) fn postgres() -> String {
        panic!("{MISSING}")
    }

    pub(super) fn kafka() -> String {
        panic!("{MISSING}")
    }

    pub(super) fn redis() -> String {
        panic!("{MISSING}")
    }
}
