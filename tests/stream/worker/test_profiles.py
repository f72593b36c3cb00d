"""Profiles change while workers run: all take one at the same place, and nobody is paged twice."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.cli.profile import profile as command
from gamekeeper.schemas.order import ProfileOrder, encode_order
from gamekeeper.schemas.verdict import Verdict, decode_verdict
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.profile_files import load_profile
from support.brokers import Broker, Names
from support.crashing import PROFILE, make_trace
from support.online import alarming, expected, expected_under, found
from support.workers import (
    PARTITIONS,
    SERVE,
    Record,
    Worker,
    all_applied,
    prepare,
    read,
    send,
    wait_for,
)

pytestmark = pytest.mark.broker

LATCHING = {**PROFILE, "policy": {"mode": "latch"}}
SECOND = PROFILE["detectors"][1]
RAISED = {**LATCHING, "detectors": [{"detector": "prada", "threshold": 0.001}, SECOND]}
OTHER = {
    **LATCHING,
    "detectors": [{"detector": "prada", "threshold": 0.0, "options": {"window": 150}}, SECOND],
}
ALONE = {**LATCHING, "detectors": [SECOND]}

KILLED = """
import os, signal
from gamekeeper.stream.worker.profiles import Profiles
def kill(self, decided, *_):
    assert decided.rulings
    os.kill(os.getpid(), signal.SIGKILL)
Profiles.{moment} = kill
"""
EARLIER_BUILD = """
from gamekeeper.stream.worker.outbox import Outbox
write = Outbox.write
async def unnoted(self, rows):
    return await write(self, [row for row in rows if row.kind != "profile"])
Outbox.write = unnoted
"""


@pytest.fixture
def environ(broker: Broker, names: Names, tmp_path: Path) -> dict[str, str]:
    """A worker's environment with the test's own topics, and a profile whose alarms latch."""
    environ = alarming(broker, names, tmp_path)
    Path(environ["GAMEKEEPER_PROFILE"]).write_text(json.dumps(LATCHING))
    return environ


def written(environ: dict[str, str], name: str, content: dict[str, Any]) -> Path:
    """Write a profile's file."""
    path = Path(environ["GAMEKEEPER_PROFILE"]).with_name(f"{name}.json")
    path.write_text(json.dumps(content))
    return path


def announced(environ: dict[str, str], path: Path) -> dict[int, int]:
    """Run the command; give the offsets of its orders by partition."""
    result = CliRunner().invoke(command, ["announce", str(path), "--format", "json"], env=environ)
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["profile"] == load_profile(path).hash
    places = {each["partition"]: each["offset"] for each in told["places"]}
    assert sorted(places) == list(range(PARTITIONS))
    return places


def second(environ: dict[str, str], **changes: str) -> dict[str, str]:
    """Give another worker's environment."""
    return {**environ, "GAMEKEEPER_DATA_DIR": environ["GAMEKEEPER_DATA_DIR"] + "-2", **changes}


def ruling(*workers: Worker) -> dict[str, str]:
    """Ask workers which profile rules which of their partitions."""
    rules: dict[str, str] = {}
    for worker in workers:
        families = text_string_to_metric_families(worker.get("/metrics")[1])
        for sample in (sample for family in families for sample in family.samples):
            if sample.name == "gamekeeper_profile_info":
                rules[sample.labels["partition"]] = sample.labels["profile"]
    return rules


def rules(profile: Profile, *workers: Worker) -> bool:
    """Say whether a profile rules every partition."""
    return ruling(*workers) == dict.fromkeys(map(str, range(PARTITIONS)), profile.hash)


def verdicts_of(settings: Settings) -> list[Verdict]:
    """Read the verdicts, each once."""
    return [decode_verdict(value) for value in found(settings).values()]


def openings(verdicts: Sequence[Verdict]) -> Counter[tuple[str, str]]:
    """Count how often each account was held for an attacker by each detector."""
    return Counter((v.account, v.detector) for v in verdicts if v.activity == "create")


