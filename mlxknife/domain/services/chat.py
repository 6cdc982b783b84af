"""Chat: a model that is loaded, and its answers as they come."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import Self

import attrs

from mlxknife.domain.errors import ModelNotRunnable, NotEnoughMemory, ValidationError
from mlxknife.domain.model.generation import FinishReason, Message, Outcome, Piece, PieceKind, Timings, Usage, Wish
from mlxknife.domain.model.info import ModelInfo, ModelType
from mlxknife.domain.model.snapshot import Location, SnapshotFacts
from mlxknife.domain.rules import display, filenames, memory, prompts, reasoning, wishes
from mlxknife.domain.rules.stop import StopWatch
from mlxknife.domain.services.catalog import Catalog
from mlxknife.ports.engine import Engine, TextModel
from mlxknife.ports.system import System
from mlxknife.ports.templates import Templates

_OTHER_COMMAND = {
    ModelType.EMBEDDING: "It makes embeddings: that is for mlxk embed",
    ModelType.AUDIO: "It is a speech model, which mlxk does not run",
}


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
        told = _Told(reasoning.Splitter(marks), StopWatch(wish.stops))
        count, cached, first, ended = 0, 0, None, FinishReason.CANCELLED
        steps = self.model.generate(request)
        try:
            for step in steps:
                count += 1
                cached = step.cached
                first = first or self.system.now()
                yield from told.hear(step.text)
                ended = step.ended or ended
                if told.watch.has_stopped:
                    ended = FinishReason.STOP
                    break
        finally:
            steps.close()
        yield from told.rest()
        if told.watch.has_stopped:
            ended = FinishReason.STOP
        over = self.system.now()
        return Outcome(
            answer=told.text(PieceKind.ANSWER),
            reasoning=told.text(PieceKind.REASONING),
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


@attrs.define
class _Told:
    """What an answer has told so far: reasoning as it comes, the answer until a stop string."""

    splitter: reasoning.Splitter
    watch: StopWatch
    pieces: list[Piece] = attrs.field(factory=list)

    def hear(self, text: str) -> Generator[Piece]:
        for piece in self.splitter.feed(text):
            yield from self._kept(piece)

    def rest(self) -> Generator[Piece]:
        for piece in self.splitter.flush():
            yield from self._kept(piece)
        held = self.watch.flush()
        if held:
            self.pieces.append(Piece(PieceKind.ANSWER, held))
            yield self.pieces[-1]

    def text(self, kind: PieceKind) -> str:
        return "".join(piece.text for piece in self.pieces if piece.kind is kind)

    def _kept(self, piece: Piece) -> Generator[Piece]:
        if piece.kind is PieceKind.ANSWER:
            piece = Piece(piece.kind, self.watch.feed(piece.text))
        if piece.text:
            self.pieces.append(piece)
            yield piece


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
            raise ValidationError(msg, hint=f"There are {', '.join(memory.PROFILES)}")
        found = self._runnable(spec)
        guessing = None if draft is None else self._runnable(draft)
        chosen = self._fitting([found] if guessing is None else [found, guessing], profile, window)
        began = self.system.now()
        model = self.engine.load(found.location, chosen, draft=None if guessing is None else guessing.location)
        return Session(
            info=found.info,
            model=model,
            templates=self.templates,
            system=self.system,
            generation_config=found.facts.json_object(filenames.GENERATION_CONFIG),
            load_seconds=self.system.now() - began,
            draft=None if guessing is None else guessing.info,
        )

    def check(self, spec: str) -> ModelInfo:
        """Return the one model that a spec means, if it can be run; whether it fits is seen when it is opened.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable.
        """
        return self._runnable(spec).info

    def _runnable(self, spec: str) -> _Found:
        found = self.catalog.examine(spec, filenames.RUN_LIST)
        info, location = found.info, found.entry.location
        if not info.integrity.healthy or location is None:
            msg = f"'{info.name}' cannot be run: {info.reason}"
            hint = f"Bring what is missing with: mlxk pull {info.name}" if info.cached else f"See mlxk show {info.name}"
            raise ModelNotRunnable(msg, hint=hint)
        if info.traits.model_type in _OTHER_COMMAND:
            msg = f"'{info.name}' does not generate text"
            raise ModelNotRunnable(msg, hint=_OTHER_COMMAND[info.traits.model_type])
        if not info.runtime_compatible:
            msg = f"'{info.name}' cannot be run: {info.reason}"
            raise ModelNotRunnable(msg)
        return _Found(info, location, found.facts)

    def _fitting(self, models: Sequence[_Found], wanted: str | None, window: int | None) -> str:
        """Return the profile for models that are loaded together. Raises NotEnoughMemory."""
        need = sum((memory.needed(found.facts, window) for found in models), memory.Need(0, 0, 0))
        free = self.system.memory_available_bytes()
        least = need.least if wanted is None else need.of(wanted)
        if free is not None and least > free:
            names = " and ".join(f"'{found.info.name}'" for found in models)
            verb = "needs" if len(models) == 1 else "need"
            msg = f"{names} {verb} {display.size(least)} of memory, and {display.size(free)} are free"
            raise NotEnoughMemory(msg, hint="Close what you do not need, or take a smaller or more quantised model")
        return wanted or memory.profile(need, free)


@attrs.frozen
class _Found:
    """A model that can be run, and where it is."""

    info: ModelInfo
    location: Location
    facts: SnapshotFacts
