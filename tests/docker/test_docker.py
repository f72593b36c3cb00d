"""No engine runs the deployment files here, so everything they name is looked up in the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gamekeeper.stream.kafka import Settings, variables
from gamekeeper.stream.sink.health import Metrics as SinkMetrics
from gamekeeper.stream.worker.metrics import Metrics, PromiseStanding
from support.commands import find

DOCKER = Path(__file__).parents[2] / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
INTERPOLATED = re.compile(r"\$\{(\w+):-([^}]*)\}")
COMPOSE_TEXT = (DOCKER / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(INTERPOLATED.sub(r"\2", COMPOSE_TEXT))
"""As Compose reads it where the environment sets nothing."""
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "gamekeeper"}
PROMETHEUS = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
ALERTS = yaml.safe_load((DOCKER / "prometheus/alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DOCKER / "grafana/dashboards/gamekeeper.json").read_text())
EXPRESSIONS = [rule["expr"] for rule in RULES] + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
]
DEFAULTS = Settings()


def samples() -> dict[str, set[str]]:
    """Map the name of each sample of the service's own metrics to its labels."""
    metrics = Metrics()
    metrics.watch_lag(lambda: {0: 0})
    standing = PromiseStanding("digits", "0123", 9, {"theft": 0}, suspended=False)
    metrics.watch_promises(lambda: [standing])
    metrics.verdicts.labels("prada", "create", "medium")
    sink = SinkMetrics()
    for each in (sink.records, sink.lost):
        each.labels("gamekeeper.verdicts")
    return {
        sample.name: set(sample.labels)
        for registry in (metrics.registry, sink.registry)
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith("gamekeeper_") and not sample.name.endswith("_created")
    }


@pytest.mark.parametrize(
    "path",
    [path for path in DOCKER.rglob("*") if path.suffix in {".yml", ".yaml", ".json"}],
    ids=lambda path: str(path.relative_to(DOCKER)),
)
def test_files_parse(path: Path) -> None:
    """Every YAML and JSON file holds a mapping."""
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_dockerfile_passes_hadolint() -> None:
    """The Dockerfile follows the linter's rules, all of them."""
    linter = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([linter, DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_image_runs_what_exists() -> None:
    """The image's entry point and default command are in the command's tree."""
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.M)[0])
    assert entry == ["gamekeeper"]
    find(json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.M)[0]))


def test_image_is_not_root_and_holds_no_development() -> None:
    """It runs as a numbered user, with the extras for the service and the replay only."""
    assert re.findall(r"^USER (\d+)", DOCKERFILE, re.M) == ["10001"]
    assert re.findall(r"'\.\[(.*)\]'", DOCKERFILE) == ["service,replay"]


def test_image_is_healthy_by_liveness() -> None:
    """The health check asks the port and path that the service has by default."""
    (check,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", DOCKERFILE)
    assert check == (str(DEFAULTS.http_port), "/livez")
    assert re.findall(r"^EXPOSE (\d+)", DOCKERFILE, re.M) == [str(DEFAULTS.http_port)]


@pytest.mark.parametrize("source", re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M))
def test_image_copies_what_exists(source: str) -> None:
    """Every file copied into the image is in the repository and not kept out of the context."""
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().split()
    for name in source.split():
        assert (DOCKER.parent / name).exists()
        assert f"!{name}" in ignored


def test_image_takes_another_index() -> None:
    """A build may name a further package index, which none does unasked, before pip runs."""
    build, _ = DOCKERFILE.split("\nFROM python:3.11-slim\n")
    before, _ = build.split("pip install")
    assert re.findall(r"^ARG (\w+)=(.*)$", before, re.M) == [("PIP_EXTRA_INDEX_URL", '""')]
    assert SERVICES["topics"]["build"]["args"] == {"PIP_EXTRA_INDEX_URL": None}
    assert dict(INTERPOLATED.findall(COMPOSE_TEXT))["PIP_EXTRA_INDEX_URL"] == ""


def test_workers_see_the_folder_of_a_profile() -> None:
    """A profile's networks lie beside it: its folder is mounted read-only, and none is preset."""
    given = dict(INTERPOLATED.findall(COMPOSE_TEXT))
    assert given == {"PIP_EXTRA_INDEX_URL": "", "GAMEKEEPER_PROFILE": "", "PROFILES": "profiles"}
    for worker in (service for service in OURS.values() if service["command"] == ["serve"]):
        assert "profiles:/profiles:ro" in worker["volumes"]
        assert Settings.from_env(worker["environment"]).profile == ""


@pytest.mark.parametrize("service", OURS)
def test_services_run_what_exists(service: str) -> None:
    """The command of each service of ours is in the command's tree."""
    find(OURS[service]["command"])


@pytest.mark.parametrize("service", OURS)
def test_services_set_what_is_read(service: str) -> None:
    """Each variable of each service of ours is one that the settings read, and they accept it."""
    environment = OURS[service]["environment"]
    assert set(environment) <= set(variables())
    Settings.from_env(environment)


