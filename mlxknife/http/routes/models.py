"""``GET /v1/models`` and ``/v1/models/{id}``."""

from __future__ import annotations

import attrs
from starlette.requests import Request
from starlette.responses import Response

from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.http.front import Front
from mlxknife.http.routes.answering import json_response
from mlxknife.http.wire.documents import ModelCard, ModelList

_OWNER = "local"


@attrs.frozen
class Models:
    """What can be asked."""

    front: Front

    async def all(self, request: Request) -> Response:
        """List everything that can run."""
        del request
        return json_response(ModelList(data=tuple(map(_card, await self.front.models()))))

    async def one(self, request: Request) -> Response:
        """Describe one model; every name that a request may use will do. Raises ModelNotFound and its like."""
        served = await self.front.in_thread(self.front.serving.find, request.path_params["id"])
        return json_response(_card(served.info))


def _card(info: ModelInfo) -> ModelCard:
    owner, slash, _ = info.name.partition("/")
    return ModelCard(id=info.name, created=max(0, int(info.modified)), owned_by=owner if slash else _OWNER)
