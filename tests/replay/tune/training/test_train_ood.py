"""Training of the out-of-distribution scores: what each takes, refuses, and is worth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score

from gamekeeper.detectors.engine import DetectorProfile, Engine, Profile, resolve
from gamekeeper.detectors.networks import OodMahalanobis, load, prepare
from gamekeeper.detectors.networks.featurizer import restore
from gamekeeper.replay.cli.train import train as command
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.training import SCORES, Report, Score, Step, TrainPlan, split, train
from gamekeeper.schemas.errors import SettingsError, TraceError
from support.traces import arrival

each_score = pytest.mark.parametrize("score", SCORES)


def dataset(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Dataset:
    """Make a data set of images in their order."""
    return Dataset(inputs=images, labels=labels)


@pytest.fixture(scope="module")
def own() -> Dataset:
    """Five hundred digits of 8x8 pixels."""
    loaded = load_digits()
    return dataset((loaded.images[:500] * 15).astype(np.uint8), loaded.target[:500])


@pytest.fixture(scope="module")
def outliers() -> Dataset:
    """Digits that nobody writes: with ink for paper."""
    loaded = load_digits()
    images = 255 - (loaded.images[500:900] * 15).astype(np.uint8)
    return dataset(images, loaded.target[500:900])


def plan(score: Score, epochs: int = 25) -> TrainPlan:
    """Train one score's small network."""
    return TrainPlan(features=("ood",), size="small", epochs=epochs, ood_score=score)


@pytest.fixture(scope="module")
def trained(
    own: Dataset, outliers: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Report, Path]]:
    """Each score's network, in a folder of its own."""
    found = {}
    for score in SCORES:
        out = tmp_path_factory.mktemp(score)
        found[score] = train(own, plan(score), out, outliers=outliers), out
    return found


@each_score
def test_each_score_tells_outliers_and_noise(
    score: str, trained: dict[str, tuple[Report, Path]]
) -> None:
    """The report's AUROC and FPR at 95 % TPR are those of the file's scores of rows held out."""
    [network] = trained[score][0].networks
    assert (network.feature, network.spec["kind"]) == ("ood", f"ood-{score}")
    assert network.figures["accuracy"] > 0.8
    floor = 0.99 if score == "binary" else 0.6
    assert network.figures["auroc_of_outliers"] > floor
    assert network.figures["fpr_at_95_tpr_of_outliers"] < 1


@each_score
def test_figures_are_those_of_the_file(
    score: str, trained: dict[str, tuple[Report, Path]], own: Dataset, outliers: Dataset
) -> None:
    """By scikit-learn, from the scores that the file gives to the rows held out."""
    report, out = trained[score]
    run = load((out / "ood.safetensors").read_bytes())
    share = TrainPlan().held_out
    mine, theirs = (
        run(each.inputs[split(each, share, 0).held_out])[:, 0] for each in (own, outliers)
    )
    figures = report.networks[0].figures
    truth = [0] * len(mine) + [1] * len(theirs)
    auroc = roc_auc_score(truth, np.concatenate([mine, theirs]))
    assert figures["auroc_of_outliers"] == pytest.approx(auroc, abs=1e-3)
    passing = (theirs <= np.quantile(mine, 0.95)).mean()
    assert figures["fpr_at_95_tpr_of_outliers"] == pytest.approx(passing, abs=0.02)
    assert figures["score"]["0.5"] == pytest.approx(float(np.median(mine)), rel=1e-3)


@pytest.mark.parametrize("score", ["binary", "mahalanobis"])
def test_an_account_with_other_images_alarms(
    score: str, trained: dict[str, tuple[Report, Path]], own: Dataset, outliers: Dataset
) -> None:
    """The engine finds an honest account that turns to other images, and no account that stays."""
    run = load((trained[score][1] / "ood.safetensors").read_bytes())
    mine, theirs = (each.inputs[split(each, 0.15, 0).held_out] for each in (own, outliers))
    each = DetectorProfile(detector="ood", options={"cut": float(np.quantile(run(mine), 0.95))})
    engine = Engine(resolve(Profile(name="test", detectors=(each,))), [run])
    honest = np.concatenate([mine] * 3)
    arrivals = [
        arrival(account, inputs)
        for account, inputs in (
            ("honest", honest),
            ("turned", np.concatenate([honest[:30], *[theirs] * 3])),
        )
    ]
    stays, turned = engine.process(arrivals)
    assert not stays.verdicts
    assert turned.verdicts[0].activity == "create"
    assert turned.verdicts[0].query < 160


