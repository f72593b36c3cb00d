"""`gamekeeper attack` and `gamekeeper evasion`: what is recorded, printed and refused."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from sklearn.datasets import load_digits

from gamekeeper.replay.theft.attacks import ATTACKS
from gamekeeper.replay.theft.evasions import EVASIONS
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording.journal import Journal
from gamekeeper.replay.theft.victims import read_victim, write_victim
from gamekeeper.schemas.tables import QUERIES
from gamekeeper.stream.cli.main import main
from support.processes import python, spawned

BUDGET = 60
SEEDS = 20  # two of each class
SLOW = """
import signal
from pathlib import Path

from gamekeeper.replay.theft.victims.files import read_victim

network = read_victim(Path("victim.safetensors"))
log = Path("asked")

def victim(images):
    before = log.read_text().count(".") if log.exists() else 0
    if before >= 40 and not Path("go").exists():
        Path("waiting").touch()
        signal.pause()
    with log.open("a") as file:
        file.write("." * len(images))
    return network(images)
"""


@pytest.fixture(scope="module", autouse=True)
def _threads() -> Iterator[None]:
    """Put back the number of threads that the command sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with digits and a victim that knows them."""
    path = tmp_path_factory.mktemp("attack")
    loaded = load_digits()
    images = (loaded.images * 15).astype(np.uint8)
    np.savez(path / "digits.npz", x=images[:600], y=loaded.target[:600])
    np.savez(path / "pool.npz", x=images[600:650], y=loaded.target[600:650])
    np.savez(path / "wide.npz", x=images[:600].repeat(2, axis=2), y=loaded.target[:600])
    victim = Classifier(Architecture((8, 8), 10), 0)
    victim.fit(images[600:], loaded.target[600:], 4)
    write_victim(victim, path / "victim.safetensors")
    return path


def run(*arguments: str | Path) -> Result:
    """Run `gamekeeper ARGUMENTS` in this process."""
    return CliRunner().invoke(main, [*map(str, arguments)])


def attack(folder: Path, out: Path, *options: str | Path, name: str = "papernot") -> Result:
    """Steal the folder's victim."""
    known = "--victim", folder / "victim.safetensors", "--data", folder / "digits.npz"
    small = "--seeds", "2", "--budget", str(BUDGET), "--out", out
    return run("attack", name, *known, *small, *options)


def steal(folder: Path, out: Path, *options: str | Path, name: str = "papernot") -> pa.Table:
    """Steal the folder's victim and read the trace."""
    result = attack(folder, out, *options, name=name)
    assert result.exit_code == 0, result.output
    return pq.read_table(out)


def pixels(table: pa.Table) -> np.typing.NDArray[np.uint8]:
    """Read the images of a trace."""
    tensors = bytearray().join(table["tensor"].to_pylist())
    return np.frombuffer(tensors, np.uint8).reshape(-1, 8, 8)


