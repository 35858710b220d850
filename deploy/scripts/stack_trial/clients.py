"""Clients of a running stack, who know nothing of it but its address and a key."""

import http.client
import json
import threading
import time
import uuid
from dataclasses import dataclass, field

# A gateway may be away for a moment, the database for some seconds.
PATIENCE = 120.0


class Api:
    """Speaks to the API over one connection that is made again when it breaks."""

    def __init__(self, host, port, key):
        self.host, self.port, self.key = host, port, key
        self.connection = None

    def call(self, method, path, body=None, headers=None, key=True):
        """One request. The status, and the body, parsed if it is JSON. Raises OSError or HTTPException."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        headers = dict(headers or {})
        if key:
            headers["Authorization"] = f"Bearer {self.key}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise
        try:
            content = json.loads(content)
        except ValueError:
            content = content.decode(errors="replace")
        return answer.status, content

    def insist(self, method, path, body, headers, tally):
        """Asks until the answer is a final one; what came before it is counted in `tally`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                status, content = self.call(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                status, content = type(error).__name__, str(error)
            if isinstance(status, int) and status not in (408, 409, 429, 502, 503, 504):
                return status, content
            tally[status] = tally.get(status, 0) + 1
            if time.monotonic() > deadline:
                return status, content
            time.sleep(0.25)


@dataclass
class Load:
    """Messages and orders at a steady rate, each sent again under its own idempotency key until it is answered."""

    api: tuple
    rate: float
    workers: int = 24
    # Message by idempotency key.
    accepted: dict = field(default_factory=dict)
    # One in so many requests is an order instead, for one of these users.
    order_every: int = 20
    users: list = field(default_factory=list)
    ordered: dict = field(default_factory=dict)
    # What was answered to somebody in the end, other than 201.
    refused: list = field(default_factory=list)
    # What was answered before that, by status or kind of error.
    again: dict = field(default_factory=dict)
    slowest: float = 0.0

    def __post_init__(self):
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.number = 0
        self.run = uuid.uuid4().hex[:8]
        self.begun = time.monotonic()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(self.workers)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return self

    def work(self):
        api, tally = Api(*self.api), {}
        while not self.stopping.is_set():
            with self.lock:
                number, self.number = self.number, self.number + 1
            due = self.begun + number / self.rate
            if self.stopping.wait(max(0.0, due - time.monotonic())):
                break
            name = f"{self.run}-{number}"
            orders = self.users and number % self.order_every == 0
            path, done = ("/orders", self.ordered) if orders else ("/messages", self.accepted)
            body = (
                self.order(number)
                if orders
                else {
                    "from": "+41440000000",
                    "to": {"name": f"Contact {number % 200}", "phone": f"+4179{number % 200:07}"},
                    "content": name,
                }
            )
            asked = time.monotonic()
            headers = {"Idempotency-Key": name, "X-Correlation-ID": name}
            status, content = api.insist("POST", path, body, headers, tally)
            took = time.monotonic() - asked
            with self.lock:
                self.slowest = max(self.slowest, took)
                if status == 201:
                    done[name] = content["id"]
                else:
                    self.refused.append((name, status, content))
        with self.lock:
            for status, times in tally.items():
                self.again[status] = self.again.get(status, 0) + times

    def order(self, number):
        return {
            "user_id": self.users[number // self.order_every % len(self.users)],
            "sequencing_type": "whole-genome-sequencing",
            "shipping_info": dict.fromkeys(
                ("delivery_name", "first_line", "second_line", "town", "postcode", "country"), "somewhere"
            ),
        }


def eventually(what, check, within=60.0, every=0.25):
    """Waits until `check` gives something true, and gives that."""
    deadline, last = time.monotonic() + within, None
    while time.monotonic() < deadline:
        try:
            last = check()
            if last:
                return last
        except (AssertionError, OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"not within {within:.0f} s: {what}; last: {last!r}")
