"""The model process of ``tests.e2e.gathering``: ``python -m tests.e2e.gathering_worker DESK DESCRIPTOR PARENT``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from mlxknife.adapters.worker.child.loop import serve
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.rows import BatchStep, Row
from mlxknife.ports.engines.text import TextModel, Tokenizer
from mlxknife.wiring.worker import TextEngineOpener
from tests.e2e.gathering import Desk


@attrs.define(eq=False)
class GatheringModel:
    """See ``TextModel``: the real one, to which rows are added only in groups."""

    model: TextModel
    desk: Desk
    held: list[Row] = attrs.field(factory=list)

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    @property
    def chat_template(self) -> str | None:
        return self.model.chat_template

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

    def add_row(self, row: Row) -> None:
        self.held.append(row)
        if len(self.held) < self.desk.gathering():
            return
        rows, self.held = self.held, []
        self.desk.note("begun", [one.id for one in rows])
        for one in rows:
            self.model.add_row(one)

    def cancel_row(self, row_id: int) -> None:
        self.held = [row for row in self.held if row.id != row_id]
        self.model.cancel_row(row_id)

    def step(self) -> BatchStep:
        step = self.model.step()
        self.desk.note("step", [one.row for one in step.steps])
        return step

    def close(self) -> None:
        self.model.close()


class GatheringOpener(TextEngineOpener):
    """Opens the real engine over a model that gathers rows."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def open(self, request: LoadRequest) -> TextEngine:
        return TextEngine(GatheringModel(self._loader.load(request), self._desk), self._templates, request)


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[2]), int(sys.argv[3]), GatheringOpener(Desk(Path(sys.argv[1])))))
