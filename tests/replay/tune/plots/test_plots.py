"""Plots of a sweep: whole files, nothing loaded from elsewhere, and lines that hide no alarm."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gamekeeper.detectors.engine import DetectorProfile, Profile
from gamekeeper.replay.tune.evaluation.sweep import sweep
from gamekeeper.replay.tune.plots import plot
from gamekeeper.replay.tune.plots.lines import read_lines
from gamekeeper.schemas.tables import SCORES, score_rows, write_parquet

PROFILE = Profile(
    name="two",
    detectors=(
        DetectorProfile(detector="prada", threshold=0.4),
        DetectorProfile(detector="similarity", threshold=30.0),
    ),
)
HOSTILE = "</script><script>alert(1)</script><!--"


def write_scores(folder: Path, accounts: dict[str, str | None], queries: int = 300) -> None:
    """Write scores of two detectors: small numbers, and counts that grow."""
    random = np.random.default_rng(0)
    rows = []
    for account, kind in accounts.items():
        gain = 1.0 if kind == "benign" else 3.0
        first = random.random(queries) * 0.1 * gain
        first[:100] = np.nan
        first[queries // 2] = 0.2 * gain
        second = np.cumsum(random.random(queries) < 0.05 * gain).astype(float)
        rows.append(
            score_rows(
                account,
                "digits",
                0,
                np.arange(queries),
                {"prada": first, "similarity": second},
                trace="t",
                kind=kind,
            )
        )
    write_parquet(pa.Table.from_batches(rows, schema=SCORES), folder / "scores" / "a.parquet")


def draw(folder: Path) -> dict[str, Path]:
    """Sweep the scores of a folder and plot them; say each file's path by its name."""
    return {path.name: path for path in plot(folder, PROFILE, sweep(folder, PROFILE))}


def spec(path: Path) -> dict[str, Any]:
    """Read the document that a page draws."""
    found = re.search(r'vegaEmbed\("#plot", (\{.*\}), \{"actions"', path.read_text("utf-8"))
    assert found
    document: dict[str, Any] = json.loads(found[1])
    return document


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The plots of some benign accounts and attackers, of which one has a hostile name."""
    folder = tmp_path_factory.mktemp("plots")
    benign: dict[str, str | None] = {f"b{number}": "benign" for number in range(20)}
    write_scores(folder, {**benign, "x": "papernot", HOSTILE: "tramer", "u": None})
    return draw(folder)


def test_each_plot_is_png_and_html(drawn: dict[str, Path]) -> None:
    """There are four plots, each as a picture of a sensible size and as a page."""
    names = {"roc", "false-alarms", "detection", "statistics"}
    assert set(drawn) == {f"{name}.{suffix}" for name in names for suffix in ("png", "html")}
    for name in names:
        data = drawn[f"{name}.png"].read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        assert 1200 < width < 2400
        assert 600 < height < 4000
        assert len(data) < 2_000_000


def test_pages_load_nothing(drawn: dict[str, Path]) -> None:
    """A page has its libraries in it and sends its data nowhere."""
    for path in drawn.values():
        if path.suffix == ".html":
            page = path.read_text("utf-8")
            markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
            assert not re.search("script|link|img|src|href|http", markup)
            assert '"editor": false' in page
            assert len(page) < 3_000_000


def test_hostile_names_stay_text(drawn: dict[str, Path]) -> None:
    """An account whose name ends a script is data, in the page as in its document."""
    page = drawn["statistics.html"].read_text("utf-8")
    assert "<script>alert" not in page
    assert page.count("</script>") == 2
    sets = spec(drawn["statistics.html"])["datasets"]
    assert HOSTILE in {row.get("account") for rows in sets.values() for row in rows}


def test_profile_s_thresholds_are_marked(drawn: dict[str, Path]) -> None:
    """Where thresholds are on an axis, the profile's own are drawn."""
    for name in ("false-alarms.html", "statistics.html"):
        sets = spec(drawn[name])["datasets"].values()
        marked = {row["at"] for rows in sets for row in rows if "at" in row}
        assert marked == {0.4, 30.0}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("benign", {"false-alarms", "statistics"}),
        ("papernot", {"statistics"}),
        (None, {"statistics"}),
    ],
)
def test_plots_without_traces_are_left_out(
    tmp_path: Path, kind: str | None, names: set[str]
) -> None:
    """What cannot be drawn without benign accounts or without attacks is not there."""
    write_scores(tmp_path, {"a": kind, "b": kind})
    assert {path.stem for path in draw(tmp_path).values()} == names


def test_lines_are_a_sample_that_hides_no_alarm(tmp_path: Path) -> None:
    """Of many accounts some are drawn, the highest too, and each line keeps its highest point."""
    random = np.random.default_rng(1)
    accounts: dict[str, str | None] = {f"b{number}": "benign" for number in range(70)}
    accounts |= {f"p{number}": "papernot" for number in range(30)} | {"t": "tramer"}
    peaks, rows = {}, []
    for account, kind in accounts.items():
        values = random.random(1000)
        values[:5] = np.nan
        peaks[account] = float(np.nanmax(values))
        each = {"prada": values}
        rows.append(score_rows(account, "m", 0, np.arange(1000), each, trace="t", kind=kind))
    write_parquet(pa.Table.from_batches(rows, schema=SCORES), tmp_path / "scores" / "a.parquet")
    lines = {line.account: line for line in read_lines(tmp_path)}
    drawn = [accounts[account] for account in lines]
    assert (drawn.count("benign"), drawn.count("papernot"), drawn.count("tramer")) == (40, 13, 1)
    for kind in ("benign", "papernot"):
        own = [account for account in accounts if accounts[account] == kind]
        assert max(own, key=peaks.__getitem__) in lines
    for account, line in lines.items():
        assert line.present == list(accounts.values()).count(accounts[account])
        assert len(line.points) <= 150
        assert max(statistic for _, statistic in line.points) == peaks[account]
        assert [query for query, _ in line.points] == sorted(query for query, _ in line.points)
