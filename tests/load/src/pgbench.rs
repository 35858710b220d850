//! What PostgreSQL can do without us: the rows of a message in one transaction, by pgbench.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tidings_testkit::TestDatabase;
use tokio::process::Command;

/// The message, its event and the outbox row, as a message to a known contact makes them. Without colons,
/// after which pgbench expects a variable.
const TRANSACTION: &str = r#"\set number random(1, 1000000000)
BEGIN;
INSERT INTO messages (id, sender, contact_id, content, status, created_at, version) VALUES (gen_random_uuid(), '+41440000000', '01890a5d-ac96-774b-bcce-b302099a8057', 'The quick brown fox jumps over the lazy dog, and is told about it.', 'queued', now(), 1);
INSERT INTO events (id, event_type, topic, key, sequence, data_schema, occurred_at, service, correlation_id, traceparent, actor, payload) VALUES (gen_random_uuid(), 'tidings.message.queued', 'messages-events', gen_random_uuid()::text, 1, 'urn-tidings-schema-message-1', now(), 'gateway', gen_random_uuid()::text, '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'default', convert_to(repeat('x', 330), 'UTF8'));
INSERT INTO outbox (event_id, shard) VALUES (gen_random_uuid(), :number % 16);
COMMIT;
"#;

/// A row for the messages to refer to.
const CONTACT: &str = "INSERT INTO contacts (id, name, phone, created_at, version) \
    VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 'Bench', '+41790000000', now(), 1)";

/// Transactions per second, in a database of their own that no relay looks into.
pub(crate) async fn run(pgbench: &Path, clients: usize, lasting: Duration) -> Result<f64> {
    let admin = std::env::var("DATABASE_URL").context("pgbench needs DATABASE_URL, on which databases can be made")?;
    let reference = TestDatabase::postgres(&admin).await;
    reference.tamper(CONTACT).await;
    let folder = tempfile::TempDir::new()?;
    let script = folder.path().join("transaction.sql");
    std::fs::write(&script, TRANSACTION)?;
    let output = Command::new(pgbench)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .arg(format!("--time={}", lasting.as_secs()))
        .arg("--file")
        .arg(&script)
        .arg(reference.url())
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("{} cannot be run", pgbench.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let figure = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let figure = figure
        .and_then(|line| line.split_whitespace().next())
        .and_then(|tps| tps.parse().ok());
    figure.with_context(|| format!("pgbench said\n{said}\n{}", String::from_utf8_lossy(&output.stderr)))
}
