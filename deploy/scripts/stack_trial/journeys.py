"""What somebody does with the stack, from outside. Each answers with the ids of the messages that it sent."""

import subprocess
import uuid

from . import books
from .clients import Api, eventually


def message(to="Odile", content="Hello"):
    return {"from": "+41440000000", "to": {"name": to, "phone": "+41791234567"}, "content": content}


def services_are_kept_small(stack, api, broker):
    """services run as nobody in particular, on a file system that they cannot write to, without secrets in sight"""
    for service in ("gateway", "delivery", "notifier", "audit", "receiver", "sandbox"):
        assert stack.inside(service, "id", "-u").stdout.strip() == "10001", service
        written = stack.inside(service, "sh", "-c", "echo x >/etc/tidings/x || echo x >/usr/x", check=False)
        assert written.returncode != 0, f"{service} can write to its file system"
        for one in stack.containers(service):
            assert api[2] not in str(one["Config"]["Env"]), f"the key is in the environment of {service}"
    key = stack.inside("receiver", "sh", "-c", "cat /etc/tidings/*").stdout
    assert api[2] not in key and "DATABASE_URL" not in key, "the receiver knows more than it needs"


def a_message_arrives(stack, api, broker):
    """a message is accepted, delivered, verified by the receiver, and on Kafka as two CloudEvents"""
    client = Api(*api)
    status, sent = client.call("POST", "/messages", message())
    assert (status, sent["status"]) == (201, "queued"), sent
    id = sent["id"]

    def delivered():
        status, found = client.call("GET", f"/messages/{id}")
        return status == 200 and found["status"] == "delivered" and found["deliveredAt"]

    eventually("the message is delivered", delivered)
    eventually("the receiver has verified it", lambda: id in books.webhooks(stack)[0])
    both = ["tidings.message.queued", "tidings.message.delivered"]
    eventually(
        "both events are on Kafka",
        lambda: [kind for kind, _, key in books.kafka(broker, "messages-events") if key == id] == both,
    )
    return {id}


def a_request_that_is_sent_again_has_one_effect(stack, api, broker):
    """a POST that is sent twice under one Idempotency-Key is one message, whichever gateway gets it"""
    headers, answers = {"Idempotency-Key": uuid.uuid4().hex}, []
    for _ in range(6):
        # A connection of its own each, so that both gateways are asked.
        answers.append(Api(*api).insist("POST", "/messages", message(), headers, {}))
    assert {status for status, _ in answers} == {201}, answers
    assert len({sent["id"] for _, sent in answers}) == 1, answers
    return {answers[0][1]["id"]}


def nobody_gets_in_without_a_key(stack, api, broker):
    """without the key there is nothing but health and documents"""
    client = Api(*api)
    for path in ("/messages", "/contacts", "/api/v1/users"):
        assert client.call("GET", path, key=False)[0] == 401, path
    # Metrics are for those inside.
    assert client.call("GET", "/metrics", key=False)[0] == 404
    for path in ("/health/ready", "/version", "/docs/openapi.yaml"):
        assert client.call("GET", path, key=False)[0] == 200, path
    wrong = Api(api[0], api[1], "there-is-no-key")
    assert wrong.call("GET", "/messages")[0] == 401, "the demo key works"


def somebody_signs_up(stack, api, broker):
    """an account is made, changed, listed and deleted, with an event for each step"""
    client, email = Api(*api), f"{uuid.uuid4().hex}@example.com"
    user = {"first_name": "Serge", "last_name": "Karamazov", "email": email, "password": "myP@ssW0ord52"}
    status, made = client.call("POST", "/api/v1/users", user)
    assert status == 201 and "password" not in made, made
    # The link is one that this client can follow, although the gateway is behind a proxy.
    path = made["url"].removeprefix(f"http://{api[0]}:{api[1]}")
    assert path.startswith("/api/v1/users/"), made
    assert client.call("PATCH", path, {"address": "Rue de la Paix 7"})[1]["address"] == "Rue de la Paix 7"
    status, found = client.call("GET", f"/api/v1/users?search={email}")
    assert (status, found["count"]) == (200, 1), found
    assert client.call("DELETE", path)[0] == 204
    assert client.call("GET", path)[0] == 404
    kinds = ["created", "updated", "deleted"]
    id = str(made["id"])
    eventually(
        "its events are on Kafka",
        lambda: (
            [kind for kind, _, key in books.kafka(broker, "users-events") if key == id]
            == [f"tidings.user.{kind}" for kind in kinds]
        ),
    )


