//! What keeps the program from starting is told in one line that says what to do.

use tidings_testkit::{Behavior, Output, TestStack, WebhookReceiver};

use crate::TIDINGS;

/// The program ended by itself, with one line of explanation that has all of this in it.
pub(crate) fn refused(output: &Output, with: &[&str]) {
    assert!(!output.status.success(), "{output:?}");
    let complaint: Vec<_> = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("tidings: "))
        .collect();
    assert_eq!(complaint.len(), 1, "{output:?}");
    // No cause is told twice.
    for part in complaint[0].split(": ").filter(|part| part.contains(' ')) {
        assert_eq!(complaint[0].matches(part).count(), 1, "{:?}", complaint[0]);
    }
    assert_eq!(
        output.stderr.trim_end().lines().next_back(),
        complaint.first().copied(),
        "{output:?}"
    );
    for text in with {
        assert!(complaint[0].contains(text), "no `{text}` in {:?}", complaint[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_be_is_refused_in_one_line() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stack = TestStack::start(TIDINGS, &receiver.url(), &[]).await;
    let api = stack.url("").trim_start_matches("http://").to_owned();
    let broker = stack.broker().to_owned();
    let data = stack.folder().join("data").display().to_string();
    let elsewhere = stack.folder().join("elsewhere").display().to_string();

    // The same folder, with free ports.
    stack.set("TIDINGS_LISTEN", Some("127.0.0.1:0"));
    stack.set("TIDINGS_BROKER_LISTEN", Some("127.0.0.1:0"));
    refused(&stack.run(&["up"]).await, &["in use", &data, "TIDINGS_DATA_DIR"]);

    stack.set("TIDINGS_DATA_DIR", Some(&elsewhere));
    // Another folder, and the same database.
    stack.set("DATABASE_URL", Some(&format!("sqlite://{data}/tidings.db")));
    refused(&stack.run(&["up"]).await, &["in use", &data]);
    stack.set("DATABASE_URL", None);

    stack.set("TIDINGS_LISTEN", Some(&api));
    refused(&stack.run(&["up"]).await, &["in use", &api, "TIDINGS_LISTEN"]);
    assert!(
        !std::path::Path::new(&elsewhere).join("tidings.db").exists(),
        "nothing is made by a start that cannot be"
    );
    stack.set("TIDINGS_LISTEN", Some("127.0.0.1:0"));
    stack.set("TIDINGS_BROKER_LISTEN", Some(&broker));
    refused(&stack.run(&["up"]).await, &["in use", &broker, "TIDINGS_BROKER_LISTEN"]);
    stack.set("TIDINGS_BROKER_LISTEN", Some("127.0.0.1:0"));

    stack.set("TIDINGS_LISTN", Some("127.0.0.1:0"));
    refused(&stack.run(&["up"]).await, &["TIDINGS_LISTN", "TIDINGS_LISTEN"]);
    stack.set("TIDINGS_LISTN", None);
    stack.set("TIDINGS_ATTEMPT_TIMEOUT", Some("soon"));
    refused(&stack.run(&["up"]).await, &["TIDINGS_ATTEMPT_TIMEOUT"]);
    stack.set("TIDINGS_ATTEMPT_TIMEOUT", None);

    stack.set("DATABASE_URL", Some("postgres://tidings:hidden@127.0.0.1:port/tidings"));
    let output = stack.run(&["up"]).await;
    refused(&output, &["DATABASE_URL", "port"]);
    assert!(!output.stderr.contains("hidden"), "{output:?}");
    let no_database = stack.folder().join("no database");
    std::fs::write(&no_database, "just text".repeat(1000)).unwrap();
    let url = format!("sqlite://{}", no_database.display());
    stack.set("DATABASE_URL", Some(&url));
    refused(&stack.run(&["up"]).await, &["no database", "make sure"]);
    stack.set("DATABASE_URL", None);
    stack.set("GEOIP_DATABASE", Some(&no_database.display().to_string()));
    refused(&stack.run(&["up"]).await, &["GEOIP_DATABASE", "no database", "MaxMind"]);
    stack.set("GEOIP_DATABASE", None);

    if !cfg!(feature = "kafka-tls") {
        stack.set("KAFKA_SECURITY_PROTOCOL", Some("sasl_ssl"));
        refused(&stack.run(&["up"]).await, &["kafka-tls", "KAFKA_SECURITY_PROTOCOL"]);
        stack.set("KAFKA_SECURITY_PROTOCOL", None);
    }

    let file = stack.folder().join("a file");
    std::fs::write(&file, "not a folder").unwrap();
    stack.set("TIDINGS_DATA_DIR", Some(&file.display().to_string()));
    refused(&stack.run(&["up"]).await, &["a file"]);
    stack.set("TIDINGS_DATA_DIR", Some(&elsewhere));

    stack.set("TIDINGS_PROFILE", Some("production"));
    refused(&stack.run(&["up"]).await, &["TIDINGS_API_KEY"]);
    stack.set("TIDINGS_PROFILE", None);

    for service in ["gateway", "delivery", "audit"] {
        refused(&stack.run(&[service]).await, &[service, "DATABASE_URL"]);
    }
    stack.set(
        "TIDINGS_DATA_DIR",
        Some(&stack.folder().join("nothing here").display().to_string()),
    );
    refused(
        &stack.run(&["audit", "verify"]).await,
        &["no database", "TIDINGS_DATA_DIR"],
    );

    stack.set("TIDINGS_DATA_DIR", Some(&data));
    let id = stack.send_message(1).await;
    stack.message_becomes(&id, "delivered").await;
    stack.finish().await;
}
