"""The engine of a language model: it answers generation requests. The model process carries it and adds nothing."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mlxknife.domain.errors import ContextLengthExceeded, KnifeError, TemplateError, ValidationError
from mlxknife.domain.generation.rules import chat_history, context_window, conversations, options, prompts, reasoning
from mlxknife.domain.generation.rules.conversations import Conversation
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers
from mlxknife.domain.generation.services.answer_stream import AnswerStream
from mlxknife.domain.generation.values.answer import Accepted, Delta
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest, Message
from mlxknife.domain.generation.values.rows import Row, RowStep
from mlxknife.domain.tools.rules import checks as tool_checks
from mlxknife.domain.tools.rules.detection import tool_family
from mlxknife.domain.tools.values import Tool, ToolMode
from mlxknife.ports.engines.templates import Templates
from mlxknife.ports.engines.text import TextModel, Tokenizer

_CONTEXT = 16
"""The number of prompt tokens that decide how the answer is joined to them."""


@attrs.frozen
class Prompt:
    """A prompt before tokenization."""

    text: str | tuple[int, ...]
    """The text, or its tokens where the client sent tokens."""
    has_special_tokens: bool = False
    """Whether the text is a rendered chat template."""
    markers: ReasoningMarkers | None = None
    mark: str = ""
    """The character that breaks the names of control tokens in the texts of messages, where there are any."""


@attrs.frozen
class PreparedRequest:
    """A request with its prompts tokenized and its options settled. Row ids count from 0."""

    rows: tuple[Row, ...]
    streams: tuple[AnswerStream, ...]
    prompt_tokens: int


@attrs.frozen(eq=False)
class _Answer:
    request_id: int
    stream: AnswerStream


class TextEngine:
    """Runs requests on one model.

    ``render`` and ``tokenize`` may run in any thread, beside the steps. The other methods belong to the thread that
    loaded the model.
    """

    def __init__(self, model: TextModel, templates: Templates, loaded: LoadRequest) -> None:
        """Take a loaded model, the renderer of its chat template, and what it was loaded with."""
        self._model = model
        self._templates = templates
        self._loaded = loaded
        self._tool_family = tool_family(model.chat_template, model.tokenizer.vocabulary, model.tool_parser)
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
        """Return the prompts of a request as text.

        Raises ValidationError for invalid options or messages; ContextLengthExceeded, TemplateError, ServerBusy.
        """
        options.check(request.options, has_draft=self._loaded.draft is not None)
        tool_checks.check(request.tools, request.tool_choice)
        if request.tools and (request.prompts or not request.use_chat_template):
            msg = "tools need messages and the chat template of the model"
            raise ValidationError(msg, param="tools")
        if request.prompts:
            _check_echo(request)
            return tuple(Prompt(prompt) for prompt in request.prompts)
        prompts.check(request.messages)
        self._check_characters(prompts.message_texts(request.messages), "messages")
        if not request.use_chat_template:
            return (Prompt(conversations.plain(conversations.of(request.messages))),)
        template = self._model.chat_template
        forms = chat_history.forms(request.messages, _shown_tools(request), self._tool_family, template or "")
        if template is None:
            conversation, mark = self._marked(forms[0], "")
            return (Prompt(conversations.plain(conversation), mark=mark),)
        text, mark = self._rendered(template, forms, request.messages)
        markers = reasoning.find_markers(self._model.tokenizer.vocabulary, template, text)
        return (Prompt(text, has_special_tokens=True, markers=markers, mark=mark),)

    def tokenize(self, request: GenerationRequest, rendered: Sequence[Prompt]) -> PreparedRequest:
        """Return a request ready to be submitted.

        Raises ContextLengthExceeded for a prompt that leaves no token for an answer; EngineError if the tokenizer
        fails.
        """
        tokenizer, field = self._model.tokenizer, "prompt" if request.prompts else "messages"
        rows, streams, count = list[Row](), list[AnswerStream](), 0
        for prompt in rendered:
            tokens = self._encode(prompt, field)
            try:
                made = options.rows(len(rows), tokens, request.options, self._loaded)
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
                    echo=echo,
                    after=after,
                    has_loop_guard=request.options.has_loop_guard,
                )
                for row in made
            ]
            rows += made
            count += len(tokens)
        return PreparedRequest(tuple(rows), tuple(streams), count)

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
                self._answers[self._next_row] = _Answer(request_id, stream)
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

    def _rendered(self, template: str, forms: Sequence[Conversation], messages: Sequence[Message]) -> tuple[str, str]:
        """Return the first form that the template takes as text, and the mark in it.

        Raises ValidationError for arguments that it does not take; TemplateError, ServerBusy.
        """
        failures = list[TemplateError]()
        for form in forms:
            conversation, mark = self._marked(form, template)
            tools = {"tools": conversation.tools} if conversation.tools else {}
            try:
                text = self._templates.render(template, conversation.messages, {**self._model.special_tokens, **tools})
            except TemplateError as exc:
                failures.append(exc)
            else:
                return (text.replace(conversations.escaped(mark), mark) if mark else text), mark
        chat_history.check_arguments(messages)
        failures[0].param = failures[0].param or "messages"
        raise failures[0]

    def _marked(self, conversation: Conversation, template: str) -> tuple[Conversation, str]:
        """Break the names of control tokens in a conversation, so that nothing in it can end or begin a turn.

        Returns the conversation and the mark that breaks them; most conversations have no such names, and need none.
        """
        mark = conversations.unused_mark(conversation, template)
        tokenizer = self._model.tokenizer
        marked = conversations.rewritten(
            conversation, lambda text, is_answer: tokenizer.mark_control_tokens(text, mark, is_answer=is_answer)
        )
        return (conversation, "") if marked == conversation else (marked, mark)

    def _encode(self, prompt: Prompt, field: str) -> tuple[int, ...]:
        if not isinstance(prompt.text, str):
            return prompt.text
        self._check_characters([prompt.text], field)
        return self._model.tokenizer.encode(
            prompt.text, add_special_tokens=not prompt.has_special_tokens, mark=prompt.mark
        )

    def _check_characters(self, texts: Sequence[str], field: str) -> None:
        try:
            context_window.check_characters(texts, self._model.tokenizer.vocabulary, self._loaded.context_length)
        except ContextLengthExceeded as exc:
            exc.param = field
            raise


def _shown_tools(request: GenerationRequest) -> tuple[Tool, ...]:
    """Return the tools that the model sees: none where it must not call any."""
    return () if request.tool_choice.mode is ToolMode.NONE else request.tools


def _check_echo(request: GenerationRequest) -> None:
    if request.echo and request.options.top_logprobs is not None:
        msg = "logprobs and echo cannot be combined: the logprobs of a prompt are not computed"
        raise ValidationError(msg, param="logprobs")


def _echo(tokenizer: Tokenizer, prompt: str | Sequence[int]) -> str:
    if isinstance(prompt, str):
        return prompt
    detokenizer = tokenizer.detokenizer()
    return "".join([*(detokenizer.feed(token) for token in prompt), detokenizer.finish()])
