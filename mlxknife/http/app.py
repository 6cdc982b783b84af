"""The application: an ASGI app to run by itself or to mount in another.

::

    app = Starlette(routes=[Mount("/llm", create_app(serving, residents, Options(allowed_hosts=("*",))))])
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlxknife.http.door import Door
from mlxknife.http.errors import failure
from mlxknife.http.front import Front
from mlxknife.http.gate import Gate
from mlxknife.http.needs import Residents, Serving
from mlxknife.http.options import Options
from mlxknife.http.refusals import NoSuchPath, Refusal, WrongMethod
from mlxknife.http.routes import chat, completions
from mlxknife.http.routes.generation import Generation
from mlxknife.http.routes.models import Models
from mlxknife.http.routes.openapi import openapi
from mlxknife.http.routes.state import State
from mlxknife.http.routes.welcome import welcome
from mlxknife.http.visit import visit_of

_NOT_FOUND = 404


def create_app(serving: Serving, residents: Residents, options: Options | None = None) -> Starlette:
    """Return the server as an ASGI application.

    Mounted in another application it works without being told of start and end; whoever mounts it may call
    ``app.state.front.close()`` at the end, which unloads the models. Nothing is loaded and no thread begins before the
    first request.
    """
    front = Front(serving, residents, options or Options())
    door = Door(front)
    residents.on_event = front.note
    app = Starlette(
        routes=_routes(front),
        middleware=[Middleware(Gate, door)],
        exception_handlers={HTTPException: _refused},
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.front, app.state.door = front, door
    return app


def _routes(front: Front) -> list[Route]:
    models, state = Models(front), State(front)
    return [
        *(Route(path, welcome, methods=["GET"]) for path in ("/", "/v1", "/v1/")),
        Route("/v1/chat/completions", Generation(front, chat.order), methods=["POST"]),
        Route("/v1/completions", Generation(front, completions.order), methods=["POST"]),
        Route("/v1/models", models.all, methods=["GET"]),
        Route("/v1/models/{id:path}", models.one, methods=["GET"]),
        Route("/health", state.health, methods=["GET"]),
        Route("/ready", state.ready, methods=["GET"]),
        Route("/metrics", state.metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
    ]


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    front: Front = app.state.front
    front.wake()
    try:
        yield
    finally:
        front.close()


async def _refused(request: Request, exc: Exception) -> Response:
    """Answer for Starlette: no such path, or not in this way."""
    headers = dict(exc.headers or {}) if isinstance(exc, HTTPException) else {}
    is_unknown = isinstance(exc, HTTPException) and exc.status_code == _NOT_FOUND
    error: Refusal = NoSuchPath("Nothing is here", hint="The API begins at /v1")
    if not is_unknown:
        error = WrongMethod(f"Use {headers.get('Allow', 'another method')} here")
    visit = visit_of(request.scope)
    failed = failure(error, visit.request_id)
    visit.detail = error.message
    return Response(failed.body, failed.status, headers=headers, media_type="application/json")
