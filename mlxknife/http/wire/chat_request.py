"""``POST /v1/chat/completions``: what comes in."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct, field

from mlxknife.domain.generation.values.generation import Message
from mlxknife.domain.generation.values.requests import ChatRequest
from mlxknife.domain.generation.values.rows import MAX_TOP_LOGPROBS
from mlxknife.http.refusals import Incapable, Refusal
from mlxknife.http.wire.asking import Asking, Count, check_stream, wanted
from mlxknife.http.wire.reading import nothing, refuse_what_does_not_work

_MAX_MESSAGES = 4096
_LATER = ("image_url", "input_image", "input_audio", "audio_url", "video_url", "file", "input_file")
"""Kinds of parts that stand for a sense that no model here has."""

NOT_YET: dict[str, tuple[object, ...]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"], []),
    "moderation": (),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": ("in_memory", "in-memory"),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Fields of OpenAI that do not work here, and the values beside null that ask for nothing."""

NOT_IN_MESSAGES: dict[str, tuple[object, ...]] = {
    "audio": (),
    "function_call": (),
    "refusal": ("",),
    "tool_calls": ([],),
}


class Part(Struct, kw_only=True):
    """A part of a message."""

    type: str
    text: str | None = None


class TurnBody(Struct, kw_only=True):
    """One turn; the chat template of the model sees all of it."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    tool_calls: Raw = field(default_factory=nothing)
    function_call: Raw = field(default_factory=nothing)
    audio: Raw = field(default_factory=nothing)
    refusal: Raw = field(default_factory=nothing)


class ChatBody(Asking, kw_only=True):
    """What the chat endpoint takes."""

    messages: Annotated[list[TurnBody], Meta(min_length=1, max_length=_MAX_MESSAGES)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    metadata: Raw = field(default_factory=nothing)
    safety_identifier: Raw = field(default_factory=nothing)
    prompt_cache_key: Raw = field(default_factory=nothing)
    audio: Raw = field(default_factory=nothing)
    function_call: Raw = field(default_factory=nothing)
    functions: Raw = field(default_factory=nothing)
    modalities: Raw = field(default_factory=nothing)
    moderation: Raw = field(default_factory=nothing)
    parallel_tool_calls: Raw = field(default_factory=nothing)
    prediction: Raw = field(default_factory=nothing)
    prompt_cache_options: Raw = field(default_factory=nothing)
    prompt_cache_retention: Raw = field(default_factory=nothing)
    reasoning_effort: Raw = field(default_factory=nothing)
    response_format: Raw = field(default_factory=nothing)
    service_tier: Raw = field(default_factory=nothing)
    store: Raw = field(default_factory=nothing)
    tool_choice: Raw = field(default_factory=nothing)
    tools: Raw = field(default_factory=nothing)
    verbosity: Raw = field(default_factory=nothing)
    web_search_options: Raw = field(default_factory=nothing)


def chat_request(body: ChatBody) -> ChatRequest:
    """Return what a body asks for in the words of the domain. Raises Refusal, naming the field."""
    refuse_what_does_not_work(body, NOT_YET)
    check_stream(body)
    messages = tuple(_message(turn, f"messages[{number}]") for number, turn in enumerate(body.messages))
    return ChatRequest(messages, wanted(body, max_tokens=_max_tokens(body), top_logprobs=_top_logprobs(body)))


def _message(turn: TurnBody, place: str) -> Message:
    try:
        refuse_what_does_not_work(turn, NOT_IN_MESSAGES)
    except Refusal as exc:
        msg = f"{place}.{exc.message}"
        raise Refusal(msg, param=f"{place}.{exc.param}") from exc
    role = "system" if turn.role == "developer" else turn.role
    return Message(role, _content(turn, place), turn.name, turn.tool_call_id, turn.reasoning_content)


def _content(turn: TurnBody, place: str) -> str:
    if isinstance(turn.content, str):
        return turn.content
    if turn.content is None:
        if turn.role != "assistant":  # an answer may have been nothing but reasoning
            msg = f"{place}.content is missing"
            raise Refusal(msg, param=f"{place}.content")
        return ""
    return "".join(_text(part, f"{place}.content[{number}]") for number, part in enumerate(turn.content))


def _text(part: Part, place: str) -> str:
    if part.type in _LATER:
        msg = f"{place}: parts of type {part.type} need a capability that no model has here"
        raise Incapable(msg, param=place, hint="Send text only")
    if part.type != "text":
        msg = f"{place}.type: there are no parts of this type"
        raise Refusal(msg, param=f"{place}.type", hint="Send parts of type text")
    if part.text is None:
        msg = f"{place}.text is missing"
        raise Refusal(msg, param=f"{place}.text")
    return part.text


def _max_tokens(body: ChatBody) -> int | None:
    old, new = body.max_tokens, body.max_completion_tokens
    if old is not None and new is not None and old != new:
        msg = "max_tokens and max_completion_tokens say different things"
        raise Refusal(msg, param="max_tokens", hint="max_tokens is the old name: leave it out")
    return old if new is None else new


def _top_logprobs(body: ChatBody) -> int | None:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs:
        msg = "top_logprobs means nothing without logprobs"
        raise Refusal(msg, param="top_logprobs", hint="Set logprobs to true")
    return None