def test_mahalanobis_is_fitted_to_the_training_rows(
    trained: dict[str, tuple[Report, Path]], own: Dataset
) -> None:
    """Means per class and one covariance, by scikit-learn; distances are SciPy's."""
    data = (trained["mahalanobis"][1] / "ood.safetensors").read_bytes()
    module, spec = restore(data)
    assert isinstance(module, OodMahalanobis)
    rows = split(own, TrainPlan().held_out, 0).train
    with torch.no_grad():
        seen = module.eval().trunk(prepare(own.inputs[rows], spec)).double().numpy()
    labels = own.labels[rows]
    means = np.stack([seen[labels == each].mean(0) for each in range(10)])
    within = EmpiricalCovariance(assume_centered=True).fit(seen - means[labels])
    expected = [min(mahalanobis(x, m, within.precision_) for m in means) ** 2 for x in seen[:30]]
    assert load(data)(own.inputs[rows[:30]])[:, 0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("score", SCORES[1:])
def test_baselines_take_no_outliers(score: Score, own: Dataset, tmp_path: Path) -> None:
    """Without them they are measured on noise alone; their weights are the same."""
    report = train(own, plan(score, 1), tmp_path / "without")
    assert "auroc_of_noise" in report.networks[0].figures
    assert "auroc_of_outliers" not in report.networks[0].figures
    with_them = train(own, plan(score, 1), tmp_path / "with", outliers=own)
    assert with_them.networks[0].sha256 == report.networks[0].sha256


def test_what_cannot_be_trained_is_refused(own: Dataset, tmp_path: Path) -> None:
    """No outliers for the binary score, outliers unlike the data, one class for the others."""
    with pytest.raises(SettingsError, match="--outliers"):
        train(own, plan("binary"), tmp_path)
    for wrong, told in (
        (np.zeros((9, 9, 9), np.uint8), "9x9 of uint8"),
        (np.zeros((9, 8, 8)), "8x8 of float64"),
    ):
        others = dataset(wrong, np.arange(9))
        with pytest.raises(TraceError, match=f"outliers are {told}, the data is 8x8 of uint8"):
            train(own, plan("binary"), tmp_path, outliers=others)
    ones = dataset(own.inputs, np.zeros(len(own), np.int64))
    with pytest.raises(TraceError, match="all labels are the same"):
        train(ones, plan("msp"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_class_is_enough_for_the_binary_score(
    own: Dataset, outliers: Dataset, tmp_path: Path
) -> None:
    """It tells own rows from outliers, whatever they are called."""
    ones = dataset(own.inputs, np.zeros(len(own), np.int64))
    [network] = train(ones, plan("binary", 2), tmp_path, outliers=outliers).networks
    assert network.figures["auroc_of_outliers"] > 0.9


@each_score
def test_vectors_are_scored_too(score: Score, tmp_path: Path) -> None:
    """Benign columns against the same ones shuffled: a perceptron tells them."""
    loaded = load_breast_cancer()
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(loaded.data, axis=0)
    table = Dataset(loaded.data, loaded.target.astype(np.int64))
    others = Dataset(shuffled, loaded.target.astype(np.int64))
    [network] = train(table, plan(score, 20), tmp_path, outliers=others).networks
    assert network.spec["shape"] == [30]
    assert network.figures["auroc_of_outliers"] > (0.9 if score == "binary" else 0.5)


def test_an_interrupted_training_ends_the_same(
    own: Dataset, outliers: Dataset, tmp_path: Path
) -> None:
    """Given again, it goes on to the same bytes; with other outliers it is refused."""

    def interrupt(step: Step) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    train(own, plan("binary", 3), tmp_path / "whole", outliers=outliers)
    with pytest.raises(KeyboardInterrupt):
        train(own, plan("binary", 3), tmp_path / "cut", interrupt, outliers=outliers)
    fewer = dataset(outliers.inputs[1:], outliers.labels[1:])
    with pytest.raises(SettingsError, match="another outliers"):
        train(own, plan("binary", 3), tmp_path / "cut", outliers=fewer)
    steps: list[Step] = []
    train(own, plan("binary", 3), tmp_path / "cut", steps.append, outliers=outliers)
    assert [step.done for step in steps] == [3]
    for file in ("ood.safetensors", "report.json"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def run(*arguments: str | Path) -> Result:
    """Run `gamekeeper train` in this process."""
    return CliRunner().invoke(command, [*map(str, arguments)])


@pytest.fixture(scope="module")
def files(own: Dataset, outliers: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both sets as archives."""
    folder = tmp_path_factory.mktemp("data")
    for name, each in (("own", own), ("others", outliers)):
        np.savez(folder / f"{name}.npz", x=each.inputs[:200], y=each.labels[:200])
    return folder


def test_the_command_trains_on_outliers(files: Path, tmp_path: Path) -> None:
    """With outliers, ood is trained beside the other two, or alone; figures are printed."""
    options = ["--out", tmp_path, "--size", "small", "--epochs", "1"]
    outliers = ["--outliers", files / "others.npz"]
    done = run(files / "own.npz", *options, *outliers, "--only", "ood")
    assert done.exit_code == 0, done.output
    assert "auroc of outliers" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"ood.safetensors", "report.json"}
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["data"]["outliers"]["rows"] == 200
    done = run(files / "own.npz", *options, "--ood-score", "msp", "--format", "json")
    assert done.exit_code == 0, done.output
    features = [network["feature"] for network in json.loads(done.stdout)["networks"]]
    assert features == ["embedding", "log_likelihood", "ood"]


def test_the_command_refuses_what_has_no_use(files: Path, tmp_path: Path) -> None:
    """Outliers for another network, and the binary score without them."""
    alone = run(files / "own.npz", "--out", tmp_path, "--only", "ood")
    assert "--outliers" in str(alone.exception)
    other = run(files / "own.npz", "--out", tmp_path, "--only", "embedding", "--ood-score", "msp")
    assert other.exit_code == 2
    assert "not for --only embedding" in other.output
