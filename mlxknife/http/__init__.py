"""The HTTP delivery side: OpenAI's API over the services of the domain, as an ASGI application and as a server."""

from __future__ import annotations

from mlxknife.http.app import create_app
from mlxknife.http.options import Options

__all__ = ["Options", "create_app"]
