//! The version before, on the schema that the version after leaves.

use serde_json::json;
use tidings_testkit::{Behavior, TestStack, WebhookReceiver, eventually};

use crate::refusals::refused;
use crate::stacks;

/// Does something with every resource, and sees it through. `number` keeps apart what is done again.
async fn use_it_all(stack: &TestStack, webhook_url: &str, number: u32) {
    let call = async |method, path: &str, body| {
        let request = stack.client().request(method, stack.url(path));
        let answer = request.bearer_auth("there-is-no-key").json(&body).send().await.unwrap();
        let status = answer.status();
        let answer: serde_json::Value = answer.json().await.unwrap_or_default();
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    };
    use reqwest::Method as M;

    let message = stack.send_message(number).await;
    stack.message_becomes(&message, "delivered").await;
    let contact = json!({"name": "Ada", "phone": format!("+4478{number:08}")});
    let contact = call(M::POST, "/contacts", contact).await;
    let path = format!("/contacts/{}", contact["id"].as_str().unwrap());
    call(M::PATCH, &path, json!({"name": "Grace"})).await;
    call(M::DELETE, &path, json!({})).await;

    let user = json!({
        "first_name": "Serge", "last_name": "Karamazov", "email": format!("s{number}@example.com"), "password": "x",
    });
    let user = call(M::POST, "/api/v1/users", user).await;
    let path = format!("/api/v1/users/{}", user["id"]);
    call(M::PATCH, &path, json!({"first_name": "Sergei"})).await;
    let shipping = json!({
        "delivery_name": "S", "first_line": "1", "second_line": "", "town": "Bern", "postcode": "1", "country": "CH",
    });
    let order = json!({
        "user_id": user["id"], "sequencing_type": "targeted-sequencing", "shipping_info": shipping,
    });
    let order = call(M::POST, "/orders", order).await;
    let told = format!("/notifications?order_id={}", order["id"].as_str().unwrap());
    eventually("the order is told", async || {
        let found = call(M::GET, &told, json!({})).await;
        if found["data"][0]["status"] == "sent" {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
    call(M::DELETE, &path, json!({})).await;

    let guid = format!("/guid/9094E4C980C74043A4B5{number:012}");
    call(M::POST, &guid, json!({"user": "Jay"})).await;
    call(M::PATCH, &guid, json!({"user": "May"})).await;
    call(M::DELETE, &guid, json!({})).await;

    for path in [
        "/messages",
        "/contacts",
        "/users",
        "/orders",
        "/api/v1/users",
        "/api/v2/api-keys",
    ] {
        call(M::GET, path, json!({})).await;
    }
    for arguments in [
        &["keys", "create", "till", "--expires-in", "1d"][..],
        &["endpoints", "add", webhook_url, "--event-types", "tidings.user.created"],
        &["endpoints", "list"],
        &["dead-letters", "list"],
        &["audit", "head"],
        &["migrate"],
    ] {
        let done = stack.run(arguments).await;
        let busy = arguments == ["migrate"] && !stack.postgres();
        assert!(done.status.success() || busy, "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_goes_on_and_starts_again_after_a_newer_one_has_migrated() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[("TIDINGS_LOCAL_COUNTRY", "CH")]);
    while let Some(mut stack) = stacks.next().await {
        use_it_all(&stack, &receiver.url(), 1).await;
        // Under the running program, whose statements are prepared.
        stack.migrate_as_a_newer_version_would().await;
        use_it_all(&stack, &receiver.url(), 2).await;
        assert!(stack.stop().await.success());
        stack.up().await;
        assert!(stack.output().contains("m9999_later"), "{}", stack.output());
        use_it_all(&stack, &receiver.url(), 3).await;

        stack.settle().await;
        assert!(stack.stop().await.success());
        stack
            .tamper("UPDATE schema_compatibility SET must_know = 'm9999_later'")
            .await;
        refused(&stack.run(&["up"]).await, &["m9999_later", "newer"]);
        stack
            .tamper("UPDATE schema_compatibility SET must_know = 'm0010_schema_compatibility'")
            .await;
        stack.up().await;
        stack.finish().await;
    }
}
