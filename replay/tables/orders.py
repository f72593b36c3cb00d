"""An analyst's order on its way to the worker: through the queries topic, keyed by account."""

from __future__ import annotations

import time
from typing import Literal

from gamekeeper.schemas.event import event_key
from gamekeeper.schemas.order import CloseOrder, encode_order
from gamekeeper.schemas.verdict import Disposition, Verdict
from gamekeeper.stream.kafka import Settings, broker_errors, producer, require_topic

_SECONDS = 15.0  # as long as any client here waits for a broker


def order_close(
    settings: Settings,
    verdict: Verdict,
    *,
    analyst: str = "",
    note: str = "",
    disposition: Disposition | Literal[""] = "",
) -> None:
    """Order the worker to close the finding of a verdict; returns when the broker has the order.

    The worker answers with a verdict of activity `close`, or with nothing if the finding is not
    open any more. Raises `BrokerError`.
    """
    topic = settings.topics.queries
    require_topic(settings, topic)
    order = CloseOrder(
        account=verdict.account,
        model=verdict.model,
        finding=verdict.finding,
        time=time.time_ns() // 1000,
        analyst=analyst,
        note=note,
        disposition=disposition,
    )
    client = producer(settings)
    try:
        with broker_errors(settings.brokers, "send an order to", topic=topic):
            sent = client.send(topic, key=event_key(order.account), value=encode_order(order))
            sent.get(timeout=_SECONDS)
    finally:
        client.close(timeout=1)