SHIPPING = {
    "delivery_name": "Serge Karamazov",
    "first_line": "12 Gloucester Road",
    "second_line": "",
    "town": "London",
    "postcode": "SW7 4TB",
    "country": "United Kingdom",
}


def customer(client, phone=None):
    """A user to order kits for."""
    user = {
        "first_name": "Serge",
        "last_name": "Karamazov",
        "email": f"{uuid.uuid4().hex}@example.com",
        "password": "myP@ssW0ord52",
    }
    status, made = client.call("POST", "/api/v1/users", user)
    assert status == 201, made
    if phone:
        status, changed = client.call("PATCH", f"/users/{made['id']}", {"phone": phone})
        assert status == 200, changed
    return made


def somebody_orders_a_kit(stack, api, broker):
    """kits are ordered, and whom they are for is told by email or SMS, once"""
    client, phone = Api(*api), f"+4476{uuid.uuid4().int % 10**8:08}"
    user = customer(client, phone)
    for sequencing, recipient in (("whole-exome-sequencing", phone), ("whole-genome-sequencing", user["email"])):
        order = {"user_id": user["id"], "sequencing_type": sequencing, "shipping_info": SHIPPING}
        status, placed = client.call("POST", "/orders", order)
        assert status == 201, placed

        def told(placed=placed):
            status, found = client.call("GET", f"/notifications?order_id={placed['id']}")
            return status == 200 and [one["status"] for one in found["data"]] == ["sent"]

        eventually("the notification is sent", told)
        [letter] = [one for one in books.letters(stack) if one["recipient"] == recipient]
        assert letter["message"] == "Hi Serge Karamazov, your order has been successfully placed.", letter
        assert letter["times"] == 1, letter


def a_guid_is_the_same_everywhere(stack, api, broker):
    """a GUID that one gateway took is what every gateway shows, and so is each change of it"""
    made = uuid.uuid4().hex.upper()
    status, record = Api(*api).call("POST", f"/guid/{made}", {"user": "Odile"})
    assert (status, record["guid"]) == (201, made), record

    def everywhere(wanted):
        # A connection of its own each, so that both gateways are asked.
        answers = [Api(*api).call("GET", f"/guid/{made}") for _ in range(6)]
        return all(wanted(status, content) for status, content in answers)

    eventually("all show it", lambda: everywhere(lambda status, content: status == 200), 5)
    assert Api(*api).call("PATCH", f"/guid/{made}", {"user": "Nadja"})[0] == 200
    changed = eventually("all show the change", lambda: everywhere(lambda _, content: content["user"] == "Nadja"), 5)
    assert changed and Api(*api).call("DELETE", f"/guid/{made}")[0] == 204
    eventually("nobody shows it any more", lambda: everywhere(lambda status, _: status == 404), 5)


def what_is_not_public_is_not_reached(stack, api, broker):
    """a webhook endpoint inside the stack's own network is refused"""
    url = "http://gateway:9000/health"
    added = stack.inside("delivery", "tidings", "endpoints", "add", url, check=False)
    assert added.returncode != 0, added.stdout
    assert "endpoint" in added.stderr or "address" in added.stderr, added.stderr


def a_foreign_client_reads_kafka(stack, api, broker):
    """Kafka is open to consumers outside, and has exactly the topics of Tidings"""
    done = subprocess.run(["kcat", "-b", broker, "-L"], capture_output=True, text=True, check=True)
    assert f"at {broker}" in done.stdout, done.stdout
    assert "messages-events" in books.topics(broker)


ALL = [
    services_are_kept_small,
    nobody_gets_in_without_a_key,
    a_message_arrives,
    a_request_that_is_sent_again_has_one_effect,
    somebody_signs_up,
    somebody_orders_a_kit,
    a_guid_is_the_same_everywhere,
    what_is_not_public_is_not_reached,
    a_foreign_client_reads_kafka,
]
