"""What a worker needs for itself on its machine: an HTTP port, and a folder for its state."""

from __future__ import annotations

import fcntl
import socket
from typing import IO

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.stream.kafka import Settings

LOCK = "worker.lock"


def check_port(settings: Settings) -> None:
    """Raise `SettingsError` where the HTTP port is taken or is none of this machine's."""
    host, port = settings.http_host, settings.http_port
    try:
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind) as probe:
            # As the server does: connections of the last run that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise SettingsError(
            f"GAMEKEEPER_HTTP_PORT={port}: cannot serve health on {host}:{port} "
            f"({error.strerror}); set it to a free port, and GAMEKEEPER_HTTP_HOST to an address "
            "of this machine"
        ) from error


def claim_folder(settings: Settings) -> IO[str]:
    """Lock the folder of local state for as long as the returned file is open.

    Raises `SettingsError` where another worker has it: each would write over the other's state.
    """
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a", encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"GAMEKEEPER_DATA_DIR={folder}: cannot be written ({error.strerror}); set it to a "
            "folder of this worker's own"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise SettingsError(
            f"GAMEKEEPER_DATA_DIR={folder}: another worker uses this folder; set it to one of this "
            "worker's own"
        ) from error
    return lock
