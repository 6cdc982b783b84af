"""The writers: they turn the deltas of answers into the documents and events of a response."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import TypeAlias

import attrs
from msgspec import UNSET, Struct, UnsetType

from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, TokenLogprob, Usage
from mlxknife.domain.tools.rules.collecting import collected
from mlxknife.domain.tools.values import ToolCallDelta
from mlxknife.http.apis.openai import calls
from mlxknife.http.apis.openai.responses import (
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatLogprobs,
    ChatMessage,
    ChunkChoice,
    ChunkDelta,
    Completion,
    CompletionChoice,
    CompletionLogprobs,
    EndReason,
    PromptTokensDetails,
    TokenLogprobObject,
    TopLogprob,
    UsageObject,
)


@attrs.frozen
class ResponseForm:
    """What a response contains besides the answers, and how it names calls."""

    model: str
    includes_usage: bool
    includes_logprobs: bool
    has_tools: bool = False
    """Whether an answer may call tools."""
    uses_functions: bool = False
    """Whether calls have their deprecated form."""


@attrs.define
class GeneratedAnswer:
    """One answer, as far as it is generated."""

    texts: list[TextDelta] = attrs.field(factory=list)
    logprobs: list[TokenLogprob] = attrs.field(factory=list)
    tool_calls: list[ToolCallDelta] = attrs.field(factory=list)
    finish_reason: FinishReason | None = None
    usage: Usage | None = None

    def add(self, delta: Delta, *, keep_text: bool) -> None:
        """Take a delta; a stream keeps no text, because it is sent already."""
        if keep_text:
            self.texts += delta.texts
            self.logprobs += delta.logprobs
            self.tool_calls += delta.tool_calls
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage

    def text(self, *kinds: TextKind) -> str:
        """Return the text of some kinds."""
        return "".join(text.text for text in self.texts if text.kind in kinds)


@attrs.frozen
class ChatWriter:
    """Makes the documents of one response of the chat endpoint."""

    form: ResponseForm
    id: str = attrs.field(factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = attrs.field(factory=lambda: int(time.time()))

    def opening(self, count: int) -> list[Struct]:
        """Return the events that a stream begins with: the role of each answer.

        Where an answer may call tools, it begins without a text: it may have none.
        """
        role = ChunkDelta(role="assistant", content=None if self.form.has_tools else "")
        return [self._chunk((ChunkChoice(index, role),)) for index in range(count)]

    def chunks(self, delta: Delta) -> list[Struct]:
        """Return the events of a delta: one for each kind of text, one or two for each call, and one for the end."""
        index = delta.index
        parts = [
            ChunkDelta(reasoning_content=part.text)
            if part.kind is TextKind.REASONING
            else ChunkDelta(content=part.text)
            for part in delta.texts
        ]
        logprobs = self._logprobs(delta.logprobs) if delta.logprobs else None
        with_text = next((number for number, part in enumerate(parts) if part.content is not UNSET), len(parts))
        if logprobs is not None and with_text == len(parts):
            parts.append(ChunkDelta(content=""))
        parts += calls.chunks(delta.tool_calls, uses_functions=self.form.uses_functions)
        choices = [
            ChunkChoice(index, part, logprobs if number == with_text else None) for number, part in enumerate(parts)
        ]
        if delta.finish_reason is not None:
            choices.append(ChunkChoice(index, ChunkDelta(), None, self._end_reason(delta.finish_reason)))
        return [self._chunk((choice,)) for choice in choices]

    def usage_chunk(self, usage: Usage) -> Struct:
        """Return the event with the number of tokens."""
        return self._chunk((), _usage_object(usage))

    def document(self, answers: Sequence[GeneratedAnswer], usage: Usage) -> Struct:
        """Return the whole response."""
        return ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.form.model,
            choices=tuple(self._choice(index, answer) for index, answer in enumerate(answers)),
            usage=_usage_object(usage),
        )

    def _choice(self, index: int, answer: GeneratedAnswer) -> ChatChoice:
        called = collected(answer.tool_calls)
        content = answer.text(TextKind.ANSWER)
        message = ChatMessage(
            content=None if called and not content else content,
            reasoning_content=answer.text(TextKind.REASONING) or UNSET,
            tool_calls=tuple(map(calls.tool_call, called)) if called and not self.form.uses_functions else UNSET,
            function_call=calls.function_call(called[0]) if called and self.form.uses_functions else UNSET,
        )
        return ChatChoice(index, message, self._logprobs(answer.logprobs), self._end_reason(answer.finish_reason))

    def _end_reason(self, reason: FinishReason | None) -> EndReason:
        if reason is FinishReason.TOOL_CALLS:
            return "function_call" if self.form.uses_functions else "tool_calls"
        return _end_reason(reason)

    def _chunk(self, choices: tuple[ChunkChoice, ...], usage: UsageObject | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self.id,
            created=self.created,
            model=self.form.model,
            choices=choices,
            usage=usage if self.form.includes_usage else UNSET,
        )

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> ChatLogprobs | None:
        return ChatLogprobs(tuple(map(_token_logprob, tokens))) if self.form.includes_logprobs else None


@attrs.frozen
class CompletionWriter:
    """Makes the documents of one response of the completion endpoint."""

    form: ResponseForm
    id: str = attrs.field(factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = attrs.field(factory=lambda: int(time.time()))
    _lengths: dict[int, int] = attrs.field(factory=dict, init=False)
    """The length of each text so far, for ``text_offset``."""

    def opening(self, count: int) -> list[Struct]:
        """Return the events that a stream begins with: none."""
        del count
        return []

    def chunks(self, delta: Delta) -> list[Struct]:
        """Return the events of a delta: one for the text, and one for the end."""
        index = delta.index
        text = "".join(part.text for part in delta.texts)
        logprobs = self._logprobs(index, delta.logprobs) if delta.logprobs else None
        choices = [CompletionChoice(index, text, logprobs)] if text or logprobs is not None else []
        if delta.finish_reason is not None:
            choices.append(CompletionChoice(index, "", None, _end_reason(delta.finish_reason)))
        return [self._document((choice,), None if self.form.includes_usage else UNSET) for choice in choices]

    def usage_chunk(self, usage: Usage) -> Struct:
        """Return the event with the number of tokens."""
        return self._document((), _usage_object(usage))

    def document(self, answers: Sequence[GeneratedAnswer], usage: Usage) -> Struct:
        """Return the whole response."""
        choices = tuple(self._choice(index, answer) for index, answer in enumerate(answers))
        return self._document(choices, _usage_object(usage))

    def _choice(self, index: int, answer: GeneratedAnswer) -> CompletionChoice:
        text = answer.text(*TextKind)
        return CompletionChoice(index, text, self._logprobs(index, answer.logprobs), _end_reason(answer.finish_reason))

    def _document(self, choices: tuple[CompletionChoice, ...], usage: UsageObject | UnsetType | None) -> Completion:
        return Completion(id=self.id, created=self.created, model=self.form.model, choices=choices, usage=usage)

    def _logprobs(self, index: int, tokens: Sequence[TokenLogprob]) -> CompletionLogprobs | None:
        if not self.form.includes_logprobs:
            return None
        offsets, offset = [], self._lengths.get(index, 0)
        for one in tokens:
            offsets.append(offset)
            offset += len(one.token)
        self._lengths[index] = offset
        return CompletionLogprobs(
            text_offset=tuple(offsets),
            token_logprobs=tuple(one.logprob for one in tokens),
            tokens=tuple(one.token for one in tokens),
            top_logprobs=tuple(
                {other.token: other.logprob for other in one.top} | {one.token: one.logprob} for one in tokens
            ),
        )


Writer: TypeAlias = ChatWriter | CompletionWriter


def _token_logprob(one: TokenLogprob) -> TokenLogprobObject:
    top = tuple(TopLogprob(other.token, other.logprob, list(other.content)) for other in one.top)
    return TokenLogprobObject(one.token, one.logprob, list(one.content), top)


def _usage_object(usage: Usage) -> UsageObject:
    details = PromptTokensDetails(usage.cached_tokens)
    return UsageObject(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, details)


def _end_reason(reason: FinishReason | None) -> EndReason:
    """Return OpenAI's name of a finish reason. Requests over HTTP have no loop guard."""
    return "length" if reason is FinishReason.LENGTH else "stop"
