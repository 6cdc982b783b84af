"""``GET /`` and ``/v1``: for whoever tries the address alone, in a browser for example."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mlxknife.http.routes.answering import json_response
from mlxknife.http.wire.documents import Welcome
from mlxknife.version import __version__


async def welcome(request: Request) -> Response:
    """Say what this is, and where to go on; below whatever path this application is mounted at."""
    root = request.scope.get("root_path", "")
    document = Welcome(
        version=__version__,
        api=f"{root}/v1",
        models=f"{root}/v1/models",
        openapi=f"{root}/openapi.json",
    )
    return json_response(document)
