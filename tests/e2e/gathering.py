"""A server whose model starts several rows in the same step: ``python -m tests.e2e.gathering --port 0 --json FOLDER``.

The server and the model process are real. While the folder has a file ``gather`` with a number, the model holds rows
back until there are so many; its file ``rows`` lists which rows were started together, and which ones each step had.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
from starlette.applications import Starlette

import mlxknife
from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.adapters.worker.child import loop
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.rows import BatchStep, Row
from mlxknife.http.app import create_app
from mlxknife.http.options import Options
from mlxknife.http.server import serve
from mlxknife.ports.engines.text import TextModel, Tokenizer
from mlxknife.wiring.run import WORKER_OPTION
from tests.engine_answers import numbered_call_ids


@attrs.frozen
class Gathering:
    """The folder through which the test and the model process communicate."""

    folder: Path

    def gather(self, count: int) -> None:
        """Let the model hold rows back until there are so many."""
        (self.folder / "gather").write_text(str(count))

    def count(self) -> int:
        file = self.folder / "gather"
        return int(file.read_text()) if file.exists() else 1

    def note(self, kind: str, rows: list[int]) -> None:
        with (self.folder / "rows").open("a") as noted:
            noted.write(json.dumps([kind, rows]) + "\n")

    def notes(self) -> list[tuple[str, list[int]]]:
        """Return what happened: ``start`` or ``step``, and with which rows."""
        return [(kind, rows) for kind, rows in map(json.loads, (self.folder / "rows").read_text().splitlines())]


@attrs.define(eq=False)
class GatheringModel:
    """Fulfils ``ports.engines.text.TextModel``."""

    model: TextModel
    gathering: Gathering
    held: list[Row] = attrs.field(factory=list)

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    @property
    def chat_template(self) -> str | None:
        return self.model.chat_template

    @property
    def tool_parser(self) -> object:
        return self.model.tool_parser

    @property
    def special_tokens(self) -> Mapping[str, str]:
        return self.model.special_tokens

    @property
    def vocabulary_size(self) -> int:
        return self.model.vocabulary_size

    @property
    def notes(self) -> tuple[str, ...]:
        return self.model.notes

    @property
    def is_idle(self) -> bool:
        return self.model.is_idle

    def compile_grammar(self, grammar: str, *, keep: bool = True) -> None:
        self.model.compile_grammar(grammar, keep=keep)

    def add_row(self, row: Row) -> None:
        self.held.append(row)
        if len(self.held) < self.gathering.count():
            return
        rows, self.held = self.held, []
        self.gathering.note("start", [one.id for one in rows])
        for one in rows:
            self.model.add_row(one)

    def cancel_row(self, row_id: int) -> None:
        self.held = [row for row in self.held if row.id != row_id]
        self.model.cancel_row(row_id)

    def step(self) -> BatchStep:
        step = self.model.step()
        self.gathering.note("step", [one.row for one in step.steps])
        return step

    def close(self) -> None:
        self.model.close()


@attrs.frozen
class GatheringOpener:
    """Fulfils ``ports.engines.engine.EngineOpener``."""

    gathering: Gathering
    loader: MlxTextLoader = attrs.field(factory=MlxTextLoader)
    templates: JinjaTemplates = attrs.field(factory=JinjaTemplates)

    def prepare(self) -> None:
        self.templates.prepare()

    def open(self, request: LoadRequest) -> TextEngine:
        return TextEngine(
            GatheringModel(self.loader.load(request), self.gathering),
            self.templates,
            request,
            numbered_call_ids(),
            time.monotonic,
        )


def main() -> int:
    if sys.argv[2] == WORKER_OPTION:
        _, folder, _, descriptor, parent = sys.argv
        return loop.serve(int(descriptor), int(parent), GatheringOpener(Gathering(Path(folder))))
    app = mlxknife.open_app()
    command = (sys.executable, "-m", "tests.e2e.gathering", sys.argv[-1], WORKER_OPTION)

    def create(options: Options) -> Starlette:
        return create_app(app.servable_models(), app.model_pool(processes=WorkerProcesses(command)), options)

    return serve(create, Options(port=0), _print_document)


def _print_document(url: str) -> None:
    document = {"status": "success", "data": {"url": url, "pid": os.getpid()}}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
