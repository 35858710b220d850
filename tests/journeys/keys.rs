//! Keys to the API, made on the command line beside a running stack.

use serde_json::Value;
use tidings_testkit::{Behavior, Output, TestStack, WebhookReceiver, eventually};

use crate::refusals::refused;
use crate::stacks;

/// What a command printed after this label.
fn after(output: &Output, label: &str) -> String {
    assert!(output.status.success(), "{output:?}");
    let line = output.stdout.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no line `{label}` in {output:?}"))
        .trim()
        .to_owned()
}

async fn status(stack: &TestStack, key: &str, path: &str) -> u16 {
    let request = stack.client().get(stack.url(path)).bearer_auth(key);
    request.send().await.unwrap().status().as_u16()
}

async fn refused_soon(stack: &TestStack, key: &str) {
    eventually("the key opens nothing", async || {
        match status(stack, key, "/contacts").await {
            401 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_replaced_and_revoked_beside_a_running_stack() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let made = stack
            .run(&[
                "keys",
                "create",
                "Till 3",
                "--scopes",
                "contacts:read",
                "--expires-in",
                "90d",
            ])
            .await;
        let (id, key) = (after(&made, "id "), after(&made, "key "));
        assert!(key.starts_with(&format!("tdg_{id}_")), "{key}");
        assert_eq!(status(&stack, &key, "/contacts").await, 200);
        assert_eq!(status(&stack, &key, "/messages").await, 403);

        let next = stack.run(&["keys", "rotate", &id, "--overlap", "1h"]).await;
        let (next_id, next_key) = (after(&next, "id "), after(&next, "key "));
        assert_eq!(status(&stack, &next_key, "/contacts").await, 200);
        assert_eq!(status(&stack, &next_key, "/messages").await, 403);
        assert_eq!(
            status(&stack, &key, "/contacts").await,
            200,
            "both are valid for an hour"
        );
        assert!(stack.run(&["keys", "revoke", &id]).await.status.success());
        refused_soon(&stack, &key).await;
        let last = stack.run(&["keys", "rotate", &next_id, "--overlap", "0s"]).await;
        let last_key = after(&last, "key ");
        refused_soon(&stack, &next_key).await;
        assert_eq!(status(&stack, &last_key, "/contacts").await, 200);

        let listed = stack.run(&["keys", "list"]).await;
        assert_eq!(listed.stdout.lines().count(), 3, "{listed:?}");
        assert_eq!(listed.stdout.matches("revoked").count(), 2, "{listed:?}");
        refused(
            &stack
                .run(&["keys", "revoke", "01912d3c-7a10-7c3e-9a52-3f0d7d1c9b11"])
                .await,
            &["no API key"],
        );
        refused(
            &stack.run(&["keys", "rotate", &id]).await,
            &["revoked", "cannot be replaced"],
        );
        refused(
            &stack.run(&["keys", "create", "x", "--scopes", "api-keys:read"]).await,
            &["--scopes", "service key"],
        );

        let admin = stack.run(&["keys", "create", "me", "--role", "admin"]).await;
        assert_eq!(status(&stack, &after(&admin, "key "), "/api/v2/api-keys").await, 200);
        let (_, page) = stack.get("/api/v2/api-keys").await;
        let names: Vec<_> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| &key["name"])
            .collect();
        assert_eq!(
            names,
            ["Till 3", "Till 3", "Till 3", "me"]
                .map(Value::from)
                .iter()
                .collect::<Vec<_>>()
        );

        stack.settle().await;
        let kept = stack.kept().await;
        for key in [key, next_key, last_key] {
            let secret = &key.as_bytes()[key.len() - 64..];
            assert!(
                !kept.windows(secret.len()).any(|window| window == secret),
                "a secret was kept"
            );
        }
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_secrets_are_encrypted_with_a_key_that_can_be_replaced() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(mut stack) = stacks.next().await {
        let added = stack.run(&["endpoints", "add", &receiver.url()]).await;
        let secret = after(&added, "secret ");
        assert!(secret.starts_with("whsec_"), "{secret}");
        for (url, reason) in [
            ("http://10.0.0.1/hook", "10.0.0.1 is a private address"),
            ("http://[::ffff:169.254.169.254]/", "a cloud metadata address"),
        ] {
            refused(
                &stack.run(&["endpoints", "add", url]).await,
                &["the URL cannot be used", reason],
            );
        }
        let file = stack.folder().join("data/encryption.key");
        let made = std::fs::read_to_string(&file).unwrap();
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
        let id = stack.send_message(1).await;
        stack.message_becomes(&id, "delivered").await;

        let new = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
        assert!(stack.stop().await.success());
        stack.set("TIDINGS_ENCRYPTION_KEY", Some(&format!("{new},{}", made.trim_end())));
        stack.up().await;
        let done = stack.run(&["keys", "reencrypt"]).await;
        assert!(done.stdout.contains("2 encrypted anew"), "{done:?}");
        assert!(stack.stop().await.success());
        stack.set("TIDINGS_ENCRYPTION_KEY", Some(new));
        std::fs::remove_file(&file).unwrap();
        stack.up().await;
        assert!(!file.exists(), "none is made where one is set");
        let again = stack.run(&["keys", "reencrypt"]).await;
        assert!(again.stdout.contains("0 encrypted anew, 2 were already"), "{again:?}");
        let id = stack.send_message(2).await;
        stack.message_becomes(&id, "delivered").await;
        stack.settle().await;
        let kept = stack.kept().await;
        for secret in [&secret["whsec_".len()..], new, made.trim_end()] {
            let secret = secret.as_bytes();
            assert!(
                !kept.windows(secret.len()).any(|window| window == secret),
                "a secret was kept"
            );
        }
        stack.finish().await;
    }
}
