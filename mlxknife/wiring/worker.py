"""The model process: the second composition root. It wires the engines with what they need."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, TypeAlias

from mlxknife.adapters.worker.child.loop import serve
from mlxknife.domain.engines.values import EngineKind

if TYPE_CHECKING:
    from mlxknife.domain.embedding.services.engine import EmbeddingEngine
    from mlxknife.domain.generation.services.engine import TextEngine
    from mlxknife.domain.generation.values.loading import LoadRequest
    from mlxknife.domain.reranking.services.engine import RerankingEngine


class TextEngineOpener:
    """See ``EngineOpener``: opens language models."""

    def __init__(self) -> None:
        """Make what renders templates; its processes start later."""
        from mlxknife.adapters.jinja.templates import JinjaTemplates  # noqa: PLC0415 - each kind imports its own
        from mlxknife.adapters.mlx.text.model import MlxTextLoader  # noqa: PLC0415

        self._loader = MlxTextLoader()
        self._templates = JinjaTemplates()

    def prepare(self) -> None:
        """See ``EngineOpener.prepare``."""
        self._templates.prepare()
        self._loader.prepare()

    def open(self, request: LoadRequest) -> TextEngine:
        """See ``EngineOpener.open``."""
        from mlxknife.domain.generation.services.engine import TextEngine  # noqa: PLC0415

        return TextEngine(self._loader.load(request), self._templates, request, _new_call_id, time.monotonic)


class EmbeddingEngineOpener:
    """See ``EngineOpener``: opens embedding models."""

    def __init__(self) -> None:
        """Make the loader."""
        from mlxknife.adapters.mlx.embedding.model import EncoderLoader  # noqa: PLC0415

        self._loader = EncoderLoader()

    def prepare(self) -> None:
        """See ``EngineOpener.prepare``."""
        self._loader.prepare()

    def open(self, request: LoadRequest) -> EmbeddingEngine:
        """See ``EngineOpener.open``."""
        from mlxknife.domain.embedding.services.engine import open_engine  # noqa: PLC0415

        return open_engine(self._loader, request)


class RerankingEngineOpener:
    """See ``EngineOpener``: opens rerankers."""

    def __init__(self) -> None:
        """Make the loader."""
        from mlxknife.adapters.mlx.reranking.model import RerankerLoader  # noqa: PLC0415

        self._loader = RerankerLoader()

    def prepare(self) -> None:
        """See ``EngineOpener.prepare``."""
        self._loader.prepare()

    def open(self, request: LoadRequest) -> RerankingEngine:
        """See ``EngineOpener.open``."""
        from mlxknife.domain.reranking.services.engine import open_engine  # noqa: PLC0415

        return open_engine(self._loader, request)


AnyOpener: TypeAlias = TextEngineOpener | EmbeddingEngineOpener | RerankingEngineOpener


class AnyEngineOpener:
    """See ``EngineOpener``: opens the kind of engine that a model needs, and prepares the most likely one."""

    def __init__(self, likely: EngineKind) -> None:
        """Take the kind of engine to prepare."""
        self._likely = likely
        self._openers: dict[EngineKind, AnyOpener] = {}

    def prepare(self) -> None:
        """See ``EngineOpener.prepare``."""
        self._opener(self._likely).prepare()

    def open(self, request: LoadRequest) -> TextEngine | EmbeddingEngine | RerankingEngine:
        """See ``EngineOpener.open``."""
        opener = self._opener(request.kind)
        if request.kind is not self._likely:
            opener.prepare()
        return opener.open(request)

    def _opener(self, kind: EngineKind) -> AnyOpener:
        found = self._openers.get(kind)
        if found is None:
            found = self._openers[kind] = _OPENERS[kind]()
        return found


_OPENERS: dict[EngineKind, type[AnyOpener]] = {
    EngineKind.TEXT: TextEngineOpener,
    EngineKind.EMBEDDING: EmbeddingEngineOpener,
    EngineKind.RERANKING: RerankingEngineOpener,
}


def _new_call_id() -> str:
    """Return an id for a tool call, in the form that OpenAI's API has."""
    return f"call_{secrets.token_hex(12)}"


def run_worker(descriptor: int, parent: int, likely: EngineKind = EngineKind.TEXT) -> int:
    """Run the model process at one end of a socket; return its exit status. ``likely`` is the engine to prepare."""
    return serve(descriptor, parent, AnyEngineOpener(likely))
