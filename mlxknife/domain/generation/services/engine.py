"""The engine of a language model: it answers generation requests. The model process carries it and adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from mlxknife.domain.constraints.rules import bodies
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import ContextLengthExceeded, KnifeError, ValidationError
from mlxknife.domain.generation.rules import options
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers
from mlxknife.domain.generation.services.answer_stream import AnswerStream
from mlxknife.domain.generation.services.form_compiler import FormCompiler
from mlxknife.domain.generation.services.prompt_renderer import Prompt, PromptRenderer
from mlxknife.domain.generation.values.answer import Delta
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.generation.values.rows import Row, RowStep
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.tools.rules.detection import tool_family
from mlxknife.domain.tools.rules.splitter import ToolCallSplitter
from mlxknife.domain.tools.values import ToolMode
from mlxknife.ports.engines.templates import Templates
from mlxknife.ports.engines.text import TextModel, Tokenizer

_CONTEXT = 16
"""The number of prompt tokens that decide how the answer is joined to them."""


@attrs.frozen
class PreparedRequest:
    """A request with its prompts tokenized and its options settled. Row ids count from 0."""

    rows: tuple[Row, ...]
    streams: tuple[AnswerStream, ...]
    prompt_tokens: int
    form: str | None = None
    """The field that demands the form of the answers."""


@attrs.frozen(eq=False)
class _Answer:
    request_id: int
    stream: AnswerStream
    form: str | None
    """The field that errors of its grammar name."""


class TextEngine:
    """Runs requests on one model.

    ``render`` and ``tokenize`` may run in any thread, beside the steps. The other methods belong to the thread that
    loaded the model.
    """

    def __init__(
        self,
        model: TextModel,
        templates: Templates,
        loaded: LoadRequest,
        new_call_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        """Take a loaded model, what renders its chat template, and what it was loaded with.

        ``new_call_id`` makes the ids of calls, ``clock`` is a monotonic clock.
        """
        self._model = model
        self._templates = templates
        self._loaded = loaded
        self._new_call_id = new_call_id
        self._tool_family = tool_family(model.chat_template, model.tokenizer.vocabulary, model.tool_parser)
        self._forms = FormCompiler(model, self._tool_family, clock)
        self._renderer = PromptRenderer(model, templates, loaded, self._tool_family)
        self._answers: dict[int, _Answer] = {}
        """The running answers, by row id."""
        self._next_row = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each."""
        return self._model.notes

    @property
    def is_idle(self) -> bool:
        """Whether no request runs or waits."""
        return self._model.is_idle

    def render(self, request: GenerationRequest) -> tuple[Prompt, ...]:
        """Return the prompts of a request as text. Raises what ``PromptRenderer.render`` raises."""
        return self._renderer.render(request)

    def tokenize(self, request: GenerationRequest, rendered: Sequence[Prompt]) -> PreparedRequest:
        """Return a request ready to be submitted.

        Raises ContextLengthExceeded for a prompt that leaves no token for an answer; ValidationError for a constraint
        that is not supported or exceeds a limit; UnsupportedCapability for a model that supports no constraints;
        EngineError if the tokenizer fails.
        """
        tokenizer, field = self._model.tokenizer, "prompt" if request.prompts else "messages"
        rows, streams, count = list[Row](), list[AnswerStream](), 0
        for prompt in rendered:
            tokens = self._encode(prompt, field)
            grammar = self._grammar(request, prompt.markers)
            try:
                made = options.rows(len(rows), tokens, request.options, self._loaded, grammar)
            except ContextLengthExceeded as exc:
                exc.param = exc.param or field
                raise
            echo = _echo(tokenizer, prompt.text) if request.echo else ""
            after = tokens[-_CONTEXT:] if request.prompts else ()
            streams += [
                AnswerStream(
                    tokenizer,
                    len(tokens),
                    index=row.id,
                    markers=prompt.markers,
                    stops=request.options.stop,
                    calls=self._call_splitter(request),
                    echo=echo,
                    after=after,
                    has_loop_guard=request.options.has_loop_guard,
                )
                for row in made
            ]
            rows += made
            count += len(tokens)
        form = _form_field(request) if any(row.grammar is not None for row in rows) else None
        return PreparedRequest(tuple(rows), tuple(streams), count, form)

    def submit(self, request_id: int, prepared: PreparedRequest) -> Accepted:
        """Add the rows of a request to the model.

        Raises ValidationError for a token outside the vocabulary or KV cache options that the model does not support;
        EngineError if the model is closed. Nothing of the request runs then.
        """
        added = list[int]()
        try:
            for row, stream in zip(prepared.rows, prepared.streams, strict=True):
                self._next_row += 1
                self._model.add_row(attrs.evolve(row, id=self._next_row))
                added.append(self._next_row)
                self._answers[self._next_row] = _Answer(request_id, stream, prepared.form)
        except KnifeError:
            self._drop(added)
            raise
        return Accepted(prepared.prompt_tokens)

    def cancel(self, request_id: int) -> None:
        """Drop a request; it produces no further events. An unknown or finished one is ignored."""
        self._drop([row for row, answer in self._answers.items() if answer.request_id == request_id])

    def step(self) -> list[tuple[int, Delta | KnifeError]]:
        """Run one step and return what it produced, each with the id of its request.

        An error ends its request. Raises EngineError if the model is closed.
        """
        batch = self._model.step()
        events = list[tuple[int, Delta | KnifeError]]()
        for step in batch.steps:
            answer = self._answers.get(step.row)
            if answer is not None:
                events += self._fed(answer, step)
        for failed in batch.errors:
            answer = self._answers.pop(failed.row, None)
            if answer is not None:
                if isinstance(failed.error, ValidationError):
                    failed.error.param = failed.error.param or answer.form
                events.append(self._failed(answer.request_id, failed.error))
        return events

    def close(self) -> None:
        """Free the model and end the template renderers."""
        self._answers.clear()
        self._model.close()
        self._templates.close()

    def _fed(self, answer: _Answer, step: RowStep) -> list[tuple[int, Delta | KnifeError]]:
        try:
            delta = answer.stream.feed(step)
        except KnifeError as exc:
            return [self._failed(answer.request_id, exc)]
        if delta.finish_reason is not None:
            del self._answers[step.row]
            if step.finish_reason is None:  # a stop string or the loop guard ended it, and the model does not know
                self._model.cancel_row(step.row)
        elif not delta.texts and not delta.tool_calls and not delta.logprobs:
            return []
        return [(answer.request_id, delta)]

    def _failed(self, request_id: int, error: KnifeError) -> tuple[int, KnifeError]:
        """End a request of which one answer failed."""
        self.cancel(request_id)
        return request_id, error

    def _drop(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._answers.pop(row, None)
            self._model.cancel_row(row)

    def _call_splitter(self, request: GenerationRequest) -> ToolCallSplitter | None:
        """Return what finds the calls in an answer; None where there are no tools."""
        tools = request.shown_tools
        if not tools:
            return None
        return ToolCallSplitter(
            self._tool_family,
            tools,
            self._new_call_id,
            is_parallel=request.has_several_calls,
            is_forced=request.tool_choice.mode is ToolMode.REQUIRED,
        )

    def _encode(self, prompt: Prompt, field: str) -> tuple[int, ...]:
        if not isinstance(prompt.text, str):
            return prompt.text
        self._renderer.check_characters([prompt.text], field)
        return self._model.tokenizer.encode(
            prompt.text, add_special_tokens=not prompt.has_special_tokens, mark=prompt.mark
        )

    def _grammar(self, request: GenerationRequest, markers: ReasoningMarkers | None) -> str | None:
        """Return the grammar of an answer, compiled; None if an answer may be anything."""
        field = _form_field(request)
        try:
            grammar = self._forms.compiled(request, markers)
        except ValidationError as exc:
            exc.param = exc.param or field
            raise
        if grammar is not None and self._loaded.draft is not None:
            msg = f"{field} and draft_model cannot be combined: its tokens need not be allowed ones"
            raise ValidationError(msg, hint=Hint(HintCode.OMIT_ONE, name=field, other="draft_model"), param=field)
        return grammar


def _form_field(request: GenerationRequest) -> str:
    """Return the field that errors of the form of an answer name."""
    return "tools" if request.options.constraint is None else bodies.PLACE


def _echo(tokenizer: Tokenizer, prompt: str | Sequence[int]) -> str:
    if isinstance(prompt, str):
        return prompt
    detokenizer = tokenizer.detokenizer()
    return "".join([*(detokenizer.feed(token) for token in prompt), detokenizer.finish()])
