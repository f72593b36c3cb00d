"""The sink and topics that are deleted while it runs: it says so, and mixes no two of one name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gamekeeper.schemas.errors import TraceError
from gamekeeper.stream.kafka import EmbeddedBroker, Settings, apply
from gamekeeper.stream.sink import lives
from support import brokers
from support.sink_traffic import complete, send, tables, traffic
from support.sinks import run_alone, running
from support.workers import delete, prepare, wait_for

pytestmark = pytest.mark.broker


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings of topics with as many partitions as the embedded broker gives those it makes."""
    return prepare({**environ, "GAMEKEEPER_PARTITIONS": "4"})


def test_a_topic_that_is_deleted_and_made_anew_ends_the_sink(
    settings: Settings,
    broker: brokers.Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not ready while it is gone; then it writes nothing of the new one, nor at the next start.

    The new one is longer than what was read of the other, so that no offset tells.
    """
    monkeypatch.setattr(lives, "LOOK_SECONDS", 0.3)
    first, second = (
        [each for each in traffic(settings, count) if each.topic == settings.topics.queries]
        for count in (20, 80)
    )
    send(settings, first)
    ending = pytest.raises(TraceError, match=r"made anew while it was read.*another folder")
    with ending, running(settings, tmp_path) as run:
        wait_for(complete(tmp_path, first, settings))
        before = tables(tmp_path)
        delete(settings, settings.topics.queries)
        if not isinstance(broker, EmbeddedBroker):  # which makes it again for the sink
            wait_for(lambda: "was deleted; make it" in (run.sink.obstacle() or ""))
        apply(settings)
        send(settings, second)
        wait_for(lambda: not run.thread.is_alive())
    with pytest.raises(TraceError, match="another folder"):
        run_alone(settings, tmp_path)
    assert tables(tmp_path) == before
