"""Options on the networks' scale, chosen from benign accounts; profiles with networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner, Result
from scipy.spatial.distance import cdist

from gamekeeper.detectors.base import EMBEDDING, OOD, Batch
from gamekeeper.detectors.catalog import FITTED
from gamekeeper.detectors.networks import build, dump, load
from gamekeeper.detectors.out_of_distribution import OutOfDistribution
from gamekeeper.detectors.similarity import Similarity
from gamekeeper.detectors.vectors import nearest_earlier
from gamekeeper.detectors.vectors.spacing import PAIRS
from gamekeeper.replay.cli.calibrate import calibrate
from gamekeeper.replay.cli.evaluate import evaluate
from gamekeeper.replay.cli.profile import profile
from gamekeeper.replay.traces import SAMPLE
from gamekeeper.replay.tune.evaluation import evaluate as replay
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, many_query_rows, write_parquet
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.profile_files import load_networks, load_profile
from support.traces import START

SPECS: dict[str, dict[str, Any]] = {
    "embedding": {
        "kind": "conv-encoder",
        "shape": [8, 8],
        "channels": [4],
        "hidden": 16,
        "dimensions": 8,
    },
    "log_likelihood": {
        "kind": "vq-vae",
        "shape": [8, 8],
        "hidden": 8,
        "residual": 4,
        "codes": 16,
        "code": 4,
    },
}
OOD_SPEC = SPECS["embedding"] | {"kind": "ood-msp", "classes": 4}
ACCOUNTS, LIFE = 24, 120


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as training leaves it, of untrained networks for 8x8 images."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    for feature, spec in SPECS.items():
        (folder / f"{feature}.safetensors").write_bytes(dump(build(spec), spec))
    return folder


@pytest.fixture(scope="module")
def images() -> list[np.ndarray[Any, Any]]:
    """Each account's images."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (LIFE, 8, 8), dtype=np.uint8) for _ in range(ACCOUNTS)]


