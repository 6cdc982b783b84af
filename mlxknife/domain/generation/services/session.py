"""Sessions: one loaded model for a terminal or a Python caller, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Self

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.catalog.services.runnable import RunnableModel, find_runnable
from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.errors import NotEnoughMemory, ValidationError
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
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message, SamplingParameters
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.text.rules import display
from mlxknife.domain.tools.rules.collecting import collected
from mlxknife.domain.tools.values import Tool, ToolCall, ToolCallDelta, ToolChoice
from mlxknife.ports.engines.processes import ModelClient, ModelClients
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
        for event in self.client.generate(request):
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
        max_rounds: int = MAX_ROUNDS,
    ) -> ToolLoop:
        """Return a loop that makes the calls of the model, each if ``approve`` allows it.

        Raises ValidationError for a function that cannot be a tool.
        """
        loop = ToolLoop.of(self.answer, self.functions, tools)
        return attrs.evolve(loop, approve=approve, max_rounds=max_rounds)

    def ask(
        self,
        question: str,
        options: GenerationOptions | None = None,
        *,
        system: str | None = None,
        tools: Sequence[ToolFunction] = (),
        tool_choice: ToolChoice | None = None,
    ) -> GenerationResult:
        """Return the whole answer to one question; the model may call the functions in ``tools``.

        Raises what ``with_tools`` and ``answer`` raise.
        """
        messages = prompts.assembled((question,), system=system)
        answer = self.with_tools(tools).answer(messages, options, tool_choice)
        while True:
            try:
                next(answer)
            except StopIteration as end:
                result: GenerationResult = end.value
                return result


def _no_report(info: ModelInfo, code: RemoteCode) -> None:
    del info, code


@attrs.frozen
class Sessions:
    """The service behind ``run``."""

    catalog: Catalog
    clients: ModelClients
    system: System
    functions: ToolFunctions

    __repr__ = reprs.name

    def open(
        self,
        spec: str,
        *,
        profile: str | None = None,
        draft: str | None = None,
        max_kv_size: int | None = None,
        allow_remote_code: bool = False,
        on_remote_code: Callable[[ModelInfo, RemoteCode], None] = _no_report,
    ) -> Session:
        """Load the model that a spec names.

        ``profile`` is the CPU profile of a machine without GPU: ``fast`` (float32, dequantised), ``compact`` (stored
        form, with float32 scales) or ``as-is``; by default the free memory decides. ``draft`` names a smaller model of
        the same vocabulary for speculative decoding. The memory must hold the weights and the KV cache of
        ``max_kv_size`` tokens, 4,096 by default. With ``allow_remote_code`` a model that needs code of its repo runs
        it, with your rights; ``on_remote_code`` is called before.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable,
        NotEnoughMemory, EngineError, WorkerLost.
        """
        client = self.clients.start()  # it starts up while the model is looked for
        try:
            models = self._found(spec, draft, on_remote_code, allow_remote_code=allow_remote_code)
            return self._opened(client, models, profile, max_kv_size)
        except BaseException:  # also Ctrl-C
            client.close()
            raise

    def check(self, spec: str, *, allow_remote_code: bool = False) -> ModelInfo:
        """Return the model that a spec names if it can be run; its memory is checked when it is opened.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable.
        """
        return find_runnable(self._catalog(allow_remote_code=allow_remote_code), spec).info

    def _catalog(self, *, allow_remote_code: bool) -> Catalog:
        return attrs.evolve(self.catalog, allows_remote_code=allow_remote_code)

    def _found(
        self,
        spec: str,
        draft: str | None,
        on_remote_code: Callable[[ModelInfo, RemoteCode], None],
        *,
        allow_remote_code: bool,
    ) -> list[RunnableModel]:
        """Return the model, and the draft model where one is named."""
        catalog = self._catalog(allow_remote_code=allow_remote_code)
        models = [find_runnable(catalog, name) for name in (spec, draft) if name is not None]
        for model in models:
            if model.remote_code is not None:
                on_remote_code(model.info, model.remote_code)
        return models

    def _opened(
        self, client: ModelClient, models: list[RunnableModel], profile: str | None, max_kv_size: int | None
    ) -> Session:
        if profile is not None and profile not in memory.PROFILES:
            msg = f"There is no CPU profile '{profile}'"
            raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join(memory.PROFILES)))
        model, draft_model = models[0], models[1] if len(models) > 1 else None
        with_code = [one for one in models if one.remote_code is not None]
        began = self.system.now()
        loaded = client.load(
            LoadRequest(
                location=model.location,
                profile=self._profile(models, profile, max_kv_size),
                memory_bytes=self.system.memory_available_bytes(),
                context_length=model.info.traits.context_length,
                defaults=rules.declared(model.generation_config),
                draft=None if draft_model is None else draft_model.location,
                runs_code=tuple(one.location for one in with_code),
            )
        )
        return Session(
            info=model.info,
            client=client,
            system=self.system,
            functions=self.functions,
            load_seconds=self.system.now() - began,
            notes=loaded.notes,
            draft=None if draft_model is None else draft_model.info,
            defaults=rules.declared(model.generation_config),
            remote_code=tuple(one.remote_code for one in with_code if one.remote_code is not None),
        )

    def _profile(self, models: Sequence[RunnableModel], asked: str | None, max_kv_size: int | None) -> str:
        """Return the CPU profile for models that are loaded together. Raises NotEnoughMemory."""
        need = sum((memory.needed(model.facts, max_kv_size) for model in models), memory.MemoryNeed(0, 0, 0))
        free = self.system.memory_available_bytes()
        least = need.least if asked is None else need.of(asked)
        if free is not None and least > free:
            names = " and ".join(f"'{model.info.name}'" for model in models)
            verb = "needs" if len(models) == 1 else "need"
            msg = f"{names} {verb} {display.size(least)} of memory, and {display.size(free)} are free"
            raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY)
        return asked or memory.profile(need, free)


def _text(deltas: Sequence[TextDelta], kind: TextKind) -> str:
    return "".join(delta.text for delta in deltas if delta.kind is kind)
