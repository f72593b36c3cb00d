"""The tap: what a model server calls for each request; it never slows or breaks the server.

`tap` is called and only fills a queue, `backlog` bounds it, `capture` copies the arrays,
`publisher` is the thread that empties it, `transport` sends; `asgi` fits it to web servers. It may
import numpy, kafka-python, crc32c, msgspec and `gamekeeper.schemas`, nothing else.
"""

from gamekeeper.stream.tap.backlog import TapStats
from gamekeeper.stream.tap.tap import QueryTap
from gamekeeper.stream.tap.transport import MemoryTransport

__all__ = ["MemoryTransport", "QueryTap", "TapStats"]
