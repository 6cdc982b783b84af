"""Running the application: uvicorn with deadlines and size limits for connections, listening sockets and signals."""

from __future__ import annotations

from mlxknife.http.server.server import serve

__all__ = ["serve"]