def parts(count: int) -> list[list[Record]]:
    """Cut a trace into stretches; in the first one, half of it, most accounts alarm."""
    trace = make_trace(2400)
    half = len(trace) // 2
    size = -(-half // (count - 1))
    return [trace[:half], *(trace[start : start + size] for start in range(half, len(trace), size))]


def test_two_workers_take_profiles_at_the_same_places(environ: dict[str, str]) -> None:
    """Announced while they run, without a restart; a third one judges alike what is left."""
    settings = prepare(environ)
    first = load_profile(Path(settings.profile))
    paths = [
        written(environ, name, content)
        for name, content in (("raised", RAISED), ("other", OTHER), ("alone", ALONE))
    ]
    profiles = [load_profile(path) for path in paths]
    stretches = parts(5)
    with Worker(environ) as one, Worker(second(environ)) as two:
        wait_for(lambda: one.ready() and two.ready())
        for stretch, path, profile in zip(stretches, paths, profiles, strict=False):
            send(settings, stretch)
            announced(environ, path)
            wait_for(lambda profile=profile: rules(profile, one, two))  # type: ignore[misc]
        send(settings, stretches[3])
        wait_for(lambda: all_applied(settings))
        assert "changed hands" not in one.logged() + two.logged()
        assert max(w.metric("gamekeeper_profile_differs") for w in (one, two)) == 1
        assert one.terminate() == two.terminate() == 0
    with Worker(second(environ)) as third:
        send(settings, stretches[4])
        wait_for(lambda: all_applied(settings))
        assert rules(profiles[-1], third)
    truth = expected_under(settings, first, profiles)
    assert found(settings) == truth
    assert {each.profile for each in verdicts_of(settings)} >= {first.hash, profiles[0].hash}
    assert not read(settings, settings.topics.dead_letters)


def test_profiles_that_change_within_a_micro_batch(environ: dict[str, str]) -> None:
    """There and back, and announced twice: each event is judged by what precedes it."""
    settings = prepare(environ)
    first, path = load_profile(Path(settings.profile)), written(environ, "other", OTHER)
    orders = [path, Path(settings.profile), path, path]
    stretches = parts(5)
    for stretch, order in zip(stretches, orders, strict=False):
        send(settings, stretch)
        announced(environ, order)
    send(settings, stretches[4])
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_consumer_lag") == 0
        assert worker.metric("gamekeeper_events_total", outcome="dead") == 0
        assert worker.terminate() == 0
    truth = expected_under(settings, first, [load_profile(path)])
    assert found(settings) == truth
    assert sum(each.reason == "profile" for each in verdicts_of(settings)) > 1


@pytest.mark.parametrize("moment", ["rows", "take"], ids=["before", "after"])
def test_a_worker_that_is_killed_as_it_notes_a_profile(
    environ: dict[str, str], moment: str
) -> None:
    """Its heir decides the same, be it that the note was written, or that it was not."""
    environ["GAMEKEEPER_BATCH_EVENTS"] = "100"
    settings = prepare(environ)
    first, path = load_profile(Path(settings.profile)), written(environ, "other", OTHER)
    one, two, three = parts(3)
    with Worker(environ, [sys.executable, "-c", KILLED.format(moment=moment) + SERVE]) as worker:
        send(settings, one)
        wait_for(lambda: all_applied(settings))
        announced(environ, path)
        send(settings, two)
        wait_for(lambda: not worker.alive())
    with Worker(second(environ)) as heir:
        wait_for(heir.ready)
        send(settings, three)
        wait_for(lambda: all_applied(settings))
    assert found(settings) == expected_under(settings, first, [load_profile(path)])


def test_kills_around_changes_change_no_verdict(environ: dict[str, str]) -> None:
    """Two workers are killed by turns, at random moments after a profile is announced."""
    settings = prepare(environ)
    first = load_profile(Path(settings.profile))
    raised, other = written(environ, "raised", RAISED), written(environ, "other", OTHER)
    paths = [raised, Path(settings.profile), other]
    chance = random.Random(1)
    with Worker(environ) as one, Worker(second(environ)) as two:
        for number, stretch in enumerate(parts(6)):
            wait_for(lambda: one.ready() and two.ready())
            send(settings, stretch[: len(stretch) // 2])
            announced(environ, paths[number % 3])
            send(settings, stretch[len(stretch) // 2 :])
            victim = chance.choice((one, two))
            time.sleep(chance.uniform(0, 0.5))  # the moment of the kill, not a wait
            victim.kill()
            victim.start()
        wait_for(lambda: all_applied(settings))
    truth = expected_under(settings, first, map(load_profile, paths))
    assert found(settings) == truth
    assert any(each.reason == "profile" for each in verdicts_of(settings))


def test_a_rolling_change_of_workers_changes_no_verdict(environ: dict[str, str]) -> None:
    """Workers with another file come and go: each says so, and no finding is opened twice.

    Nor is one when the other profile is announced.
    """
    settings = prepare(environ)
    path = written(environ, "raised", RAISED)
    other = second(environ, GAMEKEEPER_PROFILE=str(path))
    stretches = parts(5)
    with ExitStack() as stack:
        old = stack.enter_context(Worker(environ))
        wait_for(old.ready)
        new = stack.enter_context(Worker(other))
        for stretch, worker in zip(stretches[:4], (new, old, new, old), strict=True):
            wait_for(lambda: old.ready() and new.ready())
            send(settings, stretch)
            wait_for(lambda: all_applied(settings))
            assert worker.terminate() == 0
            worker.start()
        wait_for(lambda: old.ready() and new.ready())
        wait_for(lambda: rules(load_profile(Path(settings.profile)), old, new))
        assert new.metric("gamekeeper_profile_differs") == 1
        assert old.metric("gamekeeper_profile_differs") == 0
        assert "gamekeeper profile announce" in new.logged()
        assert found(settings) == expected(settings)
        announced(environ, path)
        send(settings, stretches[4])
        wait_for(lambda: all_applied(settings))
        wait_for(lambda: new.metric("gamekeeper_profile_differs") == 0)
    episodes = openings(verdicts_of(settings))
    assert len(episodes) >= 12
    assert set(episodes.values()) == {1}
    assert not any(each.activity == "close" for each in verdicts_of(settings))


def test_an_order_that_cannot_be_obeyed_is_a_dead_letter(environ: dict[str, str]) -> None:
    """An unknown profile, and no hash at all; what another service is told is none of ours."""
    settings = prepare(environ)
    one, two = parts(2)
    orders = [
        encode_order(ProfileOrder(app=app, profile="0123456789abcdef", time=1))
        for app in (settings.app_id, settings.app_id, "another")
    ]
    with Worker(environ) as worker:
        send(settings, one)
        send(settings, [(None, each) for each in orders], partition=1)
        send(settings, [(None, b'{"order":"profile","profile":"no hash"}')], partition=2)
        send(settings, two)
        wait_for(lambda: all_applied(settings))
        assert worker.ready()
        assert worker.metric("gamekeeper_dead_letters_total", reason="profile") == 2
        assert worker.metric("gamekeeper_dead_letters_total", reason="schema") == 1
        assert "an order to take a profile is refused" in worker.logged()
        assert rules(load_profile(Path(settings.profile)), worker)
    letters = read(settings, settings.topics.dead_letters)
    reasons = [dict(each.headers)["reason"].decode() for each in letters]
    assert sum("profile 0123456789abcdef is not in topic" in reason for reason in reasons) == 2
    assert found(settings) == expected(settings)


def test_a_profile_that_rules_and_is_lost_is_waited_for(
    environ: dict[str, str], names: Names
) -> None:
    """The worker is not ready, says what to do, and goes on once it is announced."""
    settings = prepare(environ)
    one, two = parts(2)
    with Worker(environ) as worker:
        send(settings, one)
        wait_for(lambda: all_applied(settings))
        assert worker.terminate() == 0
    path = written(environ, "raised", RAISED)
    lost = {
        **second(environ, GAMEKEEPER_PROFILE=str(path)),
        "GAMEKEEPER_TOPIC_PROFILES": names("lost"),
    }
    settings = prepare(lost)
    with Worker(lost) as worker:
        send(settings, two)
        wait_for(lambda: "announce FILE" in worker.get("/readyz")[1])
        assert worker.get("/livez")[0] == 200
        assert worker.metric("gamekeeper_events_total", outcome="applied") == 0
        announced(lost, Path(environ["GAMEKEEPER_PROFILE"]))
        wait_for(worker.ready)
        wait_for(lambda: all_applied(settings))
        assert worker.terminate() == 0
    assert found(settings) == expected_under(
        settings, load_profile(Path(environ["GAMEKEEPER_PROFILE"])), []
    )


def test_state_of_an_earlier_build_begins_with_the_file(environ: dict[str, str]) -> None:
    """No profile is noted there: the worker's own rules what comes, and findings go on."""
    settings = prepare(environ)
    first, path = load_profile(Path(settings.profile)), written(environ, "raised", RAISED)
    one, two = parts(2)
    with Worker(environ, [sys.executable, "-c", EARLIER_BUILD + SERVE]) as earlier:
        send(settings, one)
        wait_for(lambda: all_applied(settings))
        assert earlier.terminate() == 0
    announced(environ, path)  # where the test's offline engine changes its profile, too
    with Worker(second(environ, GAMEKEEPER_PROFILE=str(path))) as worker:
        wait_for(worker.ready)
        assert rules(load_profile(path), worker)
        send(settings, two)
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_profile_differs") == 0
    assert found(settings) == expected_under(settings, first, [load_profile(path)])
    assert set(openings(verdicts_of(settings)).values()) == {1}
