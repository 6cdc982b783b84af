"""The middleware: every check before a request does any work, and everything that each response needs.

The order of the checks: host, origin, preflight, key, admission, body size, path and method, media type, body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlxknife.domain.errors import InternalError, KnifeError
from mlxknife.domain.hints import HintCode
from mlxknife.http.core import logs
from mlxknife.http.core.api import Api, find_owner
from mlxknife.http.core.context import Headers, RequestContext
from mlxknife.http.core.errors import BodyTimeout, ClientDisconnected, TooManyRequests
from mlxknife.http.core.guards import HostGuard, OriginGuard, check_key
from mlxknife.http.core.limits import check_content_length, check_media_type
from mlxknife.http.core.state import ServerState

_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for the log where the client left before there was a response."""
_NO_CONTENT = 204
_CLOSE = ((b"connection", b"close"),)
_DISCARD_SECONDS = 0.1


class RequestMiddleware:
    """ASGI middleware around the router."""

    def __init__(self, app: ASGIApp, state: ServerState, apis: Sequence[Api]) -> None:
        """Guard an application as its options say; the first API owns the paths of no API."""
        self.app = app
        self.state = state
        self.apis = apis
        self._hosts = HostGuard.from_options(state.options)
        self._origins = OriginGuard.from_options(state.options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, run it, and log it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        self.state.start_ticking()
        context = RequestContext.open(scope)
        api, path_name = find_owner(self.apis, context.route_path)

        async def send_with_headers(message: Message) -> None:
            is_head = message["type"] == "http.response.start"
            if is_head:
                message["headers"] = [*message.get("headers", ()), *self._response_headers(context)]
            await send(message)
            if is_head:
                context.status = message["status"]

        try:
            await self._handle(context, api, scope, receive, send_with_headers)
        except ClientDisconnected:
            context.detail = "the client disconnected"
        finally:
            status = context.status or _CLIENT_CLOSED_REQUEST
            self.state.metrics.request_finished(path_name, status, context.seconds)
            logs.access(context, status)

    async def _handle(self, context: RequestContext, api: Api, scope: Scope, receive: Receive, send: Send) -> None:
        uses_model = context.method == "POST" and context.route_path in api.model_paths
        try:
            preflight = self._check(context, api, uses_model=uses_model)
            if preflight is not None:
                await _respond(send, _NO_CONTENT, b"", preflight)
            elif uses_model:
                await self._admit(context, scope, receive, send)
            else:
                await self.app(scope, receive, send)
        except ClientDisconnected:
            raise
        except Exception as exc:
            if context.status is not None:  # the response has begun: the server has to break the connection
                raise
            if not isinstance(exc, KnifeError):
                logs.defect(context, exc)
            context.detail = context.detail or str(exc)
            response = api.error_response(exc if isinstance(exc, KnifeError) else _internal_error(), context.request_id)
            is_closing = isinstance(exc, BodyTimeout) or (
                isinstance(exc, TooManyRequests) and await _discard_body(context, receive)
            )
            closing = _CLOSE if is_closing else ()
            await _respond(send, response.status, response.body, (*response.headers, *closing))

    def _check(self, context: RequestContext, api: Api, *, uses_model: bool) -> Headers | None:
        """Check the head of a request; return the headers of a response to a preflight request, which needs no key."""
        self._hosts.check(context)
        self._origins.check(context)
        preflight = self._origins.preflight_headers(context)
        if preflight is not None:
            return preflight
        check_key(self.state.options.api_key, api.read_key(context))
        if uses_model:
            self.state.admission.check()
        check_content_length(context.header(b"content-length"), self.state.options.max_body_bytes)
        return None

    async def _admit(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then admit the request: a client that sends slowly takes no slot."""
        check_media_type(context.header(b"content-type"), context.header(b"content-encoding"))
        with self.state.bodies.body() as context.body:
            await context.body.read(receive)
            with self.state.admission.slot():
                await self.app(scope, receive, send)

    def _response_headers(self, context: RequestContext) -> Headers:
        return (
            (b"x-request-id", context.request_id.encode("ascii")),
            (b"x-content-type-options", b"nosniff"),
            *self._origins.response_headers(context),
        )


async def _respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = () if status == _NO_CONTENT else ((b"content-length", str(len(body)).encode()),)
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})


async def _discard_body(context: RequestContext, receive: Receive) -> bool:
    """Read what arrives of a body for a moment; return whether that was its end.

    A connection that is closed with unread bytes is reset, and its client may lose the response.
    """
    if context.body is not None:
        return context.body.is_complete
    if context.header(b"expect") is not None:
        return False
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while (await receive()).get("more_body", False):
                pass
            return True
    return False


def _internal_error() -> InternalError:
    return InternalError("The server failed on this request", hint=HintCode.SERVER_LOG)
