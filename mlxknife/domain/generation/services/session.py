"""Chat: a model that is loaded, and its answers as they come."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import Self

import attrs

from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.catalog.services.runnable import Runnable, runnable
from mlxknife.domain.errors import NotEnoughMemory, ValidationError
from mlxknife.domain.generation.rules import options as wishes
from mlxknife.domain.generation.rules import prompts, reasoning
from mlxknife.domain.generation.rules.answer_splitter import Telling
from mlxknife.domain.generation.values.generation import (
    FinishReason,
    Message,
    Outcome,
    Piece,
    PieceKind,
    Timings,
    Usage,
    Wish,
)
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.text.rules import display
from mlxknife.ports.engines.engine import Engine, TextModel
from mlxknife.ports.engines.templates import Templates
from mlxknife.ports.system.system import System


@attrs.define
class Session:
    """A loaded model. Use it as a context manager, or close it. One answer at a time."""

    info: ModelInfo
    model: TextModel
    templates: Templates
    system: System
    generation_config: Mapping[str, object]
    load_seconds: float
    draft: ModelInfo | None = None
    """The model that guesses ahead."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Free the memory of the model, and of its draft model."""
        self.model.close()

    def answer(
        self, messages: Sequence[Message], wish: Wish | None = None, *, with_template: bool = True
    ) -> Generator[Piece, None, Outcome]:
        """Yield the answer to a conversation as it comes; what it returns at the end tells the whole.

        Closing the generator cancels the answer. Raises ValidationError for a wish that can mean nothing,
        ContextLengthExceeded before any work, TemplateError, EngineError.
        """
        wish = wish or Wish()
        wishes.check(wish, has_draft=self.draft is not None)
        prompts.check(messages)
        wishes.check_length(messages, self.model.vocabulary, self.info.traits.context_length)
        began = self.system.now()
        template = self.model.chat_template if with_template else None
        if template is None:
            prompt = prompts.plain(messages)
        else:
            prompt = self.templates.render(template, messages, self.model.special_tokens)
        tokens = self.model.tokens(prompt, is_rendered=template is not None)
        request = wishes.settled(wish, self.generation_config, tokens, self.info.traits.context_length)
        marks = reasoning.markers(self.model.vocabulary, template, prompt) if template is not None else None
        telling, told = Telling(marks, wish.stops), list[Piece]()
        count, cached, first, ended = 0, 0, None, FinishReason.CANCELLED
        steps = self.model.generate(request)
        try:
            for step in steps:
                count += 1
                cached = step.cached
                first = first or self.system.now()
                for piece in telling.hear(step.text):
                    told.append(piece)
                    yield piece
                ended = step.ended or ended
                if telling.has_stopped:
                    ended = FinishReason.STOP
                    break
        finally:
            steps.close()
        for piece in telling.rest():
            told.append(piece)
            yield piece
        if telling.has_stopped:
            ended = FinishReason.STOP
        over = self.system.now()
        return Outcome(
            answer=_text(told, PieceKind.ANSWER),
            reasoning=_text(told, PieceKind.REASONING),
            finish_reason=ended,
            usage=Usage(prompt_tokens=len(tokens), completion_tokens=count, cached_tokens=cached),
            timings=Timings(load=self.load_seconds, first_token=(first or over) - began, total=over - began),
        )

    def ask(self, question: str, wish: Wish | None = None, *, system: str | None = None) -> Outcome:
        """Return the whole answer to one question. Raises what ``answer`` raises."""
        pieces = self.answer(prompts.assembled((question,), system=system), wish)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome


@attrs.frozen
class Chat:
    """Answers ``run``."""

    catalog: Catalog
    engine: Engine
    templates: Templates
    system: System

    def open(
        self, spec: str, *, profile: str | None = None, draft: str | None = None, window: int | None = None
    ) -> Session:
        """Load the one model that a spec means.

        ``profile`` says how a machine without GPU is used: ``fast`` (everything in float32, unquantised), ``compact``
        (as it is on the disk, its scales in float32) or ``as-is``; without it the memory decides. ``draft`` names a
        smaller model of the same vocabulary that guesses ahead, so that the same answer comes sooner. There has to be
        memory for the weights, and for ``window`` tokens (4,096 where nobody says).

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable,
        NotEnoughMemory, EngineError.
        """
        if profile is not None and profile not in memory.PROFILES:
            msg = f"There is no CPU profile '{profile}'"
            raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join(memory.PROFILES)))
        found = runnable(self.catalog, spec)
        guessing = None if draft is None else runnable(self.catalog, draft)
        chosen = self._fitting([found] if guessing is None else [found, guessing], profile, window)
        began = self.system.now()
        self.templates.prepare()
        model = self.engine.load(found.location, chosen, draft=None if guessing is None else guessing.location)
        return Session(
            info=found.info,
            model=model,
            templates=self.templates,
            system=self.system,
            generation_config=found.generation_config,
            load_seconds=self.system.now() - began,
            draft=None if guessing is None else guessing.info,
        )

    def check(self, spec: str) -> ModelInfo:
        """Return the one model that a spec means, if it can be run; whether it fits is seen when it is opened.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable.
        """
        return runnable(self.catalog, spec).info

    def _fitting(self, models: Sequence[Runnable], wanted: str | None, window: int | None) -> str:
        """Return the profile for models that are loaded together. Raises NotEnoughMemory."""
        need = sum((memory.needed(found.facts, window) for found in models), memory.MemoryNeed(0, 0, 0))
        free = self.system.memory_available_bytes()
        least = need.least if wanted is None else need.of(wanted)
        if free is not None and least > free:
            names = " and ".join(f"'{found.info.name}'" for found in models)
            verb = "needs" if len(models) == 1 else "need"
            msg = f"{names} {verb} {display.size(least)} of memory, and {display.size(free)} are free"
            raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY)
        return wanted or memory.profile(need, free)


def _text(pieces: Sequence[Piece], kind: PieceKind) -> str:
    return "".join(piece.text for piece in pieces if piece.kind is kind)