def test_an_attack_is_a_trace_of_what_the_victim_saw(folder: Path, tmp_path: Path) -> None:
    """Seeds of the data, crafted images after them, each with the victim's own answer."""
    table = steal(folder, tmp_path / "stolen.parquet")
    assert table.schema.equals(QUERIES)
    assert table["query"].to_pylist() == list(range(BUDGET))
    assert table["synthetic"].to_pylist() == [False] * SEEDS + [True] * (BUDGET - SEEDS)
    assert table["round"].to_pylist() == [0] * 20 + [1] * 20 + [2] * 20
    for name, value in {
        "kind": "papernot",
        "trace": "stolen",
        "account": "thief",
        "model": "victim",
    }.items():
        assert pc.unique(table[name]).to_pylist() == [value]
    with np.load(folder / "digits.npz") as data:
        labels = {bytes(image): label for image, label in zip(data["x"], data["y"], strict=True)}
    seeds = [labels[bytes(image)] for image in pixels(table)[:SEEDS]]
    assert np.bincount(seeds).tolist() == [2] * 10
    answers = read_victim(folder / "victim.safetensors")(pixels(table))
    assert table["label"].to_pylist() == answers.labels.tolist()
    probabilities = np.array(table["probabilities"].to_pylist(), np.float32)
    np.testing.assert_allclose(probabilities, answers.probabilities, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["stolen.parquet"]


def test_the_trace_is_named_and_cut_as_asked(folder: Path, tmp_path: Path) -> None:
    """Account, model and rows per event are options; the queries stay the same."""
    plain = steal(folder, tmp_path / "plain.parquet")
    options = "--account", "acct-7", "--model", "digits", "--rows", "3"
    named = steal(folder, tmp_path / "named.parquet", *options)
    assert pc.unique(named["account"]).to_pylist() == ["acct-7"]
    assert pc.unique(named["model"]).to_pylist() == ["digits"]
    assert pc.max(named["row"]).as_py() == 2
    assert pc.max(plain["row"]).as_py() == 15
    assert named["tensor"].equals(plain["tensor"])


def test_the_seed_decides_all_that_is_drawn(folder: Path, tmp_path: Path) -> None:
    """The same command makes the same bytes, another seed other queries."""
    for name, seed in {"a": "5", "b": "5", "c": "6"}.items():
        steal(folder, tmp_path / name / "t.parquet", "--seed", seed)
    a, b, c = ((tmp_path / name / "t.parquet").read_bytes() for name in "abc")
    assert a == b != c


def test_options_of_the_attack_are_set(folder: Path, tmp_path: Path) -> None:
    """A reservoir of 5 sends five images a round."""
    table = steal(folder, tmp_path / "t.parquet", "--set", "reservoir=5")
    assert np.bincount(table["round"].to_pylist()).tolist() == [20, *[5] * 8]


def test_evasions_hide_the_attack(folder: Path, tmp_path: Path) -> None:
    """They are in the kind, their options are set, and their accounts are told apart."""
    hiding = "--evasion", "split-round-robin", "--evasion", "duplicates"
    options = "--set", "split-round-robin.accounts=3", "--set", "duplicates.repeats=1"
    table = steal(folder, tmp_path / "t.parquet", *hiding, *options, "--account", "eve")
    assert pc.unique(table["kind"]).to_pylist() == ["papernot+split-round-robin+duplicates"]
    counts = table.group_by("account").aggregate([("query", "count")]).to_pydict()
    sizes = dict(zip(counts["account"], counts["query_count"], strict=True))
    assert sizes == {"eve": 39, "eve-2": 39, "eve-3": 39}  # 20 each, and 19 repeats between them


def test_a_pool_is_what_a_thief_sends_of_his_own(folder: Path, tmp_path: Path) -> None:
    """With --pool the images that dilute an attack come from there, else from --data."""
    own = {bytes(image) for image in np.load(folder / "pool.npz")["x"]}
    for name, options, expected in (("rest", (), False), ("own", ("--pool", "pool.npz"), True)):
        given = [folder / each if each.endswith("npz") else each for each in options]
        hiding = "--evasion", "dilute", "--set", "dilute.share=0.5"
        table = steal(folder, tmp_path / f"{name}.parquet", *hiding, *given)
        sent = {bytes(image) for image in pixels(table)}
        assert bool(own & sent) == expected


def test_what_the_thief_has_is_written_on_request(folder: Path, tmp_path: Path) -> None:
    """Images, answers, and the number of queries that each had cost by then."""
    table = steal(folder, tmp_path / "t.parquet", "--loot", tmp_path / "loot.npz")
    with np.load(tmp_path / "loot.npz") as loot:
        assert sorted(loot) == ["images", "labels", "paid", "probabilities"]
        np.testing.assert_array_equal(loot["images"], pixels(table))
        assert loot["labels"].tolist() == table["label"].to_pylist()
        assert loot["probabilities"].shape == (BUDGET, 10)
        assert loot["paid"].tolist() == list(range(1, BUDGET + 1))


def test_json_is_one_document(folder: Path, tmp_path: Path) -> None:
    """What was asked for and what came of it, and nothing else on stdout."""
    result = attack(folder, tmp_path / "t.parquet", "--format", "json", name="tramer")
    told = json.loads(result.stdout)
    assert told["kind"] == "tramer"
    assert told["out"] == str(tmp_path / "t.parquet")
    assert (told["queries"], told["synthetic"], told["rounds"]) == (BUDGET, BUDGET, 1)
    assert (told["accounts"], told["labelled"], told["ended_early"]) == (["thief"], BUDGET, None)
    assert told["plan"]["budget"] == BUDGET
    assert told["plan"]["seeds"] == 2


def test_text_says_what_was_sent(folder: Path, tmp_path: Path) -> None:
    """Queries, rounds and the account; then the next command."""
    result = attack(folder, tmp_path / "t.parquet")
    assert "papernot: 60 queries, 40 of them synthetic, in 2 rounds" in result.stdout
    assert "the thief has 60 labelled images of" in result.stdout
    assert f"gamekeeper evaluate {tmp_path / 't.parquet'} --out results" in result.stderr


def test_a_thief_who_gives_up_is_reported(folder: Path, tmp_path: Path) -> None:
    """What he had sent by then is the trace, and the reason is said."""
    hiding = ["--evasion", "filter"]
    for setting in "patience=1", "rate=0.5", "epochs=1", f"keep={tmp_path / 'encoders'}":
        hiding += ["--set", f"filter.{setting}"]
    result = attack(folder, tmp_path / "t.parquet", *hiding)
    assert result.exit_code == 0, result.output
    assert "he ended early: " in result.stdout
    assert len(pq.read_table(tmp_path / "t.parquet")) < BUDGET
    assert len([*(tmp_path / "encoders").iterdir()]) == 1


def test_victims_of_ones_own_are_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function in the working directory is as good as a file; it names the model."""
    (tmp_path / "served.py").write_text(
        "import numpy as np\n"
        "def digits(images):\n"
        "    return np.eye(10)[images.reshape(len(images), -1).sum(axis=1) % 10]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    known = "--victim", "served:digits", "--data", folder / "digits.npz", "--seeds", "1"
    result = run("attack", "tramer", *known, "--budget", "20", "--out", "t.parquet")
    assert result.exit_code == 0, result.output
    table = pq.read_table("t.parquet")
    assert pc.unique(table["model"]).to_pylist() == ["digits"]
    assert (pixels(table).reshape(20, -1).sum(axis=1) % 10).tolist() == table["label"].to_pylist()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--set", "reservoir"], "--set reservoir: write OPTION=VALUE"),
        (["--set", "reservoire=3"], "--set reservoire: no option of papernot; it has reservoir"),
        (["--set", "pace.per_hour=3"], "--set pace.per_hour: add --evasion pace"),
        (["--evasion", "pace", "--set", "pace.speed=3"], "no option of pace; it has per_hour"),
        (["--evasion", "paces"], "unknown evasion 'paces'; did you mean pace?"),
        (["--seeds", "100"], "fewer --seeds"),
        (["--data", "absent.npz"], "absent.npz: no such file"),
        (["--pool", "absent.npz"], "absent.npz: no such file"),
        (["--victim", "absent.safetensors"], "absent.safetensors: no such file; make one"),
        (["--victim", "json:absent"], "json:absent: cannot be imported"),
        (["--out", os.devnull + "/t.parquet"], "cannot be written"),
    ],
)
def test_faults_are_one_line(options: list[str], reason: str, folder: Path, tmp_path: Path) -> None:
    """Each names what is wrong; nothing is left behind."""
    result = attack(folder, tmp_path / "t.parquet", *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_images_must_fit_the_victim(folder: Path, tmp_path: Path) -> None:
    """Data and pool have the shape that the victim takes."""
    known = "--victim", folder / "victim.safetensors", "--data", folder / "wide.npz"
    result = run("attack", "papernot", *known, "--budget", "9", "--out", tmp_path / "t.parquet")
    assert "the victim takes images of 8x8, the data are 8x16" in result.stderr
    result = attack(folder, tmp_path / "t.parquet", "--pool", folder / "wide.npz")
    assert "the pool's images are of shape (8, 16)" in result.stderr


def test_unknown_attacks_are_told_apart_from_near_misses() -> None:
    """A typing error gets a suggestion, anything else the list."""
    near, far = run("attack", "papernott", "--help"), run("attack", "xyz")
    assert (near.exit_code, far.exit_code) == (1, 1)
    assert "unknown attack 'papernott'; did you mean papernot?" in near.stderr
    assert "unknown attack 'xyz'. There are: tramer" in far.stderr


@pytest.mark.parametrize("arguments", [["attack", "list"], ["evasion", "list"]])
def test_catalogs_are_listed(arguments: list[str]) -> None:
    """Every entry with its line, its section and its options, as a table and as JSON."""
    entries = ATTACKS if arguments[0] == "attack" else EVASIONS
    rows = json.loads(run(*arguments, "--format", "json").stdout)
    assert [row[arguments[0]] for row in rows] == list(entries)
    text = run(*arguments, "--wide").stdout
    for row in rows:
        entry = entries[row[arguments[0]]]
        assert (row["summary"], row["paper"]) == (entry.summary, entry.paper)
        for shown in (row[arguments[0]], row["summary"], row["paper"], *row["options"]):
            assert shown in text


def test_help_shows_an_attacks_own_options() -> None:
    """Its docstring, its section and its options with their defaults; an example of its own."""
    text = " ".join(run("attack", "papernot", "--help").stdout.split())
    assert "Steal with JbDA" in text
    assert ATTACKS["papernot"].paper in text
    assert "reservoir=400 new queries per round at most." in text
    assert "Example: gamekeeper attack papernot --victim" in text
    assert "no options to --set" in " ".join(run("attack", "tramer", "--help").stdout.split())
    listed = run("attack", "--help").stdout
    assert all(name in listed for name in ATTACKS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["attack", "--help"],
        ["attack", "list"],
        ["attack", "papernot", "--help"],
        ["evasion", "list"],
    ],
    ids=" ".join,
)
def test_help_and_lists_load_no_torch(arguments: list[str]) -> None:
    """They answer at once: neither torch nor ART is imported."""
    code = (
        "import sys; from gamekeeper.stream.cli.main import main; main(standalone_mode=False); "
        "sys.exit('torch' in sys.modules or 'art' in sys.modules)"
    )
    done = python(code, *arguments)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def workplace(folder: Path, tmp_path: Path) -> Path:
    """A folder with a victim that stops answering after 40 queries, until there is a file `go`."""
    (tmp_path / "slow.py").write_text(SLOW)
    victim = (folder / "victim.safetensors").read_bytes()
    (tmp_path / "victim.safetensors").write_bytes(victim)
    return tmp_path


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_attack_goes_on(
    end: signal.Signals, folder: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again asks only what was not answered, and ends in the same trace."""
    data = "--data", str(folder / "digits.npz"), "--model", "victim"
    command = ["attack", "tramer", *data, "--seeds", "2", "--budget", "100"]
    arguments = [*command, "--victim", "slow:victim", "--out", "t.parquet"]
    with spawned(*arguments, environ={"OMP_NUM_THREADS": "1"}, cwd=workplace) as process:
        tick = threading.Event()
        while not (workplace / "waiting").exists() and process.poll() is None:
            tick.wait(0.02)
        process.send_signal(end)
        _, said = process.communicate(timeout=180)
    if end != signal.SIGKILL:
        assert process.returncode == 130
        assert "interrupted; give the same command again to go on" in said
    assert (workplace / "t.parquet.journal").exists()
    assert not (workplace / "t.parquet").exists()
    (workplace / "go").touch()
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    monkeypatch.delitem(sys.modules, "slow", raising=False)
    again = run(*arguments)
    assert again.exit_code == 0, again.output
    assert "going on with an interrupted attack" in again.stderr
    asked = len((workplace / "asked").read_text())
    assert asked == 100 + 2  # each run asks about one image first, to count the classes
    whole = run(*command, "--victim", "victim.safetensors", "--out", "whole/t.parquet")
    assert whole.exit_code == 0, whole.output
    assert Path("t.parquet").read_bytes() == Path("whole/t.parquet").read_bytes()
    assert not Path("t.parquet.journal").exists()


def test_an_interrupted_attack_does_not_go_on_as_another(folder: Path, tmp_path: Path) -> None:
    """The journal of another plan is refused, whichever option it was."""
    for options in (["--seed", "1"], ["--budget", "61"], ["--set", "reservoir=7"]):
        with Journal(tmp_path / "t.parquet.journal", "some other plan"):
            pass
        result = attack(folder, tmp_path / "t.parquet", *options)
        assert result.exit_code == 1
        assert "is of an attack with other options" in result.stderr


def test_the_sample_profile_catches_a_thief_at_the_sample(tmp_path: Path) -> None:
    """A victim trained on the sample, stolen with seeds of the sample, evaluated: caught."""
    victim, trace = tmp_path / "victim.safetensors", tmp_path / "stolen.parquet"
    small = "--epochs", "2", "--limit", "1500"
    assert run("victim", "train", "sample", "--out", victim, *small).exit_code == 0
    known = "--victim", victim, "--data", "sample", "--model", "digits"
    stolen = run("attack", "papernot", *known, "--budget", "200", "--out", trace)
    assert stolen.exit_code == 0, stolen.output
    judged = ["evaluate", trace, "--profile", "sample", "--jobs", "1", "--format", "json"]
    result = run(*judged, "--out", tmp_path / "results")
    assert result.exit_code == 0, result.output
    [together] = [row for row in json.loads(result.stdout)["results"] if row["detector"] == "any"]
    assert together["kind"] == "papernot"
    assert together["alarmed"] == together["accounts"] == 1


@pytest.mark.broker
@pytest.mark.usefixtures("settings")
def test_a_recorded_attack_is_played(environ: dict[str, str], folder: Path, tmp_path: Path) -> None:
    """Every query of the trace reaches the topic."""
    steal(folder, tmp_path / "t.parquet", "--evasion", "split-round-robin")
    played = CliRunner(env=environ).invoke(
        main, ["play", str(tmp_path / "t.parquet"), "--speed", "max"]
    )
    assert played.exit_code == 0, played.output
    assert "60 of 60 queries" in played.stdout
