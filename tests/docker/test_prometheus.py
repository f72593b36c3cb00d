"""A real Prometheus scrapes the service's metrics and evaluates every alert and panel on them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import start_http_server

from gamekeeper.stream.kafka import HOST
from gamekeeper.stream.worker.metrics import Metrics, PromiseStanding
from support import ports

DOCKER = Path(__file__).parents[2] / "docker"
PATIENCE = 180.0

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed; CI installs it"
)


def ask(address: str, what: str, **parameters: str) -> Any:
    """Ask Prometheus' API; the answer's data."""
    answer = httpx.get(f"{address}/api/v1/{what}", params=parameters, timeout=PATIENCE).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def firing(address: str) -> set[str]:
    """Name the alerts that fire; none while Prometheus does not answer yet."""
    try:
        alerts = ask(address, "alerts")["alerts"]
    except (httpx.TransportError, ValueError):  # not listening, or not yet answering in JSON
        return set()
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus on loopback that has scraped a worker's metrics; its address."""
    metrics = Metrics()
    metrics.watch_lag(lambda: {0: 3, 1: 0})
    standing = PromiseStanding("digits", "0123", 9, {"theft": 0}, suspended=False)
    metrics.watch_promises(lambda: [standing])
    metrics.verdicts.labels("prada", "create", "medium").inc()
    folder = tmp_path_factory.mktemp("prometheus")
    server, thread = start_http_server(port := ports.reserve(), HOST, metrics.registry)
    config = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"{HOST}:{port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(DOCKER / "prometheus/alerts.yml", folder)
    listen = f"{HOST}:{ports.reserve()}"
    arguments = [
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={listen}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["prometheus", *arguments], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not firing(f"http://{listen}") and time.monotonic() < deadline:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"http://{listen}"
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()
        thread.join()


def test_every_alert_is_evaluated(prometheus: str) -> None:
    """No alert's expression fails on the metrics as the service exports them."""
    rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["health"] for rule in rules} == {
        rule["name"]: "ok" for rule in rules
    }
    assert rules


def test_a_finding_fires_the_page(prometheus: str) -> None:
    """The worker's one new finding is enough for the alert that pages."""
    assert firing(prometheus) == {"GamekeeperModelTheft"}


def test_every_panel_has_data(prometheus: str) -> None:
    """Each panel's query is valid, and those that need no history show something at once."""
    dashboard = json.loads((DOCKER / "grafana/dashboards/gamekeeper.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            result = ask(prometheus, "query", query=target["expr"])["result"]
            assert result or "[" in target["expr"], panel["title"]
