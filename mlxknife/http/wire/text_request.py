"""``POST /v1/completions``: what comes in."""

from __future__ import annotations

from typing import Annotated, cast

from msgspec import Meta, Raw, field

from mlxknife.domain.generation.values.requests import TextRequest
from mlxknife.domain.generation.values.rows import MAX_TOP_LOGPROBS
from mlxknife.http.refusals import Refusal
from mlxknife.http.wire.asking import Asking, check_stream, wanted
from mlxknife.http.wire.reading import nothing, refuse_what_does_not_work

MAX_ANSWERS = 64
"""How many answers one request may ask for, over all its prompts."""
NOT_YET: dict[str, tuple[object, ...]] = {"best_of": (1,), "suffix": ("",)}
MAX_TOKEN = 2**31 - 1


class TextBody(Asking, kw_only=True):
    """What the text endpoint takes. A prompt is a text or its tokens; there may be several."""

    prompt: str | Annotated[list[str | int | list[int]], Meta(min_length=1)]
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    best_of: Raw = field(default_factory=nothing)
    suffix: Raw = field(default_factory=nothing)


def text_request(body: TextBody) -> TextRequest:
    """Return what a body asks for in the words of the domain. Raises Refusal, naming the field."""
    refuse_what_does_not_work(body, NOT_YET)
    check_stream(body)
    if body.echo and body.logprobs is not None:
        msg = "logprobs does not work together with echo: how likely a prompt was is not known"
        raise Refusal(msg, param="logprobs", hint="Leave one of them out")
    prompts = _prompts(body.prompt)
    asked = wanted(body, max_tokens=body.max_tokens, top_logprobs=body.logprobs)
    if len(prompts) * asked.count > MAX_ANSWERS:
        msg = f"prompt: {len(prompts)} prompts with {asked.count} answers each are more than {MAX_ANSWERS} in all"
        raise Refusal(msg, param="prompt", hint="Send several requests")
    return TextRequest(prompts, asked, echo=bool(body.echo))


def _prompts(given: str | list[str | int | list[int]]) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(given, str):
        return (_checked(given, "prompt"),)
    if isinstance(given[0], int):
        return (_tokens(given, "prompt"),)
    prompts: list[str | tuple[int, ...]] = []
    for number, one in enumerate(given):
        place = f"prompt[{number}]"
        if type(one) is not type(given[0]):
            msg = f"{place}: the prompts are of different kinds"
            raise Refusal(msg, param=place, hint="Send texts only, or tokens only")
        prompts.append(_tokens(one, place) if isinstance(one, list) else _checked(str(one), place))
    return tuple(prompts)


def _tokens(given: list[str | int | list[int]] | list[int], place: str) -> tuple[int, ...]:
    """Check them where they are, and as a whole: looking at millions of them one by one would hold up the loop."""
    if not given:
        msg = f"{place} is empty"
        raise Refusal(msg, param=place)
    if set(map(type, given)) != {int} or not 0 <= min(given) <= max(given) <= MAX_TOKEN:  # type: ignore[operator] # all are numbers
        number = next((at for at, one in enumerate(given) if type(one) is not int or not 0 <= one <= MAX_TOKEN), 0)
        msg = f"{place}[{number}] is not the number of a token"
        raise Refusal(msg, param=f"{place}[{number}]")
    return tuple(cast("list[int]", given))


def _checked(text: str, place: str) -> str:
    if not text:
        msg = f"{place} is empty"
        raise Refusal(msg, param=place)
    return text
