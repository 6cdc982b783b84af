"""Requests to a server: what a client wants of a model, and what is told of it on the way."""

from __future__ import annotations

import attrs

from mlxknife.domain.generation.values.generation import FinishReason, Message, Piece, Sampling, Usage
from mlxknife.domain.generation.values.rows import Row


@attrs.frozen
class Wanted:
    """How answers are to be made. What is None is left to the model, then to the product."""

    sampling: Sampling = attrs.field(factory=Sampling)
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int | None = None
    """How many likely tokens are told for each place; None tells not even how likely the chosen one was."""
    count: int = 1
    """How many answers there shall be to each prompt."""


@attrs.frozen
class ChatRequest:
    """The next turn of a conversation."""

    messages: tuple[Message, ...]
    wanted: Wanted = attrs.field(factory=Wanted)


@attrs.frozen
class TextRequest:
    """How texts go on; each is a text or its tokens."""

    prompts: tuple[str | tuple[int, ...], ...]
    wanted: Wanted = attrs.field(factory=Wanted)
    echo: bool = False
    """Whether an answer begins with its prompt."""


@attrs.frozen
class TokenLikelihood:
    """How likely a token was, and what it stands for."""

    token: str
    """Its text; where it is a part of a letter, as much as can be shown of it."""
    content: bytes
    logprob: float
    top: tuple[TokenLikelihood, ...] = ()


@attrs.frozen
class Told:
    """What one step of one answer brought."""

    pieces: tuple[Piece, ...] = ()
    likelihoods: tuple[TokenLikelihood, ...] = ()
    ended: FinishReason | None = None
    """Why nothing more comes; CANCELLED where it was stopped from outside."""
    must_be_cancelled: bool = False
    """Whether the model still goes on with it: a stop string ended it, of which the model knows nothing."""
    usage: Usage | None = None
    """How many tokens there were, with the last that is told."""


@attrs.frozen
class Prepared:
    """A request as rows for a model: ``count`` answers to each prompt, the answers to the first prompt first."""

    rows: tuple[Row, ...]
    prompt_tokens: int
    """The tokens of all prompts, each counted once."""
