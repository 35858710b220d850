"""What Prometheus has to say."""

import json
import threading
import time
import urllib.parse
import urllib.request
from collections import OrderedDict

from .engine import DEPLOY

DASHBOARD = DEPLOY / "observability" / "grafana" / "dashboards" / "tidings.json"
# Panels of what need not have happened; they must be answered all the same.
MAY_BE_EMPTY = ("tidings_notif", "tidings_geoip", "tidings_trace")


class Prometheus:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def ask(self, path, **parameters):
        url = f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            answered = json.load(answer)
        assert answered["status"] == "success", answered
        return answered["data"]

    def firing(self):
        return sorted(
            alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"
        )

    def every_rule_works(self, say):
        rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
        broken = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]
        assert rules and not broken, broken
        say(f"prometheus: {len(rules)} alert rules evaluated, all without an error")

    def every_panel_has_data(self, say):
        """Asks what the dashboard asks."""
        queries, empty = 0, []
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "1m")
                now = time.time()
                found = self.ask("query_range", query=query, start=now - 600, end=now, step=15)["result"]
                queries += 1
                if not found:
                    empty.append(f"{panel['title']}: {target['expr']}")
        missing = [one for one in empty if not any(name in one for name in MAY_BE_EMPTY)]
        assert not missing, missing
        say(f"dashboard: {queries} queries answered, {len(empty)} of them empty for want of such events: {empty}")

    def watch_alerts(self):
        return Watch(self)


class Watch:
    """Notes which alerts are pending or firing, and since when."""

    def __init__(self, prometheus):
        self.prometheus, self.seen, self.begun = prometheus, OrderedDict(), time.monotonic()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.stopping.wait(2):
            try:
                alerts = self.prometheus.ask("alerts")["alerts"]
            except OSError:
                continue
            for alert in alerts:
                labels = alert["labels"]
                about = labels.get("service") or labels.get("group") or labels.get("channel")
                name = f"{labels['alertname']}{f' ({about})' if about else ''} {alert['state']}"
                self.seen.setdefault(name, f"{time.monotonic() - self.begun:.0f} s")

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return ", ".join(f"{name} after {when}" for name, when in self.seen.items())
