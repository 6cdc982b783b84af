"""The gate: every request passes it before anything is done for it, and every answer on its way out."""

from __future__ import annotations

import attrs
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlxknife.domain.errors import KnifeError
from mlxknife.http import logs
from mlxknife.http.door import Door
from mlxknife.http.errors import Failure, Headers
from mlxknife.http.guards.bodies import ClientGone
from mlxknife.http.visit import NEWCOMER, Visit, begin, enter, head_of

_GONE = 499
"""As others note it: the client did not wait for the answer."""


class Gate:
    """ASGI middleware: an id for each request, the door, errors as documents, the access log and the numbers."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        """Lead from a door to an application."""
        self.app = app
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        visit = begin(head_of(scope))
        enter(scope, visit)
        self.door.front.wake()
        try:
            await self._pass(visit, Exit(send, visit, self.door), scope, receive)
        finally:
            self.door.front.forget(scope.get(NEWCOMER))
            self.door.note(visit, visit.status if visit.status is not None else _GONE)

    async def _pass(self, visit: Visit, exit_: Exit, scope: Scope, receive: Receive) -> None:
        try:
            preflight = self.door.admit(visit.head, _path_within(scope))
            if preflight is not None:
                await exit_.answer(204, b"", preflight)
            else:
                await self.app(scope, receive, exit_)
        except ClientGone:
            return
        except Exception as exc:
            if visit.status is not None:  # the answer has begun: only its end can still tell
                raise
            if not isinstance(exc, KnifeError):
                logs.defect(visit, exc)
            await exit_.fail(self.door.failure(exc, visit))


@attrs.define(eq=False)
class Exit:
    """``send``, with what every answer has to carry."""

    send: Send
    visit: Visit
    door: Door

    async def __call__(self, message: Message) -> None:
        """Send a message on."""
        if message["type"] == "http.response.start":
            self.visit.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self.door.headers(self.visit)]
        await self.send(message)

    async def fail(self, failed: Failure) -> None:
        """Answer with an error."""
        await self.answer(failed.status, failed.body, ((b"content-type", b"application/json"), *failed.headers))

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Answer with something short."""
        length = () if status == 204 else ((b"content-length", str(len(body)).encode()),)  # noqa: PLR2004
        await self({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
        await self({"type": "http.response.body", "body": body})


def _path_within(scope: Scope) -> str:
    """Return the path as our routes have it, wherever the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
