"""Rows: the sequences that a model decodes together, one token of each in a step."""

from __future__ import annotations

import attrs

from mlxknife.domain.errors import KnifeError, ValidationError
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import KVCacheOptions, SamplingParameters
from mlxknife.domain.hints import HintCode


@attrs.frozen
class Row:
    """One sequence to decode. Every value is settled: None in ``sampling`` means that nothing of the kind is done."""

    id: int
    prompt: tuple[int, ...]
    max_tokens: int
    sampling: SamplingParameters = attrs.field(factory=SamplingParameters)
    kv_cache: KVCacheOptions = attrs.field(factory=KVCacheOptions)
    top_logprobs: int | None = None
    grammar: str | None = None
    """The grammar of the answer, see ``GrammarBuilder``."""

    def check_vocabulary(self, size: int) -> None:
        """Raise ValidationError for an empty prompt or a token outside a vocabulary of this size."""
        if not self.prompt:
            msg = "prompt is empty"
            raise ValidationError(msg, hint=HintCode.NONEMPTY_PROMPT, param="prompt")
        for name, tokens in (("prompt", self.prompt), ("logit_bias", [token for token, _ in self.sampling.logit_bias])):
            unknown = next((token for token in tokens if not 0 <= token < size), None)
            if unknown is not None:
                msg = f"{name} has token {unknown}, and the model knows 0 to {size - 1}"
                raise ValidationError(msg, hint=HintCode.MODEL_TOKENS, param=name)


@attrs.frozen
class RowStep:
    """The next token of a row. A token that ends the turn is reported too, and belongs to no text."""

    row: int
    token: int
    finish_reason: FinishReason | None = None
    """Set with the last token."""
    logprob: float | None = None
    """After penalties and bias, before the temperature; set where the row asks for logprobs."""
    top: tuple[tuple[int, float], ...] = ()
    """The most likely tokens with their logprobs, the most likely first."""
    cached: int = 0
    """The tokens of the prompt that came from the prefix cache."""


@attrs.frozen
class RowError:
    """A row that failed; it is gone."""

    row: int
    error: KnifeError


@attrs.frozen
class BatchStep:
    """The result of one step: at most one token for each row."""

    steps: tuple[RowStep, ...] = ()
    errors: tuple[RowError, ...] = ()
