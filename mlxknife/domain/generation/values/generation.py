"""Generating text: what is asked for, what comes piece by piece, and what came of it."""

from __future__ import annotations

from enum import Enum

import attrs


@attrs.frozen
class Message:
    """One turn of a conversation."""

    role: str
    content: str
    name: str | None = None
    """Who speaks, where several have the same role."""
    tool_call_id: str | None = None
    """Which call a tool answers."""
    reasoning_content: str | None = None
    """What the model thought before it said this."""


@attrs.frozen
class Sampling:
    """How the next token is chosen. None leaves it to the model, then to the product."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None


GROUP_SIZES = (32, 64, 128)
"""How many numbers can be quantised together."""


@attrs.frozen
class CacheShape:
    """What the model remembers of the text so far, and how small it is kept."""

    bits: int | None = None
    group_size: int = 64
    quantized_from: int = 0
    """The token from which on it is quantised."""
    window: int | None = None
    """How many tokens it holds before it forgets the oldest."""


@attrs.frozen
class Wish:
    """What somebody wants of an answer."""

    sampling: Sampling = Sampling()
    cache: CacheShape = CacheShape()
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()


@attrs.frozen
class TokenRequest:
    """What an engine is asked for: everything is settled."""

    tokens: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    cache: CacheShape = CacheShape()


class PieceKind(Enum):
    """What a piece of text belongs to."""

    ANSWER = "answer"
    REASONING = "reasoning"


@attrs.frozen
class Piece:
    """A piece of text as it comes."""

    kind: PieceKind
    text: str


class FinishReason(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


@attrs.frozen
class Step:
    """What an engine gives for one token: the text that is certain by now. ``ended`` is there at the last one."""

    text: str
    ended: FinishReason | None = None
    cached: int = 0
    """How many tokens of the prompt were known from before, and not computed again."""


@attrs.frozen
class Markers:
    """How a family of models sets reasoning apart from the answer."""

    begins: tuple[str, ...]
    end: str
    answers: tuple[str, ...] = ()
    """What stands before an answer and belongs to nothing."""
    begins_inside: bool = False
    """Whether the prompt has begun the reasoning already."""


@attrs.frozen
class Usage:
    """How many tokens there were."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """How many of the prompt's were known from the answer before."""

    @property
    def total_tokens(self) -> int:
        """The sum."""
        return self.prompt_tokens + self.completion_tokens


@attrs.frozen
class Timings:
    """How long it took, in seconds."""

    load: float
    first_token: float
    total: float


@attrs.frozen
class Outcome:
    """A whole answer."""

    answer: str
    reasoning: str
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
