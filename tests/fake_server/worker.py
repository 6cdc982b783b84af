"""A model process whose model takes its time, and writes down its rows and steps.

``python -m tests.fake_server.worker STEP_SECONDS ROWS JOURNAL DESCRIPTOR PARENT``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import attrs
import msgspec

from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.adapters.worker.child.loop import serve
from mlxknife.domain.generation.services.engine import PreparedRequest, TextEngine
from mlxknife.domain.generation.services.prompt_renderer import Prompt
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.generation.values.rows import BatchStep, Row
from tests.engine_answers import numbered_call_ids
from tests.fakes.text_model import FakeTextModel, fake_parrot
from tests.parrot_rows import NAN_TOKEN

HANGING_TEXT = "this text hangs the tokenizer"


class Note(msgspec.Struct, frozen=True):
    """A line of the journal. The clock is the machine's, so that every process reads the same."""

    at: float
    kind: str
    """``row``, ``cancel`` or ``step``."""
    rows: tuple[int, ...]
    step: int
    """The number of steps so far."""


@attrs.define
class NotedTextModel(FakeTextModel):
    """Writes down what is done to it."""

    step_seconds: float = attrs.field(kw_only=True)
    note: Callable[[Note], None] = attrs.field(kw_only=True)
    steps: int = attrs.field(default=0, init=False)

    def add_row(self, row: Row) -> None:
        FakeTextModel.add_row(self, row)
        self._note("row", row.id)

    def cancel_row(self, row_id: int) -> None:
        self._note("cancel", row_id)
        FakeTextModel.cancel_row(self, row_id)

    def step(self) -> BatchStep:
        time.sleep(self.step_seconds)
        self.steps += 1
        step = FakeTextModel.step(self)
        self._note("step", *(one.row for one in step.steps))
        return step

    def _note(self, kind: str, *rows: int) -> None:
        self.note(Note(time.monotonic(), kind, rows, self.steps))


class HangingEngine(TextEngine):
    """An engine whose tokenizer never returns from one text."""

    def tokenize(self, request: GenerationRequest, rendered: Sequence[Prompt]) -> PreparedRequest:
        while any(HANGING_TEXT in str(prompt.text) for prompt in rendered):
            time.sleep(1)
        return TextEngine.tokenize(self, request, rendered)


@attrs.define
class Opener:
    """Fulfils ``ports.engines.engine.EngineOpener``."""

    step_seconds: float
    max_rows: int
    note: Callable[[Note], None]
    templates: JinjaTemplates = attrs.field(factory=JinjaTemplates)

    def prepare(self) -> None:
        self.templates.prepare()

    def open(self, request: LoadRequest) -> HangingEngine:
        parrot = fake_parrot()
        model = NotedTextModel(
            answer=parrot.answer,
            tokenizer=parrot.tokenizer,
            end_token=parrot.end_token,
            chat_template=parrot.chat_template,
            special_tokens=parrot.special_tokens,
            vocabulary_size=parrot.vocabulary_size,
            failing_token=NAN_TOKEN,
            samples=True,
            max_rows=self.max_rows,
            step_seconds=self.step_seconds,
            note=self.note,
        )
        return HangingEngine(model, self.templates, request, numbered_call_ids(), time.monotonic)


def main() -> int:
    step_seconds, rows, journal, descriptor, parent = sys.argv[1:]
    with open(journal, "a", buffering=1, encoding="utf-8") as file:

        def note(note: Note) -> None:
            file.write(msgspec.json.encode(note).decode() + "\n")

        return serve(int(descriptor), int(parent), Opener(float(step_seconds), int(rows), note))


if __name__ == "__main__":
    sys.exit(main())
