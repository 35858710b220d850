"""The stack as the engine has it."""

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2]


def run(*command, check=True, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def compose_program():
    """`docker compose` where there is one, `docker-compose` otherwise."""
    if run("docker", "compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    program = shutil.which("docker-compose")
    assert program, "neither docker compose nor docker-compose is here"
    return [program]


class Stack:
    """One compose project with ports of its own."""

    def __init__(self, project, env_file, profile=True):
        self.project = project
        self.ports = {name: free_port() for name in ("LISTEN_PORT", "KAFKA_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")}
        # All the load comes from one address, with one key.
        limits = dict.fromkeys(("TIDINGS_RATE_LIMIT_PER_KEY", "TIDINGS_RATE_LIMIT_PER_ADDRESS"), "off")
        self.environment = {**os.environ, **limits, **{name: str(port) for name, port in self.ports.items()}}
        files = ["--env-file", str(Path(env_file).resolve())] if env_file else []
        program = compose_program()
        self.version = run(*program, "version", "--short").stdout.strip()
        self.program = [*program, "--project-name", project, *files, "--file", str(DEPLOY / "compose.yaml")]

    def compose(self, *arguments, check=True):
        return run(*self.program, *arguments, check=check, environment=self.environment)

    def down(self, check=True):
        # Compose 2 leaves alone what is in a profile that it was not told of.
        self.compose("--profile", "observability", "down", "--volumes", "--remove-orphans", check=check)

    def containers(self, service=None):
        """Those of a service or of all, as the engine describes them, in the order of their numbers."""
        filters = ["--filter", f"label=com.docker.compose.project={self.project}"]
        if service:
            filters += ["--filter", f"label=com.docker.compose.service={service}"]
        ids = run("docker", "ps", "--all", "--quiet", *filters).stdout.split()
        found = json.loads(run("docker", "inspect", *ids).stdout) if ids else []
        # What compose ran by hand.
        found = [one for one in found if one["Config"]["Labels"].get("com.docker.compose.oneoff") != "True"]
        number = "com.docker.compose.container-number"
        return sorted(found, key=lambda one: int(one["Config"]["Labels"][number]))

    def state(self):
        """By service, how its containers are: health where there is a check for it."""
        states = {}
        for one in self.containers():
            state = one["State"]
            if state["Status"] == "exited":
                shown = f"ended {state['ExitCode']}"
            else:
                shown = state.get("Health", {}).get("Status", state["Status"])
            states.setdefault(one["Config"]["Labels"]["com.docker.compose.service"], []).append(shown)
        return states

    def must_be_healthy(self):
        fine, states = {"healthy", "ended 0"}, self.state()
        others = {service: each for service, each in states.items() if not fine.issuperset(each)}
        assert states and not others, others
        return states

    def inside(self, service, *command, check=True):
        """Runs a command in the first container of a service."""
        one = next(one for one in self.containers(service) if one["State"]["Running"])
        return run("docker", "exec", one["Id"], *command, check=check)

    def logs(self, service):
        """Everything that a service has said, without who said it and when."""
        return "".join(run("docker", "logs", one["Id"]).stdout for one in self.containers(service))

    def sql(self, query, database="tidings"):
        answer = self.inside(
            "postgres",
            "sh",
            "-c",
            f'PGPASSWORD=$(cat /secrets/password) psql -h 127.0.0.1 -U tidings -d {database} -qtA -c "{query}"',
        )
        return answer.stdout.strip()

    def leases(self, container):
        """How many shards of the outbox the relay in a container has."""
        url = "http://127.0.0.1:9000/metrics"
        page = run("docker", "exec", container["Id"], "tidings", "health", url, check=False).stdout
        found = re.search(r"^tidings_relay_leases (\S+)$", page, re.M)
        return int(float(found[1])) if found else 0

    def left_behind(self):
        """What of the project the engine still has."""
        label = f"label=com.docker.compose.project={self.project}"
        return [
            line
            for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
            for line in run("docker", *kind, "--quiet", "--filter", label).stdout.split()
        ]
