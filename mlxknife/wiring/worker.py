"""The model process: the second composition root. It wires MLX, the templates and the engine of a language model."""

from __future__ import annotations

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
        return TextEngine(self._loader.load(request), self._templates, request)


def run_worker(descriptor: int, parent: int) -> int:
    """Run the model process at one end of a socket; return its exit status."""
    return serve(descriptor, parent, TextEngineOpener())
