"""``GET /openapi.json``."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mlxknife.http.wire.description import describe


async def openapi(request: Request) -> Response:
    """Describe this API."""
    del request
    return Response(_document(), media_type="application/json")


@lru_cache(1)
def _document() -> bytes:
    return msgspec.json.encode(describe())
