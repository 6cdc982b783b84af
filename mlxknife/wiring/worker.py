"""The model process: the second composition root. It wires MLX, the templates and the engine of a language model."""

from __future__ import annotations

import secrets

from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.adapters.worker.child.loop import serve
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.loading import LoadRequest


class TextEngineOpener:
    """See ``EngineOpener``."""

    def __init__(self) -> None:
        """Make what renders templates; its processes start later."""
        self._loader = MlxTextLoader()
        self._templates = JinjaTemplates()

    def prepare(self) -> None:
        """See ``EngineOpener.prepare``."""
        self._templates.prepare()
        self._loader.prepare()

    def open(self, request: LoadRequest) -> TextEngine:
        """See ``EngineOpener.open``."""
        return TextEngine(self._loader.load(request), self._templates, request, _new_call_id)


def _new_call_id() -> str:
    """Return an id for a tool call, in the form that OpenAI's API has."""
    return f"call_{secrets.token_hex(12)}"


def run_worker(descriptor: int, parent: int) -> int:
    """Run the model process at one end of a socket; return its exit status."""
    return serve(descriptor, parent, TextEngineOpener())
