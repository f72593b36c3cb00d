"""`gamekeeper broker`: the embedded broker in the foreground, to try things out."""

from __future__ import annotations

import signal
import threading

import click

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.cli.output import warn
from gamekeeper.stream.kafka import BROKERS, EmbeddedBroker

NEXT = f"""\
it keeps everything in memory until Ctrl-C; next, in other terminals:
  export {BROKERS}={{}}
  gamekeeper topics apply   # make the topics
  gamekeeper serve          # watch them
  gamekeeper sink           # write verdicts to tables
  gamekeeper play sample    # traffic to watch, with thieves in it
  gamekeeper verdicts       # who was caught"""


@click.command(
    epilog="Example: gamekeeper broker --port 9092, and in another terminal: "
    "gamekeeper topics apply --partitions 2"
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9092, show_default=True, help="0: a free one."
)
def broker(port: int) -> None:
    """Run a Kafka-compatible broker on 127.0.0.1 until Ctrl-C; it keeps everything in memory."""
    stopped = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stopped.set())
    with EmbeddedBroker(port) as running:
        click.echo(running.address)
        warn(NEXT.format(running.address))
        while not stopped.wait(0.2):
            if running.pid is None:
                raise BrokerError(f"the broker on {running.address} ended; start it again")
