"""The fields that both endpoints take, and what they mean to the domain."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Raw, Struct, field

from mlxknife.domain.generation.values.generation import Sampling
from mlxknife.domain.generation.values.requests import Wanted
from mlxknife.http.refusals import Refusal
from mlxknife.http.wire.reading import nothing

MAX_COUNT = 16
"""How many answers there may be to one prompt."""
_MAX_STOPS = 16
_MAX_BIASES = 1024
_SEEDS = 2**63
_MAX_TOKEN = 2**31 - 1

Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=500)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=_MAX_TOKEN)]
Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]


class StreamOptions(Struct, kw_only=True):
    """What a stream tells beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Asking(Struct, kw_only=True):
    """What both endpoints take."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    n: Annotated[int, Meta(ge=1, le=MAX_COUNT)] | None = None
    seed: Annotated[int, Meta(ge=-_SEEDS, le=_SEEDS - 1)] | None = None
    stop: Text | Annotated[list[Text], Meta(max_length=_MAX_STOPS)] | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=_MAX_TOKEN)] | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=_MAX_BIASES)] | None = (
        None
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Raw = field(default_factory=nothing)
    """A label, as are ``metadata`` and the like of the chat endpoint: they change nothing."""

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def check_stream(body: Asking) -> None:
    """Raise Refusal for what is asked of a stream that cannot be."""
    options = body.stream_options
    if options is None:
        return
    if not body.stream:
        msg = "stream_options means nothing without stream"
        raise Refusal(msg, param="stream_options", hint="Leave it out, or set stream to true")
    if options.include_obfuscation:
        msg = "stream_options.include_obfuscation does not work here"
        raise Refusal(msg, param="stream_options.include_obfuscation", hint="Leave it out")


def wanted(body: Asking, *, max_tokens: int | None, top_logprobs: int | None) -> Wanted:
    """Return what a body asks for in the words of the domain. Raises Refusal."""
    return Wanted(
        sampling=Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            min_p=body.min_p,
            repetition_penalty=body.repetition_penalty,
            seed=None if body.seed is None else body.seed % _SEEDS,  # as many as OpenAI has: two of them are the same
        ),
        max_tokens=max_tokens,
        stops=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        logit_bias=_biases(body.logit_bias or {}),
        top_logprobs=top_logprobs,
        count=body.n or 1,
    )


def _biases(given: dict[str, float]) -> tuple[tuple[int, float], ...]:
    biases: dict[int, float] = {}
    for key, bias in given.items():
        if not (key.isascii() and key.isdigit() and len(key) <= len(str(_MAX_TOKEN)) and int(key) <= _MAX_TOKEN):
            msg = "logit_bias: a key is not the number of a token"
            raise Refusal(msg, param="logit_bias")
        if int(key) in biases:
            msg = f"logit_bias names token {int(key)} twice"
            raise Refusal(msg, param="logit_bias")
        biases[int(key)] = bias
    return tuple(biases.items())
