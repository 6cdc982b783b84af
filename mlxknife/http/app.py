"""The application: an ASGI app to run by itself or to mount in another one.

::

    app = Starlette(routes=[Mount("/llm", create_app(models, pool, Options(allowed_hosts=("*",))))])
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.services.servable_models import ServableModels
from mlxknife.http.apis.openai.routes import OpenAiApi
from mlxknife.http.core.endpoints import StateEndpoints
from mlxknife.http.core.errors import MethodNotAllowed, PathNotFound
from mlxknife.http.core.middleware import RequestMiddleware
from mlxknife.http.core.state import ServerState
from mlxknife.http.options import Options

_METHOD_NOT_ALLOWED = 405


def create_app(models: ServableModels, pool: ModelPool, options: Options | None = None) -> Starlette:
    """Return the server as an ASGI application.

    It works without start-up and shutdown events, which a mounted application does not get. The host application may
    call ``app.state.server.close()`` at its end, which unloads the models. Before the first request no model is loaded
    and no thread is started.
    """
    state = ServerState(models, pool, options or Options())
    apis = (OpenAiApi(state),)
    app = Starlette(
        routes=[*StateEndpoints(state).routes(), *(route for api in apis for route in api.routes())],
        middleware=[Middleware(RequestMiddleware, state, apis)],
        exception_handlers={HTTPException: _raise_own_error},
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.server, app.state.apis = state, apis
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    state: ServerState = app.state.server
    state.start_ticking()
    try:
        yield
    finally:
        state.close()


async def _raise_own_error(request: Request, exc: Exception) -> Response:
    """Replace an error of Starlette's router by ours, which the middleware answers."""
    del request
    if isinstance(exc, HTTPException) and exc.status_code == _METHOD_NOT_ALLOWED:
        raise MethodNotAllowed((exc.headers or {}).get("Allow", "")) from exc
    msg = "There is no endpoint at this path"
    raise PathNotFound(msg, hint="The API begins at /v1") from exc