@pytest.fixture(scope="module")
def trace(images: list[np.ndarray[Any, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The accounts as a trace."""
    return written(images, tmp_path_factory.mktemp("trace") / "benign.parquet")


def written(images: list[np.ndarray[Any, Any]], path: Path, *, embedded: bool = False) -> Path:
    """Write accounts as a trace, ten images an event; `embedded` with 4 pixels as embedding."""
    batches = []
    for number, own in enumerate(images):
        for first in range(0, LIFE, 10):
            event = QueryEvent(
                id=f"{number}-{first}",
                account=f"account-{number}",
                model="digits",
                time=START + first,
                inputs=Tensor.from_array(own[first : first + 10]),
                labels=[0] * 10,
                embedding=Tensor.from_array(own[first : first + 10, 0, :4].astype(np.float32))
                if embedded
                else None,
            )
            batches.append(many_query_rows([event], [first], trace="plain", kind="benign"))
    write_parquet(pa.Table.from_batches(batches, schema=QUERIES), path)
    return path


def run(command: click.Command, *arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(command, [*map(str, arguments)])


def calibrated(trace: Path, networks: Path, out: Path, *more: str) -> Result:
    """Calibrate at 25 % over the whole life."""
    options = ("--alpha", "0.25", "--life", str(LIFE), "--jobs", "1", "--networks", networks)
    return run(calibrate, trace, "--out", out, *options, *more)


def chosen_for(name: str, accounts: list[Any]) -> float:
    """Choose a detector's option from accounts' features `(n, d)`."""
    fitted = FITTED[name]
    return fitted.choose([fitted.read(each) for each in accounts])


def test_nearest_earlier_distances_against_all_pairs() -> None:
    """Written the obvious way with scipy; repeats are left aside."""
    vectors = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
    vectors[650] = vectors[3]
    kept = np.delete(vectors, 650, axis=0).astype(np.float64)
    distances = cdist(kept, kept)
    truth = [distances[row, :row].min() for row in range(1, len(kept))]
    np.testing.assert_allclose(nearest_earlier(vectors), truth, rtol=1e-6)


def test_the_average_account_makes_so_many_pairs() -> None:
    """The detector counts what delta was chosen for."""
    rng = np.random.default_rng(0)
    accounts = [rng.normal(size=(400, 4)).astype(np.float32) for _ in range(6)]
    chosen = chosen_for("similarity", accounts)
    pairs = []
    for each in accounts:
        labels = np.zeros(len(each), np.int64)
        batch = Batch(0, np.zeros((len(each), 1)), labels, None, {EMBEDDING: each})
        pairs.append(Similarity(delta=chosen).update(batch)[-1])
    assert np.mean(pairs) == PAIRS


def test_what_cannot_be_chosen_is_said() -> None:
    """Too few embeddings, or no density, name the option that helps."""
    with pytest.raises(ProfileError, match=r"--set similarity.delta="):
        FITTED["similarity"].choose([np.ones(5)])
    with pytest.raises(ProfileError, match="--networks"):
        FITTED["likelihood"].choose([np.empty(0)])
    with pytest.raises(ProfileError, match="--networks"):
        FITTED["ood"].choose([np.empty(0)])


def test_one_benign_query_in_twenty_is_out_of_distribution() -> None:
    """The detector finds that share over all accounts, however unlike they are."""
    rng = np.random.default_rng(0)
    accounts = [rng.normal(mean, 1, 400).astype(np.float32) for mean in range(5)]
    chosen = chosen_for("ood", [each[:, None] for each in accounts])
    above = []
    for each in accounts:
        detector = OutOfDistribution(cut=chosen)
        labels = np.zeros(len(each), np.int64)
        detector.update(Batch(0, np.zeros((len(each), 1)), labels, None, {OOD: each[:, None]}))
        above.append(detector.evidence(-1)["out_of_distribution"])
    assert sum(above) == 0.05 * 5 * 400
    assert above[0] < 0.05 * 400 < above[4]


def test_calibrate_with_networks_makes_a_profile_of_three_detectors(
    trace: Path, networks: Path, images: list[np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    """Networks lie beside it, scales fit the accounts, and evaluate and verify can use it."""
    out = tmp_path / "digits.json"
    result = calibrated(trace, networks, out)
    assert result.exit_code == 0, result.output
    made = load_profile(out)
    assert [each.detector for each in made.detectors] == ["prada", "similarity", "likelihood"]
    assert {each.file for each in made.networks} == {
        "digits.embedding.safetensors",
        "digits.log_likelihood.safetensors",
    }
    density = load((networks / "log_likelihood.safetensors").read_bytes())
    means = [float(density(each).mean(dtype=np.float64)) for each in images]
    chosen = {each.detector: each.options for each in made.detectors}
    assert min(means) <= chosen["likelihood"]["center"] <= max(means)
    assert chosen["similarity"]["delta"] > 0
    assert run(profile, "verify", out, trace).exit_code == 0
    scored = run(
        evaluate,
        trace,
        "--out",
        tmp_path / "out",
        "--profile",
        out,
        "--jobs",
        "1",
        "--format",
        "json",
    )
    assert scored.exit_code == 0, scored.output
    detectors = {row["detector"] for row in json.loads(scored.stdout)["results"]}
    assert detectors == {"prada", "similarity", "likelihood", "any"}


def test_the_ood_detector_joins_where_its_network_is(
    trace: Path, networks: Path, images: list[np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    """Its cut is the scores' quantile; of several networks in a folder all detectors run."""
    folder, out = tmp_path / "networks", tmp_path / "digits.json"
    shutil.copytree(networks, folder)
    (folder / "log_likelihood.safetensors").unlink()
    torch.manual_seed(0)
    (folder / "ood.safetensors").write_bytes(dump(build(OOD_SPEC), OOD_SPEC))
    result = calibrated(trace, folder, out)
    assert result.exit_code == 0, result.output
    made = load_profile(out)
    assert [each.detector for each in made.detectors] == ["prada", "similarity", "ood"]
    assert {each.feature for each in made.networks} == {"embedding", "ood"}
    score = load((folder / "ood.safetensors").read_bytes())
    scores = np.concatenate([score(each) for each in images])
    ood = made.detectors[2]
    # Of half of the accounts, those that calibrate.
    assert 0.02 < (scores > ood.options["cut"]).mean() < 0.08
    assert 0 < (ood.threshold or 0) < 0.5
    assert run(profile, "verify", out, trace).exit_code == 0
    result = calibrated(trace, folder, out, "--detector", "ood", "--set", "ood.cut=0.5")
    assert result.exit_code == 0, result.output
    [only] = load_profile(out).detectors
    assert only.options == {"cut": 0.5}


def test_each_calibration_draws_its_own_secret(trace: Path, networks: Path, tmp_path: Path) -> None:
    """Who reads the source, or what is printed, must not know which vectors are kept."""
    secrets = set()
    for name in ("one", "two"):
        result = calibrated(trace, networks, tmp_path / f"{name}.json", "--detector", "similarity")
        assert result.exit_code == 0, result.output
        [only] = load_profile(tmp_path / f"{name}.json").detectors
        secrets.add(only.options["secret"])
    assert len(secrets) == 2
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    json_too = ("--format", "json", "--jobs", "1")
    delta = ("--set", "similarity.delta=0.125")
    printed = [
        run(profile, "show", one),
        run(profile, "show", one, "--format", "json"),
        run(profile, "diff", one, two),
        run(profile, "verify", one, trace, *json_too),
        run(evaluate, trace, "--out", tmp_path / "out", "--profile", one, *json_too),
        calibrated(trace, networks, two, "--detector", "similarity", "--format", "json", *delta),
    ]
    [only] = load_profile(two).detectors
    assert only.options["delta"] == 0.125
    secrets.add(only.options["secret"])
    for each in printed:
        assert each.exit_code in (0, 1), each.output
        assert "secret" in each.stdout
        assert not [secret for secret in secrets if str(secret) in each.output]


def test_a_secret_is_never_an_argument(trace: Path, networks: Path, tmp_path: Path) -> None:
    """Other users see arguments; what is said names no secret either."""
    sets = ("--set", "similarity.secret=8675309")
    for result in (
        calibrated(trace, networks, tmp_path / "a.json", "--detector", "similarity", *sets),
        run(evaluate, trace, "--out", tmp_path, "--detector", "similarity", *sets),
    ):
        assert "draws one into the profile" in str(result.exception)
        assert "8675309" not in str(result.exception)


def test_events_own_embeddings_get_a_secret_too(
    images: list[np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    """Similarity without a network draws one as well, unless the profile has one."""
    path = written(images, tmp_path / "embedded.parquet", embedded=True)
    options = ("--alpha", "0.25", "--life", str(LIFE), "--jobs", "1", "--detector", "similarity")
    options += ("--set", "similarity.delta=40")
    found = []
    for more in ((), (), ("--profile", tmp_path / "1.json")):
        out = tmp_path / f"{len(found)}.json"
        result = run(calibrate, path, "--out", out, *options, *more)
        assert result.exit_code == 0, result.output
        [only] = load_profile(out).detectors
        found.append(only.options["secret"])
    assert 0 not in found
    assert found[0] != found[1] == found[2]


def test_embeddings_of_events_are_scale_enough(
    images: list[np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    """Without a network, similarity's delta and threshold come of the embeddings in the trace."""
    path = written(images, tmp_path / "embedded.parquet", embedded=True)
    options = ("--alpha", "0.25", "--life", str(LIFE), "--jobs", "1", "--detector", "similarity")
    result = run(calibrate, path, "--out", tmp_path / "a.json", *options)
    assert result.exit_code == 0, result.output
    [only] = load_profile(tmp_path / "a.json").detectors
    halves = [each[:, 0, :4].astype(np.float32) for each in images]
    assert any(
        only.options["delta"] == np.float64(value)
        for each in halves
        for value in nearest_earlier(each)
    )
    assert only.threshold is not None


def test_a_density_that_is_missing_is_named_with_what_makes_it(trace: Path, tmp_path: Path) -> None:
    """Likelihood without networks says which command trains one, and where its folder goes."""
    options = ("--alpha", "0.25", "--life", str(LIFE), "--jobs", "1", "--detector", "likelihood")
    result = run(calibrate, trace, "--out", tmp_path / "a.json", *options)
    assert "gamekeeper train --only log_likelihood" in str(result.exception)
    assert "--networks" in str(result.exception)


def test_what_is_wrong_with_networks_is_said(trace: Path, networks: Path, tmp_path: Path) -> None:
    """A missing file, a changed one, a profile beside --networks."""
    (tmp_path / "empty").mkdir()
    missing = calibrated(trace, tmp_path / "empty", tmp_path / "a.json")
    assert "gamekeeper train" in str(missing.exception)
    both = calibrated(trace, networks, tmp_path / "a.json", "--profile", "b.json")
    assert "not both" in both.output
    assert calibrated(trace, networks, tmp_path / "a.json").exit_code == 0
    (tmp_path / "a.embedding.safetensors").write_bytes(b"something else")
    changed = run(profile, "verify", tmp_path / "a.json", trace)
    assert "not the network that the profile was calibrated with" in str(changed.exception)
    (tmp_path / "a.embedding.safetensors").unlink()
    gone = run(profile, "verify", tmp_path / "a.json", trace)
    assert "lie beside it" in str(gone.exception)


def test_a_profile_is_calibrated_again_with_its_own_networks(
    trace: Path, networks: Path, tmp_path: Path
) -> None:
    """They are copied beside the new one; what was fitted to them stays."""
    one, two = tmp_path / "one.json", tmp_path / "sub" / "two.json"
    two.parent.mkdir()
    assert calibrated(trace, networks, one).exit_code == 0
    common = ("--alpha", "0.25", "--life", str(LIFE), "--jobs", "1", "--profile", one)
    again = run(calibrate, trace, "--out", two, *common)
    assert again.exit_code == 0, again.output
    before, after = load_profile(one), load_profile(two)
    assert after.detectors == before.detectors
    assert {each.sha256 for each in after.networks} == {each.sha256 for each in before.networks}
    assert len(load_networks(after, two.parent)) == len(before.networks) == 2
    (tmp_path / "one.embedding.safetensors").unlink()
    gone = run(calibrate, trace, "--out", tmp_path / "three.json", *common)
    assert "lie beside it" in str(gone.exception)


def test_spacing_is_fitted_to_inputs_without_networks(tmp_path: Path) -> None:
    """To what the calibration's accounts sent; the sample's five thieves are then flagged."""
    thieves = ("jb-self", "jb-topk", "papernot", "t-rnd", "tramer")
    without = [text for kind in thieves for text in ("--exclude-kind", kind)]
    out = tmp_path / "mine.json"
    common = ("--alpha", "0.3", "--life", "300", "--detector", "spacing", "--jobs", "1")
    done = run(calibrate, SAMPLE, "--out", out, *common, *without)
    assert done.exit_code == 0, done.output
    [found] = load_profile(out).detectors
    start, slope, deviation = map(float, found.options["usual"].split(","))
    assert start > 0 > slope
    assert 0 < deviation < 1
    lives = replay([SAMPLE], tmp_path / "o", load_profile(out))
    caught = {each.life.kind for each in lives if each.tallies[0].detection is not None}
    assert caught >= set(thieves)
