"""The gate: every request passes it before anything is done for it, and every answer on its way out."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlxknife.domain.errors import KnifeError
from mlxknife.http import logs
from mlxknife.http.errors import Failure, failure
from mlxknife.http.front import Front
from mlxknife.http.guards.bodies import BodyGuard, ClientGone
from mlxknife.http.guards.hosts import HostGuard
from mlxknife.http.guards.keys import KeyGuard
from mlxknife.http.guards.origins import OriginGuard
from mlxknife.http.visit import Head, Visit, begin

_ASKING = ("/v1/chat/completions", "/v1/completions")
"""What asks a model, and needs a place."""
ROUTES = (*_ASKING, "/v1/models", "/health", "/ready", "/metrics", "/openapi.json")
_GONE = 499
"""As others note it: the client did not wait for the answer."""


class Gate:
    """ASGI middleware: an id for each request, the guards, errors as documents, the access log and the numbers."""

    def __init__(self, app: ASGIApp, front: Front) -> None:
        """Guard an application as its options say."""
        self.app = app
        self.front = front
        options = front.options
        self.origins = OriginGuard.of(options)
        self.secrets = (options.api_key,) if options.api_key else ()
        self.before_preflight: tuple[Callable[[Head], None], ...] = (HostGuard.of(options), self.origins)
        self.keys = KeyGuard.of(options)
        self.sizes = BodyGuard.of(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        visit = begin(scope)
        exit_ = Exit(send, visit, self.origins)
        self.front.wake()
        try:
            await self._pass(visit, exit_, scope, receive)
        finally:
            status = visit.status if visit.status is not None else _GONE
            self.front.metrics.visited(_route(visit.head.path), status, visit.seconds)
            logs.access(visit, status)

    async def _pass(self, visit: Visit, exit_: Exit, scope: Scope, receive: Receive) -> None:
        try:
            for guard in self.before_preflight:
                guard(visit.head)
            preflight = self.origins.preflight(visit.head)
            if preflight is not None:
                await exit_.answer(204, b"", preflight)
                return
            self.keys(visit.head)
            if scope["method"] == "POST" and _path_within(scope) in _ASKING:
                self.front.check_place()  # here, and not where it is answered: refusing must cost little
            self.sizes(visit.head)
            await self.app(scope, receive, exit_)
        except ClientGone:
            return
        except Exception as exc:
            if visit.status is not None:  # the answer has begun: only its end can still tell
                raise
            if not isinstance(exc, KnifeError):
                logs.defect(visit, exc)
            visit.detail = visit.detail or str(exc)
            await exit_.fail(failure(exc, visit.request_id, self.secrets))


@attrs.define(eq=False)
class Exit:
    """``send``, with what every answer has to carry."""

    send: Send
    visit: Visit
    origins: OriginGuard

    async def __call__(self, message: Message) -> None:
        """Send a message on."""
        if message["type"] == "http.response.start":
            self.visit.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.visit.request_id.encode("ascii")),
                (b"x-content-type-options", b"nosniff"),
                *self.origins.headers(self.visit.head),
            ]
        await self.send(message)

    async def fail(self, failed: Failure) -> None:
        """Answer with an error."""
        await self.answer(failed.status, failed.body, ((b"content-type", b"application/json"), *failed.headers))

    async def answer(self, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """Answer with something short."""
        length = () if status == 204 else ((b"content-length", str(len(body)).encode()),)  # noqa: PLR2004
        await self({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
        await self({"type": "http.response.body", "body": body})


def _path_within(scope: Scope) -> str:
    """Return the path as our routes have it, wherever the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _route(path: str) -> str:
    """Name the endpoint for the numbers: as few names as there are endpoints, whatever is asked."""
    return next((route for route in ROUTES if path.endswith(route) or f"{route}/" in path), "other")
