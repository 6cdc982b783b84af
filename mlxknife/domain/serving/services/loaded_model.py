"""A model that is loaded: who holds it, and what it says to each of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import attrs

from mlxknife.domain.errors import KnifeError, WorkerLost
from mlxknife.domain.generation.services.answer_stream import Narration
from mlxknife.domain.generation.values.requests import Told
from mlxknife.domain.generation.values.rows import BatchStep, RowStep
from mlxknife.domain.hints import HintCode
from mlxknife.domain.serving.services.servable_models import Prepared, Served
from mlxknife.domain.serving.values.processes import HostedModel
from mlxknife.ports.engines.hosts import Host


class State(Enum):
    """How far a model is."""

    LOADING = "loading"
    READY = "ready"


@attrs.define(eq=False)
class Asked:
    """Somebody who waits for a model."""

    served: Served
    on_claim: Callable[[Claim | KnifeError], None]


@attrs.define(eq=False)
class Answer:
    """An answer on its way."""

    claim: Claim
    index: int
    narration: Narration
    on_told: Callable[[int, Told | KnifeError], None]


@attrs.define(eq=False)
class Resident:
    """A model that is loaded, or is about to be."""

    served: Served
    bytes: int
    last_used: float
    state: State = State.LOADING
    host: Host | None = None
    model: HostedModel | None = None
    load_seconds: float | None = None
    claims: set[Claim] = attrs.field(factory=set)
    answers: dict[int, Answer] = attrs.field(factory=dict)
    waiting: list[Asked] = attrs.field(factory=list)
    goes_next: bool = False
    """Whether another model waits for its place, so that nobody new may hold it."""
    _count: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.served.info.name

    @property
    def running(self) -> int:
        """How many answers are on their way."""
        return len(self.answers)

    @property
    def is_used(self) -> bool:
        """Whether somebody holds it, or waits for it."""
        return bool(self.claims or self.waiting)

    def submit(self, claim: Claim, prepared: Prepared, on_told: Callable[[int, Told | KnifeError], None]) -> list[int]:
        """Send the rows of a request; return what they are called here."""
        sent = list[int]()
        for index, (row, narration) in enumerate(zip(prepared.rows, prepared.narrations, strict=True)):
            if self.host is None:
                on_told(index, self.lost())
                continue
            self._count += 1
            self.answers[self._count] = Answer(claim, index, narration, on_told)
            sent.append(self._count)
            self.host.submit(attrs.evolve(row, id=self._count))
        return sent

    def drop(self, row: int) -> None:
        """Forget an answer; the model does too."""
        if self.answers.pop(row, None) is not None and self.host is not None:
            self.host.cancel(row)

    def stepped(self, batch: BatchStep) -> bool:
        """Tell what a step brought; return whether an answer came to its end."""
        ends = False
        for step in batch.steps:
            answer = self.answers.get(step.row)
            if answer is not None:
                ends = self._tell(answer, step) or ends
        for failed in batch.errors:
            answer = self.answers.pop(failed.row, None)
            if answer is not None:
                answer.on_told(answer.index, failed.error)
        return ends

    def unload(self) -> None:
        """End the process."""
        if self.host is not None:
            self.host.close()
        self.host = self.model = None

    def fall(self, error: KnifeError) -> None:
        """End the process, and tell everybody why."""
        self.unload()
        answers, self.answers = self.answers, {}
        waiting, self.waiting = self.waiting, []
        for answer in answers.values():
            answer.on_told(answer.index, error)
        for asked in waiting:
            asked.on_claim(error)

    def lost(self) -> WorkerLost:
        """Return the error for whoever comes too late."""
        return WorkerLost(f"The process of '{self.name}' is gone", hint=HintCode.RETRY_STARTS_PROCESS)

    def _tell(self, answer: Answer, step: RowStep) -> bool:
        told: Told | KnifeError
        try:
            told = answer.narration.hear(step)
            ends, goes_on = told.ended is not None, told.must_be_cancelled
        except KnifeError as exc:
            told, ends, goes_on = exc, True, step.ended is None
        if ends:
            del self.answers[step.row]
        if ends and goes_on and self.host is not None:
            self.host.cancel(step.row)
        if ends or (isinstance(told, Told) and (told.pieces or told.likelihoods)):
            answer.on_told(answer.index, told)
        return ends


@attrs.define(eq=False)
class Claim:
    """The right to be answered by a model, which stays loaded until it is released."""

    resident: Resident
    _on_release: Callable[[Claim], None]
    _rows: list[int] = attrs.field(factory=list)

    @property
    def model(self) -> HostedModel:
        """The model. Raises WorkerLost where it fell in the meantime."""
        model = self.resident.model
        if model is None:
            raise self.resident.lost()
        return model

    def answer(self, prepared: Prepared, on_told: Callable[[int, Told | KnifeError], None]) -> None:
        """Send a request; what comes of each answer is told in the order of its steps, with its index."""
        self._rows += self.resident.submit(self, prepared, on_told)

    def cancel(self) -> None:
        """Drop every answer that is on its way; nothing more is told of them."""
        rows, self._rows = self._rows, []
        for row in rows:
            self.resident.drop(row)

    def release(self) -> None:
        """Give the model back, and drop what is on its way. Doing it twice is no mistake."""
        self.cancel()
        self._on_release(self)
