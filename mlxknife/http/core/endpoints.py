"""``GET /health``, ``/ready`` and ``/metrics``: the state of the server. They use no model, no disk and no thread."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Send

from mlxknife.http.core.metrics import CONTENT_TYPE
from mlxknife.http.core.state import ServerState
from mlxknife.version import __version__

STATE_PATHS = ("/health", "/ready", "/metrics")
_UNAVAILABLE = 503

ReadyStatus: TypeAlias = Literal["ready", "stopping", "loading", "busy"]


class LoadedModelObject(msgspec.Struct, frozen=True):
    """A model that is loaded or is being loaded."""

    name: str
    state: str
    running: int


class HealthDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The server is alive, and these models are loaded."""

    status: Literal["ok"] = "ok"
    service: Literal["mlx-knife-server"] = "mlx-knife-server"
    version: str
    models: tuple[LoadedModelObject, ...]


class ReadinessDocument(msgspec.Struct, frozen=True):
    """Whether the server takes requests."""

    status: ReadyStatus
    models: tuple[LoadedModelObject, ...]


@attrs.frozen
class StateEndpoints:
    """The endpoints that report the state of the server."""

    state: ServerState

    def routes(self) -> list[Route]:
        """Return the three endpoints."""
        return [
            Route(path, endpoint, methods=["GET"])
            for path, endpoint in zip(STATE_PATHS, (self.health, self.ready, self.metrics), strict=True)
        ]

    async def health(self, request: Request) -> Response:
        """Return 200 while the server is alive."""
        del request
        return json_response(HealthDocument(version=__version__, models=self._models()))

    async def ready(self, request: Request) -> Response:
        """Return 200 where a request would be admitted now and would not wait for a model to load, else 503."""
        del request
        models = self._models()
        status = self._status(models)
        response = json_response(ReadinessDocument(status, models), 200 if status == "ready" else _UNAVAILABLE)
        if status != "ready":
            response.headers["retry-after"] = "1"
        return response

    async def metrics(self, request: Request) -> Response:
        """Return the metrics for Prometheus."""
        del request
        page = self.state.metrics.page(self.state.pool.loaded(), self.state.admission.running)
        return Response(page, headers={"content-type": CONTENT_TYPE})

    def _status(self, models: tuple[LoadedModelObject, ...]) -> ReadyStatus:
        if self.state.is_stopping:
            return "stopping"
        if self.state.admission.is_full:
            return "busy"
        is_model_expected = bool(models) or self.state.pool.keeps_models
        has_ready_model = any(model.state == "ready" for model in models)
        return "loading" if is_model_expected and not has_ready_model else "ready"

    def _models(self) -> tuple[LoadedModelObject, ...]:
        return tuple(LoadedModelObject(one.name, one.state.value, one.running) for one in self.state.pool.loaded())


async def send_json(send: Send, document: msgspec.Struct) -> None:
    """Send a JSON document as a whole response."""
    body = msgspec.json.encode(document)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def json_response(document: msgspec.Struct, status: int = 200) -> Response:
    """Return a JSON document as a response."""
    return Response(msgspec.json.encode(document), status, media_type="application/json")
