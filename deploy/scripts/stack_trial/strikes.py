"""What happens to the stack while clients go on."""

import time

from .clients import eventually
from .engine import run

# How long everything works between two strikes.
BETWEEN = 3.0


def healthy(stack, service, within=120):
    return eventually(f"{service} is healthy", lambda: set(stack.state().get(service, [])) == {"healthy"}, within)


def restart(stack, service, index=0):
    """In good order: it finishes what is under way."""
    one = stack.containers(service)[index]["Id"]
    begun = time.monotonic()
    run("docker", "stop", "-t", "30", one)
    took = time.monotonic() - begun
    state = stack.containers(service)[index]["State"]
    run("docker", "start", one)
    healthy(stack, service)
    return took, state["ExitCode"]


def kill(stack, service, index=0, away=2.0):
    """As a power failure would."""
    one = stack.containers(service)[index]["Id"]
    run("docker", "kill", one)
    time.sleep(away)
    run("docker", "start", one)
    begun = time.monotonic()
    healthy(stack, service)
    return time.monotonic() - begun


def gateways(stack, say):
    took, code = restart(stack, "gateway", 0)
    assert code == 0, f"the gateway ended with {code}"
    say(f"strike: one gateway restarted, it took {took:.1f} s to end")
    time.sleep(BETWEEN)
    took = kill(stack, "gateway", 1)
    say(f"strike: the other gateway killed, healthy {took:.1f} s after its start")


def delivery(stack, say):
    took, code = restart(stack, "delivery")
    assert code == 0, f"delivery ended with {code}"
    say(f"strike: delivery restarted, it took {took:.1f} s to end")
    time.sleep(BETWEEN)
    took = kill(stack, "delivery", away=5)
    say(f"strike: delivery killed, healthy {took:.1f} s after its start")


def others(stack, say):
    for service in ("audit", "notifier"):
        took = kill(stack, service)
        say(f"strike: {service} killed, healthy {took:.1f} s after its start")


def kafka(stack, say):
    before = int(stack.sql("SELECT count(*) FROM messages"))
    took = kill(stack, "kafka", away=20)
    after = int(stack.sql("SELECT count(*) FROM messages"))
    assert after > before, "nothing was accepted while Kafka was away"
    say(
        f"strike: Kafka killed for 20 s, {after - before} messages accepted meanwhile, "
        f"healthy {took:.1f} s after its start"
    )
    time.sleep(BETWEEN)
    took, _ = restart(stack, "kafka")
    say(f"strike: Kafka restarted, it took {took:.1f} s to end")


def postgres(stack, say):
    took = kill(stack, "postgres", away=5)
    say(f"strike: PostgreSQL killed for 5 s, healthy {took:.1f} s after its start")


def scale(stack, say):
    def to(gateways, deliveries):
        numbers = ["--scale", f"gateway={gateways}", "--scale", f"delivery={deliveries}"]
        stack.compose("up", "--detach", "--no-deps", "--no-recreate", *numbers, "gateway", "delivery")

        def there():
            state = stack.state()
            return [state["gateway"], state["delivery"]] == [["healthy"] * gateways, ["healthy"] * deliveries]

        eventually(f"{gateways} gateways and {deliveries} deliveries are healthy", there, 120)

        def shared():
            relays = [one for service in ("gateway", "delivery", "notifier") for one in stack.containers(service)]
            each = [stack.leases(one) for one in relays]
            fair = -(-16 // len(each))
            return sum(each) == 16 and max(each) <= fair and each

        return eventually("no relay has more than its share of the 16 shards", shared, 60)

    say(f"scaled to 3 gateways and 2 deliveries, shards of the outbox by relay: {to(3, 2)}")
    time.sleep(BETWEEN)
    say(f"scaled back to 2 gateways and 1 delivery, shards of the outbox by relay: {to(2, 1)}")


def pause(stack, say):
    time.sleep(BETWEEN)


ALL = [pause, gateways, pause, delivery, pause, scale, pause, kafka, pause, others, pause, postgres, pause]
