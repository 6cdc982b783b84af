"""``GET /health``, ``/ready`` and ``/metrics``: how the server is. They need no model, no disk and no thread."""

from __future__ import annotations

from typing import Literal

import attrs
from starlette.requests import Request
from starlette.responses import Response

from mlxknife.http.front import Front
from mlxknife.http.metrics import CONTENT_TYPE
from mlxknife.http.routes.answering import json_response
from mlxknife.http.wire.documents import Health, Readiness, ResidentObject
from mlxknife.version import __version__

_UNAVAILABLE = 503


@attrs.frozen
class State:
    """How the server is."""

    front: Front

    async def health(self, request: Request) -> Response:
        """Say that the server is alive; that it answers is the answer."""
        del request
        return json_response(Health(version=__version__, models=self._residents()))

    async def ready(self, request: Request) -> Response:
        """Say whether a request would be taken now, and could be answered without waiting for a model."""
        del request
        residents = self._residents()
        status = self._status(residents)
        document = Readiness(status, residents)
        answer = json_response(document, 200 if status == "ready" else _UNAVAILABLE)
        if status != "ready":
            answer.headers["retry-after"] = "1"
        return answer

    async def metrics(self, request: Request) -> Response:
        """Return the numbers, for Prometheus."""
        del request
        page = self.front.metrics.page(self.front.residents.loaded(), self.front.in_flight)
        return Response(page, headers={"content-type": CONTENT_TYPE})

    def _status(self, residents: tuple[ResidentObject, ...]) -> Literal["ready", "stopping", "loading", "busy"]:
        if self.front.is_stopping:
            return "stopping"
        if self.front.is_full:
            return "busy"
        is_awaited = bool(residents) or self.front.residents.keeps
        has_one = any(resident.state == "ready" for resident in residents)
        return "loading" if is_awaited and not has_one else "ready"

    def _residents(self) -> tuple[ResidentObject, ...]:
        loaded = self.front.residents.loaded()
        return tuple(ResidentObject(one.name, one.state.value, one.running) for one in loaded)
