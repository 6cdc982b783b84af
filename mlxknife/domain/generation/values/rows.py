"""Rows of a batch: what each asks for, and what one step of decoding tells of all of them."""

from __future__ import annotations

import attrs

from mlxknife.domain.errors import KnifeError, ValidationError
from mlxknife.domain.generation.values.generation import FinishReason, Sampling
from mlxknife.domain.hints import HintCode

MAX_TOP_LOGPROBS = 20
"""How many likely tokens can be told for each place; as many as OpenAI tells."""
_MAX_BIAS = 100.0
_MAX_INT = 2**31 - 1
_MAX_SEED = 2**63 - 1


@attrs.frozen
class Row:
    """One answer that is wanted: everything is settled, and what can mean nothing is refused where it is made."""

    id: int
    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = attrs.field(factory=Sampling)
    """What is None there is not done; without a temperature the likeliest token is taken."""
    frequency_penalty: float = 0.0
    """Taken from a token for each time that it stands in the answer."""
    presence_penalty: float = 0.0
    """Taken from a token that stands in the answer."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int | None = None
    """How many likely tokens are told for each place; None tells not even how likely the chosen one was."""

    def __attrs_post_init__(self) -> None:
        """Raise ValidationError for a value that can mean nothing, naming it."""
        if not self.prompt:
            msg = "prompt is empty"
            raise ValidationError(msg, hint=HintCode.NONEMPTY_PROMPT, param="prompt")
        _within("max_tokens", self.max_tokens, 1, _MAX_INT)
        sampling = self.sampling
        _within("temperature", sampling.temperature, 0.0, 100.0)
        _within("top_p", sampling.top_p, 0.0, 1.0)
        _within("top_k", sampling.top_k, 0, _MAX_INT)
        _within("min_p", sampling.min_p, 0.0, 1.0)
        _within("repetition_penalty", sampling.repetition_penalty, 0.01, 100.0)
        _within("seed", sampling.seed, 0, _MAX_SEED)
        _within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _within("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _within("top_logprobs", self.top_logprobs, 0, MAX_TOP_LOGPROBS)
        for _, bias in self.logit_bias:
            _within("logit_bias", bias, -_MAX_BIAS, _MAX_BIAS)
        if len({token for token, _ in self.logit_bias}) < len(self.logit_bias):
            msg = "logit_bias names a token twice"
            raise ValidationError(msg, param="logit_bias")

    def check_vocabulary(self, size: int) -> None:
        """Raise ValidationError for a token that a model of so many tokens does not have."""
        for name, tokens in (("prompt", self.prompt), ("logit_bias", [token for token, _ in self.logit_bias])):
            strange = next((token for token in tokens if not 0 <= token < size), None)
            if strange is not None:
                msg = f"{name} has token {strange}, and the model knows 0 to {size - 1}"
                raise ValidationError(msg, hint=HintCode.MODEL_TOKENS, param=name)


@attrs.frozen
class RowStep:
    """The next token of a row. A token that ends the turn is told too, and belongs to no text."""

    row: int
    token: int
    ended: FinishReason | None = None
    """Why this token was the last one."""
    logprob: float | None = None
    """How likely it was, before the temperature and after penalties and bias; told where it was asked for."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens and how likely each was, the likeliest first."""
    cached: int = 0
    """How many tokens of the prompt were known from earlier rows, and not computed again."""


@attrs.frozen
class RowError:
    """A row that failed; nothing more comes of it."""

    row: int
    error: KnifeError
    """ValidationError where the row was refused, EngineError where it failed."""


@attrs.frozen
class BatchStep:
    """What one step brought: at most one token for each row."""

    steps: tuple[RowStep, ...] = ()
    errors: tuple[RowError, ...] = ()


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:  # NaN is within nothing
        msg = f"{name} must be between {low} and {high}, not {value}"
        raise ValidationError(msg, param=name)
