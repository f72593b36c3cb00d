"""Tapping an ASGI server (FastAPI, Starlette, Litestar, Quart, ...) in two lines.

The account is known where the request comes in, the arrays are known where the model is called.
So a middleware names the account, and a decorator on the predicting function records:

    tap = QueryTap("broker:9092", model="digits")

    @tapped(tap)
    def predict(images):            # (n, 28, 28)
        return network(images)      # class probabilities, (n, 10)

    app = TapMiddleware(app, tap, account=from_header("x-account-id"))

The middleware also closes the tap when the server shuts down: servers that end by a signal do not
reach Python's exit hooks. Take the account from what has authenticated the request (a gateway's
header, the session in `scope`), never from a secret: it is stored and shown to analysts.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.stream.tap.capture import as_array
from gamekeeper.stream.tap.tap import QueryTap

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Account = Callable[[Scope], str | None]
"""Finds the account in a request's ASGI scope; None where there is none."""
Answer = tuple[Any, Any]
"""Labels `(n,)`, and probabilities `(n, k)` or None."""

P = ParamSpec("P")
R = TypeVar("R")

_account: ContextVar[str | None] = ContextVar("gamekeeper_account", default=None)


def current_account() -> str | None:
    """Name the account of the request that is being answered; None outside of one."""
    return _account.get()


def from_header(name: str) -> Account:
    """Take the account from a request header, which a gateway sets and clients cannot."""
    wanted = name.lower().encode("latin-1")

    def account(scope: Scope) -> str | None:
        for key, value in scope["headers"]:
            if key == wanted:
                return cast(bytes, value).decode("utf-8", "backslashreplace")
        return None

    return account


class TapMiddleware:
    """Names the account of each request for `tapped`, and closes the tap at shutdown."""

    def __init__(self, app: App, tap: QueryTap, *, account: Account) -> None:
        """Wrap an ASGI app."""
        self._app = app
        self._tap = tap
        self._find = account

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as the wrapped app does."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        token = _account.set(self._account_of(scope))
        try:
            await self._app(scope, receive, send)
        finally:
            _account.reset(token)

    def _account_of(self, scope: Scope) -> str | None:
        try:
            return self._find(scope)
        except Exception as error:  # noqa: BLE001  the tap must not break the request
            self._tap.reject(error)
            return None

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Follow the server's life: through the app, or in its place if it knows no lifespan."""
        known = False

        async def receive_noted() -> Message:
            nonlocal known
            known = True
            return await receive()

        async def close_and_send(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                self._tap.close()  # waits; there are no requests left that could mind
            await send(message)

        try:
            await self._app(scope, receive_noted, close_and_send)
        except Exception:
            if known:
                raise
        if not known:
            for moment in ("startup", "shutdown"):
                await receive()
                await close_and_send({"type": f"lifespan.{moment}.complete"})


def read_probabilities(result: Any) -> Answer:
    """Read what most models return: class probabilities `(n, k)`, or labels `(n,)`.

    A pair is taken as labels and probabilities.
    """
    if isinstance(result, tuple):
        labels, probabilities = result
        return labels, probabilities
    values = as_array(result)
    if values.ndim != 2:
        return values, None
    return values.argmax(axis=1), values


def tapped(
    tap: QueryTap, *, read: Callable[[Any], Answer] = read_probabilities
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record the calls of a function, plain or async: its first argument holds the queries.

    `read` turns what the function returns into labels and probabilities. The function must leave
    its argument as it was; what it returns or raises is passed on untouched. Calls that raise are
    not recorded. The account is `current_account()`, which follows the request into coroutines,
    `asyncio.to_thread` and frameworks' thread pools. A server that merges requests of several
    accounts into one call has to use `tap.record()` for each of them instead.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        first, name = _first_argument(function)

        def observe(arguments: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
            try:
                inputs = arguments[first] if len(arguments) > first else keywords[name]
                account = current_account()
                if account is None:
                    raise SchemaError("$.account", "none; wrap the app in TapMiddleware")
                labels, probabilities = read(result)
            except Exception as error:  # noqa: BLE001  the tap must not break the request
                tap.reject(error)
                return
            tap.record(account, inputs, labels, probabilities)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def recorded(*arguments: P.args, **keywords: P.kwargs) -> Any:
                result = await function(*arguments, **keywords)
                observe(arguments, keywords, result)
                return result

            return cast(Callable[P, R], recorded)

        @functools.wraps(function)
        def recorded_plain(*arguments: P.args, **keywords: P.kwargs) -> R:
            result = function(*arguments, **keywords)
            observe(arguments, keywords, result)
            return result

        return recorded_plain

    return decorate


def _first_argument(function: Callable[..., Any]) -> tuple[int, str]:
    """Find position and name of the argument that holds the queries."""
    names = list(inspect.signature(function).parameters)
    first = 1 if names[:1] in (["self"], ["cls"]) else 0
    if len(names) <= first:
        raise TypeError(f"{function} takes no argument; decorate the function that is given inputs")
    return first, names[first]
