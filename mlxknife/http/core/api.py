"""What core asks of an API: which paths belong to it, how it reads a key, and how it writes an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs
from starlette.routing import Route

from mlxknife.domain.errors import KnifeError
from mlxknife.http.core.context import Headers, RequestContext

OTHER_PATH = "other"


@attrs.frozen
class ErrorResponse:
    """An error as an API sends it."""

    status: int
    body: bytes
    headers: Headers


class Api(Protocol):
    """One API of the server. It is added in ``app.py`` and needs no change in core."""

    @property
    def paths(self) -> Sequence[str]:
        """Return its paths; each one also stands for the paths below it."""
        ...

    @property
    def model_paths(self) -> Sequence[str]:
        """Return the paths whose POST requests use a model: they are subject to admission and have a JSON body."""
        ...

    def routes(self) -> Sequence[Route]:
        """Return its endpoints."""
        ...

    def read_key(self, context: RequestContext) -> bytes:
        """Return the API key that a request carries, or nothing where it carries none or several."""
        ...

    def error_response(self, error: KnifeError, request_id: str) -> ErrorResponse:
        """Return the status, the document and the headers of an error."""
        ...


def find_owner(apis: Sequence[Api], route_path: str) -> tuple[Api, str]:
    """Return the API that owns a path and the name of the path in metrics; the first API owns unknown paths."""
    for api in apis:
        for path in api.paths:
            if route_path == path or route_path.startswith(f"{path}/"):
                return api, path
    return apis[0], OTHER_PATH
