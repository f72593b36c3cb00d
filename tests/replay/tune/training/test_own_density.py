"""`calibrate --detector likelihood` of vectors: the density is fitted to accounts of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from gamekeeper.detectors.networks import load
from gamekeeper.replay.cli.calibrate import calibrate
from gamekeeper.replay.cli.evaluate import evaluate
from gamekeeper.replay.tune.calibration import Feedback
from gamekeeper.replay.tune.training import fit_own_density
from gamekeeper.schemas.errors import ProfileError, TraceError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, many_query_rows, write_parquet
from gamekeeper.schemas.tensor import Tensor
from support.traces import START

ACCOUNTS, LIFE, COLUMNS = 40, 100, 3
MEAN = np.array([1.0, -200.0, 0.03])
COVARIANCE = (
    np.diag([1.0, 50.0, 0.01]) @ [[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]] @ np.diag([1.0, 50.0, 0.01])
)


def honest(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw an honest account's vectors: two columns depend on each other."""
    return rng.multivariate_normal(MEAN, COVARIANCE, LIFE).astype(np.float32)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Honest accounts, and one thief whose columns do not depend on each other."""
    rng = np.random.default_rng(0)
    lives = {f"account-{number}": ("benign", honest(rng)) for number in range(ACCOUNTS)}
    mixed = np.stack([rng.permutation(column) for column in honest(rng).T], axis=1)
    return written(tmp_path_factory.mktemp("trace") / "t.parquet", lives | {"t": ("mix", mixed)})


def written(path: Path, lives: dict[str, tuple[str, NDArray[Any]]], model: str = "prices") -> Path:
    """Write a trace, ten rows an event."""
    batches = [
        many_query_rows(
            [
                QueryEvent(
                    id=f"{account}-{first}",
                    account=account,
                    model=model,
                    time=START + first,
                    inputs=Tensor.from_array(rows[first : first + 10]),
                    labels=[0] * 10,
                )
            ],
            [first],
            trace=path.stem,
            kind=kind,
        )
        for account, (kind, rows) in lives.items()
        for first in range(0, len(rows), 10)
    ]
    write_parquet(pa.Table.from_batches(batches, schema=QUERIES), path)
    return path


def calibrated(trace: Path, out: Path, *more: str) -> Result:
    """Calibrate the likelihood at 10 %, without networks."""
    options = ["--detector", "likelihood", "--life", str(LIFE), "--alpha", "0.1", "--jobs", "1"]
    return CliRunner().invoke(
        calibrate,
        [str(trace), "--out", str(out), "--exclude-kind", "mix", *options, *more],
    )


def test_calibrate_needs_no_networks_for_vectors(trace: Path, tmp_path: Path) -> None:
    """A threshold is chosen; the density lies beside the profile; the thief is caught by it."""
    out = tmp_path / "prices.json"
    result = calibrated(trace, out)
    assert result.exit_code == 0, result.output
    [used] = json.loads(out.read_text())["detectors"]
    assert np.isfinite(used["threshold"])
    options = ["--profile", str(out), "--out", str(tmp_path / "d"), "--jobs", "1"]
    told = CliRunner().invoke(evaluate, [str(trace), *options, "--format", "json"])
    rows = {row["kind"]: row for row in json.loads(told.stdout)["results"]}
    assert rows["mix"]["alarmed"] == 1
    assert rows["benign"]["alarmed"] <= 0.2 * ACCOUNTS


def test_the_density_is_that_of_the_traffic(trace: Path, tmp_path: Path) -> None:
    """It ranks rows as the density does that the traffic was drawn from (scipy)."""
    fit_own_density([trace], tmp_path, life=LIFE, exclude_kinds=["mix"])
    network = load((tmp_path / "log_likelihood.safetensors").read_bytes())
    rows = np.random.default_rng(1).multivariate_normal(MEAN, 2 * COVARIANCE, 300)
    known = multivariate_normal(MEAN, COVARIANCE).logpdf(rows)
    assert np.corrcoef(network(rows.astype(np.float32))[:, 0], known)[0, 1] > 0.95


def test_accounts_of_the_density_calibrate_nothing_more(trace: Path, tmp_path: Path) -> None:
    """A fifth are named on stderr and in the plan, and neither choose nor measure."""
    result = calibrated(trace, tmp_path / "a.json", "--format", "json")
    told = json.loads(result.stdout)
    trained = told["plan"]["trained"]
    assert len(trained) == ACCOUNTS // 5
    assert f"a density was fitted to {len(trained)} accounts" in result.stderr
    used = {each["account"] for each in told["accounts"]}
    assert used == {f"account-{number}" for number in range(ACCOUNTS)} - set(trained)


def test_the_same_command_makes_the_same_profile(trace: Path, tmp_path: Path) -> None:
    """Accounts are drawn by the seed, so that thresholds and networks are equal to the bit."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert calibrated(trace, tmp_path / name / "p.json").exit_code == 0
    made = [sorted((tmp_path / name).iterdir()) for name in ("a", "b")]
    assert [path.name for path in made[0]] == ["p.json", "p.log_likelihood.safetensors"]
    for one, other in zip(*made, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_what_a_density_cannot_be_fitted_to_is_refused(trace: Path, tmp_path: Path) -> None:
    """Images, traces of several models, and too few accounts, each with what helps."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    lives = dict.fromkeys(("a", "b"), ("benign", pictures))
    image = written(tmp_path / "images.parquet", lives)
    with pytest.raises(ProfileError, match=r"\(8, 8\) takes --networks .*`gamekeeper train --only"):
        fit_own_density([image], tmp_path, life=20)
    other = written(tmp_path / "other.parquet", {"a": ("benign", honest(rng))}, model="rents")
    with pytest.raises(TraceError, match="of prices, rents; choose one of these with --model"):
        fit_own_density([trace, other], tmp_path, life=LIFE)
    with pytest.raises(TraceError, match="of rents; choose one of these with --model"):
        fit_own_density([other], tmp_path, life=LIFE, model="prices")
    with pytest.raises(TraceError, match=r"1 of the accounts reach 100 queries.* a shorter --life"):
        fit_own_density([other], tmp_path, life=LIFE)


def test_a_missing_library_is_named_with_its_extra(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibration is installed without what fits densities."""
    for name in ("sklearn.exceptions", "sklearn.mixture"):
        monkeypatch.setitem(sys.modules, name, None)
    result = calibrated(trace, tmp_path / "a.json")
    assert isinstance(result.exception, ProfileError)
    assert "gamekeeper[train]" in str(result.exception)


def test_whom_analysts_call_a_thief_teaches_no_density(trace: Path, tmp_path: Path) -> None:
    """Nor does who has an open finding; all others may."""
    said = [(f"account-{number}", "prices") for number in range(ACCOUNTS - 5)]
    feedback = Feedback(thieves=frozenset({("t", "prices"), *said[:20]}), open=frozenset(said[20:]))
    [chosen] = fit_own_density([trace], tmp_path, life=LIFE, feedback=feedback)
    assert chosen in {f"account-{number}" for number in range(ACCOUNTS - 5, ACCOUNTS)}
