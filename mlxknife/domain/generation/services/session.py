"""A session: one loaded model for a terminal or a Python caller, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import options as rules
from mlxknife.domain.generation.rules import prompts
from mlxknife.domain.generation.services.tool_loop import MAX_ROUNDS, ToolLoop, approve_all
from mlxknife.domain.generation.values.answer import (
    Delta,
    FinishReason,
    GenerationEvent,
    GenerationResult,
    TextDelta,
    TextKind,
    Timings,
    Usage,
)
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message, SamplingParameters
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.tools.rules.collecting import collected
from mlxknife.domain.tools.values import Tool, ToolCall, ToolCallDelta, ToolChoice
from mlxknife.ports.engines.processes import ModelClient
from mlxknife.ports.system.system import System
from mlxknife.ports.system.tool_functions import ToolFunction, ToolFunctions


@attrs.define
class AnswerProgress:
    """How far an answer has come."""

    usage: Usage = attrs.field(factory=lambda: Usage(0, 0))
    timings: Timings = attrs.field(factory=lambda: Timings(0.0, 0.0, 0.0))
    _has_begun: bool = attrs.field(default=False, init=False)

    def add(self, event: GenerationEvent, load_seconds: float, seconds: float) -> None:
        """Count an event that arrived so many seconds after the question."""
        if not isinstance(event, Delta):
            self.usage = Usage(event.prompt_tokens, 0)
            return
        self.usage = event.usage or self.usage
        first = self.timings.first_token if self._has_begun else seconds
        self._has_begun = True
        self.timings = Timings(load_seconds, first, seconds)

    def ended(self, load_seconds: float, seconds: float) -> Timings:
        """Return the durations of an answer that has ended."""
        return Timings(load_seconds, self.timings.first_token if self._has_begun else seconds, seconds)


@attrs.define
class Session:
    """A loaded model. Use it as a context manager, or close it. Several threads may ask at once."""

    info: ModelInfo
    client: ModelClient
    system: System
    functions: ToolFunctions
    load_seconds: float
    notes: tuple[str, ...] = ()
    """Decisions made while loading, one sentence each."""
    draft: ModelInfo | None = None
    """The model for speculative decoding."""
    defaults: SamplingParameters = attrs.field(factory=SamplingParameters)
    """The sampling parameters that the model declares."""
    remote_code: tuple[RemoteCode, ...] = ()
    """The code of model repos that was allowed to run."""

    def __repr__(self) -> str:
        """Return the model's name."""
        return reprs.call(self, model=self.info.name)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the session."""
        self.close()

    def close(self) -> None:
        """End the model process and free its memory."""
        self.client.close()

    def answer(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        *,
        use_chat_template: bool = True,
        progress: AnswerProgress | None = None,
        tools: Sequence[Tool] = (),
        tool_choice: ToolChoice | None = None,
    ) -> Generator[TextDelta, None, GenerationResult]:
        """Yield the answer to a conversation while it is generated, and return the whole result at the end.

        Closing the generator cancels the answer; ``progress`` then holds how far it came. Calls of ``tools`` are part
        of the result; ``with_tools`` makes them. Raises ValidationError for invalid messages, options or tools,
        ContextLengthExceeded for a prompt that is too long, TemplateError, EngineError, WorkerLost.
        """
        options = options or GenerationOptions()
        rules.check(options, has_draft=self.draft is not None)
        prompts.check(messages)
        if options.n != 1:
            msg = "n must be 1: a session gives one answer to each question"
            raise ValidationError(msg, param="n")
        progress = progress or AnswerProgress()
        began = self.system.now()
        deltas, calls = list[TextDelta](), list[ToolCallDelta]()
        reason = FinishReason.STOP
        request = GenerationRequest(
            tuple(messages),
            options=options,
            use_chat_template=use_chat_template,
            tools=tuple(tools),
            tool_choice=tool_choice or ToolChoice(),
        )
        for event in self.client.submit(request):
            progress.add(event, self.load_seconds, self.system.now() - began)
            if not isinstance(event, Delta):
                continue
            reason = event.finish_reason or reason
            calls += event.tool_calls
            for delta in event.texts:
                deltas.append(delta)
                yield delta
        return GenerationResult(
            answer=_text(deltas, TextKind.ANSWER),
            reasoning=_text(deltas, TextKind.REASONING),
            finish_reason=reason,
            usage=progress.usage,
            timings=progress.ended(self.load_seconds, self.system.now() - began),
            tool_calls=collected(calls),
        )

    def with_tools(
        self,
        tools: Sequence[ToolFunction],
        *,
        approve: Callable[[ToolCall], bool] = approve_all,
        max_tool_rounds: int = MAX_ROUNDS,
        progress: AnswerProgress | None = None,
    ) -> ToolLoop:
        """Return a loop that makes the calls of the model, each if ``approve`` allows it.

        ``max_tool_rounds`` limits the answers with calls to one question; ``progress`` holds how far the last one came.
        Raises ValidationError for a function that cannot be a tool.
        """
        answering = partial(self.answer, progress=progress)
        return ToolLoop.of(answering, self.functions, tools, approve, max_tool_rounds)

    def ask(  # noqa: PLR0913 - they are the choices of a caller, each by its name
        self,
        question: str,
        options: GenerationOptions | None = None,
        *,
        system: str | None = None,
        tools: Sequence[ToolFunction] = (),
        tool_choice: ToolChoice | None = None,
        approve: Callable[[ToolCall], bool] = approve_all,
        max_tool_rounds: int = MAX_ROUNDS,
    ) -> GenerationResult:
        """Return the whole answer to one question; the model may call the functions in ``tools``.

        Each is a function with type hints, whose docstring tells the model what it does. A call is made if ``approve``
        returns True for it. After ``max_tool_rounds`` answers with calls, the model must answer without one.

        Raises what ``with_tools``, ``answer`` and ``approve`` raise.
        """
        messages = prompts.assembled((question,), system=system)
        loop = self.with_tools(tools, approve=approve, max_tool_rounds=max_tool_rounds)
        answer = loop.answer(messages, options, tool_choice)
        while True:
            try:
                next(answer)
            except StopIteration as end:
                result: GenerationResult = end.value
                return result


def _text(deltas: Sequence[TextDelta], kind: TextKind) -> str:
    return "".join(delta.text for delta in deltas if delta.kind is kind)