def test_everything_is_published_on_loopback_only() -> None:
    """No port of any service can be reached from another machine."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == len(set(ports)) == 5
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)


@pytest.mark.parametrize("service", [name for name in OURS if "ports" in OURS[name]])
def test_published_ports_lead_to_the_health_server(service: str) -> None:
    """A worker's published port is the one that it listens on, beyond its container's loopback."""
    (port,) = OURS[service]["ports"]
    configured = Settings.from_env(OURS[service]["environment"])
    assert port.endswith(f":{configured.http_port}")
    assert configured.http_host == "0.0.0.0"


def test_two_workers_keep_their_state_apart() -> None:
    """Each worker has a data volume of its own, at the image's data folder, and time to stop."""
    workers = [service for service in OURS.values() if service["command"] == ["serve"]]
    assert len(workers) == 2
    (folder,) = re.findall(r"GAMEKEEPER_DATA_DIR=(\S+)", DOCKERFILE)
    volumes = [volume for worker in workers for volume in worker["volumes"]]
    names = [volume.split(":")[0] for volume in volumes if volume.endswith(f":{folder}")]
    assert len(set(names)) == len(names) == 2


def test_volumes_are_declared_or_exist() -> None:
    """Each volume is a named one that is declared, or a folder of the repository, read-only."""
    for service in SERVICES.values():
        for source, _, *mode in (volume.split(":") for volume in service.get("volumes", [])):
            if source.startswith("."):
                assert (DOCKER / source).is_dir()
                assert mode == ["ro"]
            else:
                assert source in COMPOSE["volumes"]


def test_services_wait_for_services_that_exist() -> None:
    """Every dependency is a service, and the broker that is waited for has a health check."""
    for service in SERVICES.values():
        for name in service.get("depends_on", []):
            assert name in SERVICES
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert "test" in SERVICES["kafka"]["healthcheck"]


def test_clients_know_the_brokers_listener() -> None:
    """The address that our services use is one that the broker advertises inside the network."""
    kafka = SERVICES["kafka"]["environment"]
    for service in OURS.values():
        address = service["environment"]["KAFKA_BOOTSTRAP_SERVERS"]
        assert f"INSIDE://{address}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert "OUTSIDE://127.0.0.1:9092" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert DEFAULTS.brokers == "127.0.0.1:9092"


def test_no_image_floats() -> None:
    """Every image of others is pinned to a version."""
    images = [service["image"] for service in SERVICES.values() if service not in OURS.values()]
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images)


def test_prometheus_scrapes_the_service() -> None:
    """Every worker and sink is a target, on the port of its health server."""
    (job,) = PROMETHEUS["scrape_configs"]
    (targets,) = (config["targets"] for config in job["static_configs"])
    ports = {
        name: service["environment"].get("GAMEKEEPER_SINK_HTTP_PORT", DEFAULTS.http_port)
        for name, service in OURS.items()
        if service["command"] in (["serve"], ["sink"])
    }
    assert targets == [f"{name}:{port}" for name, port in ports.items()]
    assert {expr for expr in EXPRESSIONS if "job=" in expr} <= {
        f'up{{job="{job["job_name"]}"}} == 0'
    }


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_metrics_exist(expression: str) -> None:
    """Alerts and panels ask for metrics and labels that the service really exports."""
    known = samples()
    names = set(re.findall(r"gamekeeper_\w+", expression))
    assert names <= set(known)
    added = {"instance", "job"}  # by Prometheus when it scrapes
    labels = added.union(*(known[name] for name in names))
    used = set(re.findall(r"(\w+)=~?\"", expression))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        used |= {label.strip() for label in group.split(",")}
    assert used <= labels


def test_every_metric_is_watched() -> None:
    """No metric is exported for nobody: each is in an alert or on the dashboard."""
    text = " ".join(EXPRESSIONS)
    for metric in {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in samples()}:
        assert metric in text, f"{metric} is neither in an alert nor on the dashboard"


def test_every_alert_is_tested() -> None:
    """Each alert has a unit test in which it fires."""
    tests = yaml.safe_load((DOCKER / "prometheus/alerts_test.yml").read_text())["tests"]
    fires = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fires == {rule["alert"] for rule in RULES}


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; CI installs it"
)
@pytest.mark.parametrize(
    "arguments", [["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]]
)
def test_promtool_accepts(arguments: list[str]) -> None:
    """Prometheus' own tool accepts the configuration, and the alerts fire when they should."""
    folder = DOCKER / "prometheus"
    run = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_dashboard_is_provisioned() -> None:
    """Grafana finds the dashboard where it is mounted, and its panels the one data source."""
    grafana = SERVICES["grafana"]
    provisioning = DOCKER / "grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/gamekeeper.yml").read_text())[
        "providers"
    ]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    folder = provider["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/gamekeeper.json"
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


def test_dashboard_panels_do_not_overlap() -> None:
    """The panels have ids of their own and lie beside each other on Grafana's 24 columns."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
