"""Running the worker in this process, after checking that the cluster is ready for it."""

from __future__ import annotations

import os
from typing import NoReturn

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import Settings, plan
from gamekeeper.stream.logs import configure
from gamekeeper.stream.worker.claims import check_port, claim_folder


def serve(settings: Settings) -> NoReturn:
    """Run the worker until SIGTERM or SIGINT, which let it finish its micro-batch.

    A broker that is away is waited for, without end.

    Ends the process: 0 after a signal, 3 where the queries topic has grown meanwhile, 1 after a
    crash. Raises `BrokerError` where topics are missing or have another number of partitions than
    the settings, and `SettingsError` where another process has its HTTP port or its folder.
    """
    check_port(settings)
    with claim_folder(settings):
        _run(settings)


def _run(settings: Settings) -> NoReturn:
    # Not before: the web server takes a moment to import, Faust takes a second.
    from gamekeeper.stream.worker.waiting import wait_for_kafka

    configure(os.environ)
    wait_for_kafka(settings, check_topics)
    from gamekeeper.stream.worker.app import build

    app = build(settings)
    # INFO is what keeps its progress spinner away; what is logged is decided by `logs`.
    worker = app.Worker(quiet=True, loglevel="INFO")
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        raise SystemExit(app.cluster.status or end.code) from end
    raise SystemExit(0)  # for the type checker: the command always raises


def check_topics(settings: Settings) -> None:
    """Raise `BrokerError` where the topics are not what the settings ask for."""
    faults = [
        f"{step.topic} is missing" if step.act == "create" else f"{step.topic}: {step.detail}"
        for step in plan(settings)
        if step.act in ("create", "grow", "refuse")
    ]
    if faults:
        raise BrokerError(
            f"{'; '.join(faults)}. Run `gamekeeper topics plan`, then either "
            "`gamekeeper topics apply` or set GAMEKEEPER_PARTITIONS to what the cluster has"
        )
