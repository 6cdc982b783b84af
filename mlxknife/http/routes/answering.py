"""Answers that are one document."""

from __future__ import annotations

import msgspec
from starlette.responses import Response


def json_response(document: msgspec.Struct, status: int = 200) -> Response:
    """Return a document as it is sent."""
    return Response(msgspec.json.encode(document), status, media_type="application/json")
