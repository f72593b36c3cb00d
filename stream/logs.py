"""Logs on stderr, as JSON or for reading: ours by structlog, the libraries' by the same path.

* `GAMEKEEPER_LOG_FORMAT`: `json`, or `console`, which is usual on a terminal.
* `GAMEKEEPER_LOG_LEVEL`: `DEBUG`, `INFO`, `WARNING` or `ERROR`.

What is logged never holds a secret: settings are not
logged, `Secret` shows itself as `***`, and of the requests that log in, which Kafka's clients show
whole at DEBUG, only the names are logged.
"""

from __future__ import annotations

import logging
import logging.config
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, get_args

import structlog

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.text import Secret

Style = Literal["json", "console"]
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

# Faust and aiokafka tell each rebalance step by step; of interest is that there was one.
QUIET = {"aiokafka": "WARNING", "faust": "WARNING", "mode": "WARNING", "kafka": "WARNING"}
REPEAT_SECONDS = 5.0
REMEMBERED = 1000  # lines; none is worth more memory


class _LoginFilter(logging.Filter):
    """Leaves only the names of SASL's requests and responses: PLAIN's hold the password."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, without credentials."""
        if isinstance(record.args, tuple):
            record.args = tuple(_without_credentials(each) for each in record.args)
        return True


class _RepeatFilter(logging.Filter):
    """Lets a library's warning or error through once in `REPEAT_SECONDS`.

    Kafka's clients say several times a second that a broker is away, for as long as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the line was not said just now."""
        if record.name.partition(".")[0] not in QUIET or record.levelno < logging.WARNING:
            return True
        line, now = record.getMessage(), time.monotonic()
        if now - self._said.get(line, float("-inf")) < REPEAT_SECONDS:
            return False
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[line] = now
        return True


def _without_credentials(argument: object) -> object:
    name = type(argument).__name__
    return name if name.startswith("Sasl") else argument


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]


def _hide_secrets(_: Any, __: str, event: Any) -> Any:
    """Put stars where a value is a secret: to JSON it would be any other text."""
    return {name: repr(each) if isinstance(each, Secret) else each for name, each in event.items()}


def _renderers(style: Style) -> list[Any]:
    if style == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def logging_config(style: Style, level: str) -> dict[str, Any]:
    """Give the standard library's logging configuration; Faust takes it, too."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structlog": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _shared(),
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_renderers(style),
                ],
            }
        },
        "filters": {"login": {"()": _LoginFilter}, "repeat": {"()": _RepeatFilter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "structlog",
                # On the handler: it sees what any logger passes on.
                "filters": ["login", "repeat"],
            }
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            name: {"level": quiet if level in ("INFO", "WARNING") else level}
            for name, quiet in QUIET.items()
        },
    }


def configure(environ: Mapping[str, str]) -> dict[str, Any]:
    """Set up logging for the process; return the configuration for whoever sets it up again.

    Raises `SettingsError` where the environment asks for an unknown format or level.
    """
    usual = "console" if sys.stderr.isatty() else "json"
    style = _choice(environ, "GAMEKEEPER_LOG_FORMAT", get_args(Style), usual)
    level = _choice(environ, "GAMEKEEPER_LOG_LEVEL", LEVELS, "INFO")
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    config = logging_config(style, level)
    logging.config.dictConfig(config)
    return config


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...], usual: str) -> Any:
    chosen = environ.get(name) or usual
    if chosen not in choices:
        raise SettingsError(f"{name}={chosen!r}: wanted one of {', '.join(choices)}")
    return chosen
