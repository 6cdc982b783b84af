"""An answer: the deltas that a model process sends, and the whole result."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.tools.values import ToolCall, ToolCallDelta, ToolUse


class TextKind(Enum):
    """What a piece of text belongs to."""

    ANSWER = "answer"
    REASONING = "reasoning"


@attrs.frozen
class TextDelta:
    """New text of one kind."""

    kind: TextKind
    text: str

    __repr__ = reprs.fields


class FinishReason(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    REPETITION = "repetition"
    """The loop guard ended it; only requests with ``has_loop_guard`` end so."""
    TOOL_CALLS = "tool_calls"
    """The model called tools, and waits for their results."""


@attrs.frozen
class TokenLogprob:
    """The logprob of a token."""

    token: str
    """Its text; bytes that are no whole character are replaced."""
    content: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()
    """The most likely tokens at this position, the most likely first."""


@attrs.frozen
class Usage:
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """The tokens of the prompt that came from the prefix cache."""

    @property
    def total_tokens(self) -> int:
        """The sum of prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens


@attrs.frozen
class Delta:
    """What is new of one answer."""

    index: int = 0
    """Which answer of the request: all answers to the first prompt come first."""
    texts: tuple[TextDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    """The token counts so far."""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    """They follow the texts."""

    @property
    def ends_answer(self) -> bool:
        """Whether the answer has ended."""
        return self.finish_reason is not None

    def followed_by(self, later: Delta) -> Delta:
        """Return this and a later delta of the same answer as one."""
        texts = list(self.texts)
        for text in later.texts:
            if texts and texts[-1].kind is text.kind:
                texts[-1] = TextDelta(text.kind, texts[-1].text + text.text)
            else:
                texts.append(text)
        calls = list(self.tool_calls)
        for call in later.tool_calls:
            if calls and calls[-1].index == call.index:
                calls[-1] = calls[-1].followed_by(call)
            else:
                calls.append(call)
        logprobs = self.logprobs + later.logprobs if later.logprobs else self.logprobs
        return Delta(self.index, tuple(texts), logprobs, later.finish_reason, later.usage or self.usage, tuple(calls))


GenerationEvent: TypeAlias = Accepted | Delta


@attrs.frozen
class Timings:
    """Durations in seconds."""

    load: float
    first_token: float
    total: float


@attrs.frozen
class GenerationResult:
    """A whole answer."""

    answer: str
    reasoning: str
    finish_reason: FinishReason
    usage: Usage
    timings: Timings = attrs.field(repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls that wait for a result."""
    tool_uses: tuple[ToolUse, ...] = ()
    """The calls that were made on the way to this answer."""

    __repr__ = reprs.fields
