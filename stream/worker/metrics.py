"""What the service counts and measures, as Prometheus metrics in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from gamekeeper.detectors.catalog import FEATURES

LATENCY_BUCKETS = (
    *(0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class PromiseStanding(NamedTuple):
    """How a profile's promise stands for a model: what alarmed is by kind, of the latest lives."""

    model: str
    profile: str
    lives: int
    alarmed: Mapping[str, int]
    suspended: bool


class Metrics:
    """The worker's metrics; all names begin with `gamekeeper_`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.events = Counter(
            "gamekeeper_events",
            "Events read, by what became of them: applied, skipped (delivered again after they "
            "had been applied), dead (see gamekeeper_dead_letters). Events of models that the "
            "profile does not watch are not counted.",
            ["outcome"],
            registry=registry,
        )
        self.queries = Counter("gamekeeper_queries", "Queries (rows) scored.", registry=registry)
        self.dead_letters = Counter(
            "gamekeeper_dead_letters",
            "Records sent to the dead-letter topic, by class of reason.",
            ["reason"],
            registry=registry,
        )
        self.verdicts = Counter(
            "gamekeeper_verdicts",
            "Verdicts written.",
            ["detector", "activity", "severity"],
            registry=registry,
        )
        self.featureless = Counter(
            "gamekeeper_events_without_features",
            "Events that lack a feature which a detector of the profile reads: no network takes "
            "rows of their shape, and they bring none themselves. That detector does not see them.",
            ["feature"],
            registry=registry,
        )
        self.batch = Histogram(
            "gamekeeper_batch_events",
            "Events in a micro-batch.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.latency = Histogram(
            "gamekeeper_event_to_verdict_seconds",
            "From an event's Kafka timestamp until what it led to was acknowledged.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.rows = Counter(
            "gamekeeper_state_rows",
            "State rows written to the changelog: headers, segments, deletions.",
            ["kind"],
            registry=registry,
        )
        self.hot_accounts = Gauge(
            "gamekeeper_hot_accounts", "Accounts held in memory.", registry=registry
        )
        self.hot_bytes = Gauge(
            "gamekeeper_hot_bytes",
            "What the accounts held in memory take, each as of when it was last weighed.",
            registry=registry,
        )
        self.state_lost = Counter(
            "gamekeeper_state_lost",
            "Accounts, or detectors of one, begun anew as their stored rows could not be read.",
            registry=registry,
        )
        self.forgotten = Counter(
            "gamekeeper_accounts_forgotten",
            "Accounts whose stored rows were deleted, as they had been silent for so long.",
            registry=registry,
        )
        self.unread = Counter(
            "gamekeeper_records_lost",
            "Records of the queries topic that were gone before they were read: expired, or cut "
            "off the log.",
            registry=registry,
        )
        self.profile_differs = Gauge(
            "gamekeeper_profile_differs",
            "1 while a profile rules some partition that is another one than GAMEKEEPER_PROFILE's.",
            registry=registry,
        )
        self.held_records = Gauge(
            "gamekeeper_held_back_records",
            "Records of accounts that have sent more than their share: they were passed over, are "
            "read again in their turn, and are part of the lag until then.",
            registry=registry,
        )
        self.held_accounts = Gauge(
            "gamekeeper_held_back_accounts", "Accounts that these are of.", registry=registry
        )
        self.recovering = Gauge(
            "gamekeeper_recovering",
            "1 while state is being restored or partitions are changing hands, else 0.",
            registry=registry,
        )
        for feature in FEATURES:
            self.featureless.labels(feature)
        for outcome in ("applied", "skipped", "dead"):
            self.events.labels(outcome)
        for reason in ("schema", "key", "profile", "internal"):
            self.dead_letters.labels(reason)
        for kind in ("header", "segment", "delete"):
            self.rows.labels(kind)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def watch_lag(self, read: Callable[[], Mapping[int, int]]) -> None:
        """Show the consumer lag; `read` gives it per partition whenever it is asked for."""
        self.registry.register(_Lag(read))

    def watch_profiles(self, read: Callable[[], Mapping[int, str]]) -> None:
        """Show what rules; `read` gives each partition's profile whenever it is asked for."""
        self.registry.register(_Profiles(read))

    def watch_promises(self, read: Callable[[], Sequence[PromiseStanding]]) -> None:
        """Show how promises stand; `read` gives it whenever it is asked for."""
        self.registry.register(_Promises(read))

    def text(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Lag(Collector):
    """Records that wait in the broker, read when Prometheus asks."""

    def __init__(self, read: Callable[[], Mapping[int, int]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "gamekeeper_consumer_lag",
            "Records of the queries topic that are not applied yet.",
            labels=["partition"],
        )
        for partition, records in self._read().items():
            family.add_metric([str(partition)], records)
        yield family


class _Profiles(Collector):
    """The profile of each partition, read when Prometheus asks."""

    def __init__(self, read: Callable[[], Mapping[int, str]]) -> None:
        self._read = read

    def collect(self) -> Iterator[InfoMetricFamily]:
        family = InfoMetricFamily(
            "gamekeeper_profile",
            "Hash of the profile that judges what comes in a partition.",
            labels=["partition"],
        )
        for partition, profile in self._read().items():
            family.add_metric([str(partition)], {"profile": profile})
        yield family


class _Promises(Collector):
    """How the promises stand, read when Prometheus asks."""

    def __init__(self, read: Callable[[], Sequence[PromiseStanding]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        names = ["model", "profile"]
        lives = GaugeMetricFamily(
            "gamekeeper_promise_lives",
            "Lives of this worker's accounts that are held against the profile's promise, the "
            "latest thousand at most: an account is counted again after each promised life.",
            labels=names,
        )
        alarmed = GaugeMetricFamily(
            "gamekeeper_promise_lives_alarmed",
            "Those of them in which the account's first finding was opened, by its kind.",
            labels=[*names, "kind"],
        )
        suspended = GaugeMetricFamily(
            "gamekeeper_promise_suspended",
            "1 while so many of these have alarmed that the profile's promise is suspended, else "
            "0. Verdicts go on as they are. No sample where nothing is promised.",
            labels=names,
        )
        for each in self._read():
            lives.add_metric([each.model, each.profile], each.lives)
            suspended.add_metric([each.model, each.profile], each.suspended)
            for kind, count in each.alarmed.items():
                alarmed.add_metric([each.model, each.profile, kind], count)
        yield from (lives, alarmed, suspended)
