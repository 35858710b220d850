"""Coming back from a disaster, by the very commands that docs/operations.md gives."""

import os
import re
import shlex
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path

from . import books, journeys
from .clients import eventually
from .engine import DEPLOY

MANUAL = DEPLOY.parent / "docs" / "operations.md"
# What people made, and what became of it.
KEPT = ["messages", "deliveries", "delivery_attempts", "orders", "notifications", "users", "events", "audit_log"]


def commands(heading):
    """Those in the manual under a heading, up to the next one."""
    section = re.search(rf"^#+ {re.escape(heading)}$(.*?)^#", MANUAL.read_text(), re.M | re.S)
    found = re.findall(r"^ *```sh\n(.*?)^ *```", section[1], re.M | re.S)
    assert found, f"no command under {heading}"
    return [textwrap.dedent(one) for one in found]


def counts(stack, database):
    return {table: int(stack.sql(f"SELECT count(*) FROM {table}", database)) for table in KEPT}


def come_back_from_a_backup(stack, api, broker, say):
    """The audit log has not come to everything when the dump is taken, and has done so before the disaster. Nothing else is
    under way, so that what is restored must be what was there, to the row. The ids of the messages that were sent."""
    with tempfile.TemporaryDirectory() as folder:

        def do(command):
            command = command.replace("docker compose -f deploy/compose.yaml", shlex.join(stack.program))
            done = subprocess.run(
                ["bash", "-euc", command], cwd=folder, env=stack.environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            return done.stdout

        dump, secrets, note = commands("Backup")
        do(secrets)
        do(note)
        number, head = Path(folder, "audit-heads").read_text().split()
        stack.compose("stop", "audit")
        sent = journeys.a_message_arrives(stack, api, broker)
        eventually("nothing is left in the outbox", lambda: stack.sql("SELECT count(*) FROM outbox") == "0")
        begun = time.monotonic()
        do(dump)
        size = os.path.getsize(Path(folder, "tidings.dump"))
        say(f"drill: a backup of {size / 2**20:.1f} MiB, taken in {time.monotonic() - begun:.1f} s")
        before = counts(stack, "tidings")
        late = before["events"] - before["audit_log"]
        stack.compose("start", "audit")
        books.settle(stack)

        begun = time.monotonic()
        secrets, stop, restore, verify, publish, swap, start = commands("Coming back from a backup")
        do(secrets)
        do(stop)
        do(restore)
        restored = counts(stack, "restored")
        assert restored == before, f"{restored} restored of {before}"
        verified = do(verify.replace("HASH", head))
        assert f"had the given hash after record {number}" in verified, verified
        published = do(publish)
        assert late > 0 and published.split() == ["INSERT", "0", str(late)], f"{late} late, {published}"
        do(swap)
        do(start)
        eventually("everything is healthy after coming back", stack.must_be_healthy, 180)
        say(
            f"drill: back from it {time.monotonic() - begun:.1f} s after the decision, every row there: {restored}, "
            f"the audit log sound and with the head that was noted, number {number}; {late} events published again"
        )
    return sent
