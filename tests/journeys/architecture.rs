//! Which crate may depend on which.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, MetadataCommand};

/// What each crate may use of the others. What is not listed is not allowed.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tidings-domain", &[]),
    ("tidings-signing", &[]),
    ("tidings-broker", &[]),
    ("tidings-migrations", &[]),
    ("tidings-vault", &["tidings-domain"]),
    ("tidings-events", &["tidings-domain"]),
    ("tidings-runtime", &["tidings-domain", "tidings-events"]),
    ("tidings-storage", &["tidings-domain", "tidings-events"]),
    ("tidings-messaging", &["tidings-domain", "tidings-events"]),
    ("tidings-gateway", SERVICE),
    ("tidings-delivery", SERVICE),
    ("tidings-notifier", SERVICE),
    ("tidings-audit", SERVICE),
    (
        "tidings-testkit",
        &[
            "tidings-broker",
            "tidings-domain",
            "tidings-events",
            "tidings-messaging",
            "tidings-migrations",
            "tidings-runtime",
            "tidings-storage",
        ],
    ),
    (
        "tidings-load",
        &[
            "tidings-delivery",
            "tidings-domain",
            "tidings-runtime",
            "tidings-testkit",
            "tidings-vault",
        ],
    ),
    (
        "tidings",
        &[
            "tidings-audit",
            "tidings-broker",
            "tidings-delivery",
            "tidings-domain",
            "tidings-events",
            "tidings-gateway",
            "tidings-messaging",
            "tidings-migrations",
            "tidings-notifier",
            "tidings-runtime",
            "tidings-signing",
            "tidings-storage",
            "tidings-vault",
        ],
    ),
];

const SERVICE: &[&str] = &[
    "tidings-domain",
    "tidings-events",
    "tidings-messaging",
    "tidings-runtime",
    "tidings-signing",
    "tidings-storage",
    "tidings-vault",
];

/// Libraries that one crate alone may know; the testkit stands outside and may know anything.
const CONFINED: &[(&str, &[&str])] = &[
    ("rdkafka", &["tidings-messaging"]),
    ("sea-orm", &["tidings-storage"]),
    ("sea-orm-migration", &["tidings-migrations"]),
    ("kafka-protocol", &["tidings-broker"]),
    ("hmac", &["tidings-signing"]),
    ("chacha20poly1305", &["tidings-vault"]),
    ("opentelemetry_sdk", &["tidings-runtime"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .features(CargoOpt::AllFeatures)
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .no_deps()
        .exec()
        .unwrap();
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let normal = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal);
            (
                package.name.to_string(),
                normal.map(|dependency| dependency.name.clone()).collect(),
            )
        })
        .collect()
}

#[test]
fn crates_depend_in_one_direction_only() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for (package, uses) in dependencies() {
        let allowed = allowed
            .get(&package[..])
            .unwrap_or_else(|| panic!("{package} has no place in the architecture"));
        let ours: Vec<_> = uses.iter().filter(|name| name.starts_with("tidings")).collect();
        for used in ours {
            assert!(allowed.contains(&&used[..]), "{package} must not depend on {used}");
        }
    }
}

#[test]
fn what_one_crate_hides_no_other_knows() {
    for (package, uses) in dependencies() {
        for (library, owners) in CONFINED {
            let known = uses.contains(*library) && package != "tidings-testkit";
            assert!(
                !known || owners.contains(&&package[..]),
                "{package} must not know {library}"
            );
        }
    }
}
