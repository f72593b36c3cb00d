"""Counting and telling what records have led to, once it is safe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import structlog

from gamekeeper.detectors.engine import Outcome
from gamekeeper.schemas.verdict import Verdict
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.scoring import Scored

log = structlog.get_logger("gamekeeper.stream")


def count(engines: Engines, metrics: Metrics, events: Sequence[Any], scored: Scored) -> None:
    """Count events and what came of them, and log each verdict.

    Events of other models are neither applied nor at fault: they were let through.
    """
    metrics.batch.observe(len(events))
    outcomes = [each for each in scored.outcomes if _watched(engines, each)]
    metrics.events.labels("applied").inc(len(outcomes))
    metrics.events.labels("skipped").inc(scored.skipped)
    metrics.events.labels("dead").inc(len(scored.letters))
    for letter in scored.letters:
        metrics.dead_letters.labels(letter.kind).inc()
    for outcome in outcomes:
        _count_outcome(engines, metrics, outcome)
    now = time.time()
    for event in events:
        metrics.latency.observe(max(0.0, now - event.message.timestamp))
    for row in scored.rows:
        metrics.rows.labels(row.kind).inc()


def _watched(engines: Engines, outcome: Outcome) -> bool:
    return engines.watches(outcome.arrival.source, outcome.arrival.event.model)


def _count_outcome(engines: Engines, metrics: Metrics, outcome: Outcome) -> None:
    metrics.queries.inc(len(outcome.arrival.event))
    if outcome.statistics:  # not an order
        profile = engines.of(outcome.arrival.source).profile
        for feature in profile.features.difference(outcome.arrival.features or ()):
            metrics.featureless.labels(feature).inc()
    for verdict in outcome.verdicts:
        metrics.verdicts.labels(verdict.detector, verdict.activity, verdict.severity).inc()
        _tell_of(verdict)


def _tell_of(verdict: Verdict) -> None:
    """Log a verdict, once it is safe: names are data, which the log escapes."""
    log.info(
        "verdict",
        account=verdict.account,
        model=verdict.model,
        detector=verdict.detector,
        activity=verdict.activity,
        severity=verdict.severity,
        statistic=verdict.statistic,
        threshold=verdict.threshold,
        finding=verdict.finding,
    )
