"""Makes the sample trace: honest customers and five thieves at one digit classifier, in one hour.

    python -m sample.make_sample --digits FILE --out replay/sample

FILE is Parquet with `image` (encoded 28x28 grey images) and `label` (0 to 9), 10,000 of them. Three
disjoint parts of it train the victim, seed the attacks and are the customers' images. The same
file, seed and versions of torch and numpy make the same trace.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gamekeeper.replay.theft import Answers, Attack, Images, Labels, Start, Victim
from gamekeeper.replay.theft.recording import Recorder
from gamekeeper.replay.theft.recording import tabulate as tabulate_events
from gamekeeper.replay.theft.recording.start import draw_balanced
from gamekeeper.replay.theft.recording.trace import OPENING, SECOND, Asked, cut
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.tables import write_parquet
from sample import benign

try:
    import torch
    from PIL import Image

    from gamekeeper.replay.theft.attacks.jb_self import jb_self
    from gamekeeper.replay.theft.attacks.jb_topk import jb_topk
    from gamekeeper.replay.theft.attacks.papernot import papernot
    from gamekeeper.replay.theft.attacks.t_rnd import t_rnd
    from gamekeeper.replay.theft.attacks.tramer import tramer
    from gamekeeper.replay.theft.model import Architecture, Classifier
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: making the sample needs it: pip install torch pillow") from error

SEED = 3
VICTIM, SEEDS = 4500, 250
"""Images that train the victim, and images among which the attacks find their seeds."""
NEEDED = VICTIM + SEEDS + sum(customer.queries for customer in benign.CUSTOMERS)
EPOCHS = 15
SIDE = 28
CLASSES = 10
MODEL = "digits"
HOUR = 3600 * SECOND
DIGITS = 3
"""Decimals of the probabilities, as many as public interfaces show."""


class Thief(NamedTuple):
    """One attacker: its kind, its attack, seeds of each class, rows and seconds per request."""

    kind: str
    attack: Attack
    seeds: int
    budget: int
    rows: int
    pause: float


# Seeds per attack as in the papers: 10 of each class (version 2), 5 of each (version 1).
THIEVES = (
    Thief("papernot", papernot, 10, 1200, 16, 2.0),
    Thief("t-rnd", t_rnd, 10, 1000, 8, 1.5),
    Thief("jb-topk", jb_topk, 5, 800, 1, 0.5),
    Thief("jb-self", jb_self, 5, 800, 4, 1.0),
    Thief("tramer", tramer, 0, 1100, 1, 0.3),
)
THINKING = 20.0
"""Seconds in which a thief trains its substitute between two rounds."""


def read_digits(path: Path) -> tuple[Images, Labels]:
    """Read `(n, 28, 28)` uint8 images and `(n,)` labels; raises `TraceError` with the reason."""
    try:
        table = pq.read_table(path, columns=["image", "label"])
        images = [_decode(encoded) for encoded in table["image"].to_pylist()]
        labels: Labels = table["label"].to_numpy().astype(np.int64)
    except FileNotFoundError as error:
        raise TraceError(f"{path}: no such file; --digits takes Parquet of digits") from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TraceError(f"{path}: not Parquet with `image` and `label`: {error}") from error
    if len(images) < NEEDED or any(image.shape != (SIDE, SIDE) for image in images):
        raise TraceError(f"{path}: give at least {NEEDED} images, all of {SIDE}x{SIDE} pixels")
    return np.stack(images), labels


def _decode(encoded: Any) -> Images:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("L"), dtype=np.uint8)


def train_victim(images: Images, labels: Labels, rng: np.random.Generator) -> Classifier:
    """Train the protected model on `(n, 28, 28)` images."""
    victim = Classifier(Architecture((SIDE, SIDE), CLASSES), int(rng.integers(2**31)))
    victim.fit(images, labels, EPOCHS)
    return victim


def steal(
    thief: Thief, account: str, victim: Victim, seeds: Images, rng: np.random.Generator
) -> Iterator[Asked]:
    """Run one attack and say when each of its requests was sent."""
    clock = OPENING + int(rng.uniform(0.1, 0.4) * HOUR)
    last = 0
    start = Start(seeds, CLASSES, seeds[:0])
    for sent in thief.attack(Recorder(victim), start, thief.budget, rng):
        clock += int(THINKING * SECOND) * (sent.round - last)
        last = sent.round
        for images, answers in cut(sent.images, sent.answers, thief.rows):
            clock += int(rng.exponential(thief.pause) * SECOND) + 1
            what = images, answers, sent.synthetic, sent.round
            yield Asked(clock, account, thief.kind, thief.kind, *what)


def serve(
    customer: benign.Customer,
    account: str,
    victim: Victim,
    images: Images,
    rng: np.random.Generator,
) -> Iterator[Asked]:
    """Send one customer's `(n, 28, 28)` images, spread over the hour."""
    if customer.change is not None:
        images = customer.change(images, rng)
    parts = list(cut(images, victim(images), customer.rows))
    times = np.sort(rng.integers(OPENING, OPENING + HOUR, len(parts)))
    again = rng.random(len(parts)) < customer.retries
    for (sent, answers), time, twice in zip(parts, times.tolist(), again.tolist(), strict=True):
        for moment in (time, time + SECOND)[: 1 + twice]:
            yield Asked(moment, account, customer.name, "benign", sent, answers, False, 0)


