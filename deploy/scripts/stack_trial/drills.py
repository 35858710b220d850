"""Coming back from a disaster, by the very commands that docs/operations.md gives."""

import os
import re
import shlex
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path

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


def come_back_from_a_backup(stack, say):
    """Nothing is under way meanwhile, so that what is restored must be what was there, to the row."""
    with tempfile.TemporaryDirectory() as folder:

        def do(command):
            command = command.replace("docker compose -f deploy/compose.yaml", shlex.join(stack.program))
            done = subprocess.run(
                ["bash", "-euc", command], cwd=folder, env=stack.environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            return done.stdout

        dump, note = commands("Backup")
        do(note)
        number, head = Path(folder, "audit-heads").read_text().split()
        begun = time.monotonic()
        do(dump)
        size = os.path.getsize(Path(folder, "tidings.dump"))
        say(f"drill: a backup of {size / 2**20:.1f} MiB, taken in {time.monotonic() - begun:.1f} s")

        before, begun = counts(stack, "tidings"), time.monotonic()
        stop, restore, verify, swap, start = commands("Coming back from a backup")
        do(stop)
        do(restore)
        restored = counts(stack, "restored")
        assert restored == before, f"{restored} restored of {before}"
        verified = do(verify.replace("HASH", head))
        assert f"had the given hash after record {number}" in verified, verified
        do(swap)
        do(start)
        eventually("everything is healthy after coming back", stack.must_be_healthy, 180)
        say(
            f"drill: back from it {time.monotonic() - begun:.1f} s after the decision, every row there: {restored}, "
            f"the audit log sound and with the head that was noted, number {number}"
        )
