"""Whether everything that was accepted is everywhere it should be, and nowhere twice."""

import collections
import json
import re
import subprocess

from .clients import Api, eventually

WEBHOOK = re.compile(r"verified\s+(\S+) (\{.*\})$")


def kafka(broker, topic):
    """All records of a topic, by kcat: type, id and key of each."""
    command = ["kcat", "-b", broker, "-t", topic, "-C", "-e", "-q", "-X", "isolation.level=read_committed"]
    done = subprocess.run([*command, "-f", "%k\t%h\n"], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        key, headers = line.split("\t", 1)
        headers = dict(part.split("=", 1) for part in headers.split(",") if "=" in part)
        yield headers.get("ce_type"), headers.get("ce_id"), key


def topics(broker):
    listing = subprocess.run(["kcat", "-b", broker, "-L", "-J"], capture_output=True, text=True, check=True)
    return sorted(t["topic"] for t in json.loads(listing.stdout)["topics"] if t["topic"].endswith("-events"))


def webhooks(stack):
    """What the receiver verified, by message: how often each webhook came."""
    received, refused = collections.defaultdict(collections.Counter), 0
    for line in stack.logs("receiver").splitlines():
        found = WEBHOOK.search(line)
        if found:
            message = json.loads(found[2]).get("id")
            received[message][found[1]] += 1
        elif " refused " in line:
            refused += 1
    return received, refused


def letters(stack):
    """What the providers' stand-in was sent."""
    shown = stack.inside("sandbox", "tidings", "health", "http://127.0.0.1:3000/sandbox/outbox").stdout
    return json.loads(shown)["data"]


def settle(stack):
    """Waits until nothing is left to publish, to deliver or to record."""
    eventually("nothing is left in the outbox", lambda: stack.sql("SELECT count(*) FROM outbox") == "0", 180)
    eventually(
        "no message is queued", lambda: stack.sql("SELECT count(*) FROM messages WHERE status = 'queued'") == "0", 180
    )
    eventually(
        "every order has its notification, and none is left to send",
        lambda: (
            stack.sql(
                "SELECT (SELECT count(*) FROM orders) - (SELECT count(*) FROM notifications WHERE order_id IS NOT NULL)"
                " || ' ' || (SELECT count(*) FROM notifications WHERE status NOT IN ('sent', 'failed'))"
            )
            == "0 0"
        ),
        180,
    )
    eventually("nothing is left in the outbox", lambda: stack.sql("SELECT count(*) FROM outbox") == "0", 60)
    eventually(
        "every event is in the audit log",
        lambda: stack.sql("SELECT (SELECT count(*) FROM events) - (SELECT count(*) FROM audit_log)") == "0",
        120,
    )


def balance(stack, api, broker, accepted, ordered, say):
    """Counts. `accepted` and `ordered` are the ids of messages and orders that were answered with 201: of all messages
    that there are, and of the orders under load."""
    settle(stack)
    accepted, wrong = set(accepted), []

    def must(condition, text):
        if not condition:
            wrong.append(text)

    rows = int(stack.sql("SELECT count(*) FROM messages"))
    must(rows == len(accepted), f"{rows} messages in the database, {len(accepted)} accepted")

    asking, statuses = Api(*api), collections.Counter()
    for message in accepted:
        status, content = asking.insist("GET", f"/messages/{message}", None, {}, {})
        statuses[content["status"] if status == 200 else status] += 1
    must(statuses == {"delivered": len(accepted)}, f"statuses over the API: {dict(statuses)}")

    received, refused = webhooks(stack)
    must(accepted <= set(received), f"{len(accepted - set(received))} accepted messages never reached the receiver")
    must(refused == 0, f"the receiver did not believe {refused} webhooks")
    several = [message for message in accepted if len(received[message]) > 1]
    must(not several, f"{len(several)} messages have more than one delivery")
    repeated = sum(times - 1 for message in accepted for times in received[message].values())

    events, copies, by_type = set(), 0, collections.defaultdict(collections.Counter)
    for topic in topics(broker):
        for kind, event, key in kafka(broker, topic):
            copies += event in events
            if event not in events:
                by_type[kind][key] += 1
            events.add(event)
    for kind in ("tidings.message.queued", "tidings.message.delivered"):
        must(by_type[kind] == collections.Counter(accepted), f"{kind} is not on Kafka once for each message")
    sent = json.loads(
        stack.sql(
            "SELECT coalesce(json_object_agg(order_id, status), '{}') FROM notifications WHERE order_id IS NOT NULL"
        )
    )
    told = [order for order in ordered if sent.get(order) == "sent"]
    must(len(told) == len(ordered), f"{len(ordered)} orders accepted, {len(told)} notified")
    must(by_type["tidings.order.placed"] >= collections.Counter(ordered), "order.placed is not on Kafka for each order")
    keys = [letter["idempotency_key"] for letter in letters(stack)]
    notifications = stack.sql("SELECT count(*) FROM notifications WHERE status = 'sent'")
    must(len(keys) == len(set(keys)) == int(notifications), f"{len(keys)} letters, {notifications} notifications sent")
    again = sum(letter["times"] - 1 for letter in letters(stack))

    rows = int(stack.sql("SELECT count(*) FROM events"))
    must(rows == len(events), f"{rows} events in the database, {len(events)} on Kafka")

    audited = stack.inside("audit", "tidings", "audit", "verify", check=False)
    must(audited.returncode == 0, f"audit verify: {audited.stdout} {audited.stderr}")
    records = re.search(r"sound: (\d+) records", audited.stdout)
    must(records and int(records[1]) == len(events), f"{audited.stdout!r}, {len(events)} events on Kafka")
    dead = stack.inside("audit", "tidings", "dead-letters", "list").stdout
    must("0 of 0 shown" in dead, f"dead letters: {dead}")

    say(
        f"accepted {len(accepted)} = in the database {rows and stack.sql('SELECT count(*) FROM messages')}"
        f" = delivered {statuses['delivered']} = at the receiver {len(accepted & set(received))}"
        f" (webhooks that came again: {repeated})"
    )
    say(f"orders {len(ordered)} = notified {len(told)} (letters that came again: {again})")
    sizes = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
    kept = int(stack.sql(f"{sizes} AND relnamespace = 'public'::regnamespace"))
    say(f"in PostgreSQL {kept / len(accepted) / 1024:.1f} KiB for each message, with its events, attempts and records")
    say(f"events {len(events)} on Kafka (copies: {copies}) = {records and records[1]} audited, dead letters 0")
    assert not wrong, "; ".join(wrong)