def tabulate(events: Iterable[Asked]) -> pa.Table:
    """Make a trace of events, oldest first, with rounded probabilities."""
    return tabulate_events(
        (event._replace(answers=_shown(event.answers)) for event in events), MODEL
    )


def _shown(answers: Answers) -> Answers:
    return answers._replace(probabilities=answers.probabilities.round(DIGITS))


def make(images: Images, labels: Labels, say: Callable[[str], object]) -> pa.Table:
    """Train the victim, let everybody query it, return the trace; `say` takes progress lines.

    Every account draws from a random stream of its own: changing one leaves the others alone.
    """
    streams = np.random.SeedSequence(SEED).spawn(1 + len(benign.CUSTOMERS) + len(THIEVES))
    rng, *others = map(np.random.default_rng, streams)
    order = rng.permutation(len(images))
    images, labels = images[order], labels[order]
    victim = train_victim(images[:VICTIM], labels[:VICTIM], rng)
    pool, truth = images[VICTIM + SEEDS :], labels[VICTIM + SEEDS :]
    accuracy = np.mean(victim(pool).labels == truth)
    say(f"victim: {accuracy:.1%} correct on the customers' {len(pool)} images")
    accounts = [f"acct-{number + 1:02d}" for number in rng.permutation(len(others))]
    requests: list[Asked] = []
    free = np.ones(len(pool), dtype=np.bool_)
    for customer in benign.CUSTOMERS:
        stream = others.pop()
        chosen = pool[benign.choose(customer, truth, free, stream)]
        requests += serve(customer, accounts.pop(), victim, chosen, stream)
    known, classes = images[VICTIM : VICTIM + SEEDS], labels[VICTIM : VICTIM + SEEDS]
    for thief in THIEVES:
        stream = others.pop()
        seeds = known[draw_balanced(classes, thief.seeds, stream)]
        requests += steal(thief, accounts.pop(), victim, seeds, stream)
        say(f"{thief.kind}: {thief.budget} queries")
    return tabulate(requests)


def main() -> None:
    """Read the command line and make the trace."""
    parser = argparse.ArgumentParser(description="Make the sample trace.")
    parser.add_argument("--digits", type=Path, required=True, help="Parquet of encoded digits")
    parser.add_argument("--out", type=Path, required=True, help="folder for digits.parquet")
    options = parser.parse_args()
    # One thread: sums are then added in one order, and the trace is the same every time.
    torch.set_num_threads(1)
    try:
        images, labels = read_digits(options.digits)
    except TraceError as error:
        raise SystemExit(str(error)) from error
    table = make(images, labels, lambda line: sys.stdout.write(f"{line}\n"))
    write_parquet(table, options.out / "digits.parquet")


if __name__ == "__main__":
    main()
