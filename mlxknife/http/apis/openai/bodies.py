"""The request bodies of OpenAI's API as types, and the fields of it that are not supported."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Raw, Struct, field

from mlxknife.domain.generation.values.request import MAX_TEMPERATURE, MAX_TOP_LOGPROBS
from mlxknife.http.apis.openai.decoding import Unsupported, null

MAX_TOKEN_ID = 2**31 - 1
SEEDS = 2**63
_MAX_N = 16
_MAX_STOPS = 16
_MAX_BIASES = 1024
_MAX_MESSAGES = 4096

StopString: TypeAlias = Annotated[str, Meta(min_length=1, max_length=500)]
TokenCount: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_TOKEN_ID)]
Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Bias: TypeAlias = Annotated[float, Meta(ge=-100, le=100)]
TokenIds: TypeAlias = list[int]

UNSUPPORTED_IN_CHAT: Unsupported = {
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
"""OpenAI's fields that are not supported yet, with the values besides null that change nothing."""
UNSUPPORTED_IN_MESSAGES: Unsupported = {"audio": (), "function_call": (), "refusal": ("",), "tool_calls": ([],)}
UNSUPPORTED_IN_COMPLETIONS: Unsupported = {"best_of": (1,), "suffix": ("",)}


class StreamOptions(Struct, kw_only=True):
    """What a stream contains besides the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class GenerationBody(Struct, kw_only=True):
    """The fields that both endpoints have."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    n: Annotated[int, Meta(ge=1, le=_MAX_N)] | None = None
    seed: Annotated[int, Meta(ge=-SEEDS, le=SEEDS - 1)] | None = None
    stop: StopString | Annotated[list[StopString], Meta(max_length=_MAX_STOPS)] | None = None
    max_tokens: TokenCount | None = None
    temperature: Annotated[float, Meta(ge=0, le=MAX_TEMPERATURE)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Meta(ge=0, le=MAX_TOKEN_ID)] | None = None
    min_p: Probability | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=_MAX_BIASES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Raw = field(default_factory=null)
    """A label without effect, like ``metadata`` and others of the chat endpoint."""

    @property
    def includes_usage(self) -> bool:
        """Return whether a stream ends with the number of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class ContentPart(Struct, kw_only=True):
    """A part of a message's content."""

    type: str
    text: str | None = None


class MessageBody(Struct, kw_only=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    tool_calls: Raw = field(default_factory=null)
    function_call: Raw = field(default_factory=null)
    audio: Raw = field(default_factory=null)
    refusal: Raw = field(default_factory=null)


class ChatCompletionBody(GenerationBody, kw_only=True):
    """The body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[MessageBody], Meta(min_length=1, max_length=_MAX_MESSAGES)]
    max_completion_tokens: TokenCount | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    metadata: Raw = field(default_factory=null)
    safety_identifier: Raw = field(default_factory=null)
    prompt_cache_key: Raw = field(default_factory=null)
    audio: Raw = field(default_factory=null)
    function_call: Raw = field(default_factory=null)
    functions: Raw = field(default_factory=null)
    modalities: Raw = field(default_factory=null)
    moderation: Raw = field(default_factory=null)
    parallel_tool_calls: Raw = field(default_factory=null)
    prediction: Raw = field(default_factory=null)
    prompt_cache_options: Raw = field(default_factory=null)
    prompt_cache_retention: Raw = field(default_factory=null)
    reasoning_effort: Raw = field(default_factory=null)
    response_format: Raw = field(default_factory=null)
    service_tier: Raw = field(default_factory=null)
    store: Raw = field(default_factory=null)
    tool_choice: Raw = field(default_factory=null)
    tools: Raw = field(default_factory=null)
    verbosity: Raw = field(default_factory=null)
    web_search_options: Raw = field(default_factory=null)


class CompletionBody(GenerationBody, kw_only=True):
    """The body of ``POST /v1/completions``. A prompt is a text or its token ids; there may be several."""

    prompt: str | Annotated[list[str | int | TokenIds], Meta(min_length=1)]
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    best_of: Raw = field(default_factory=null)
    suffix: Raw = field(default_factory=null)
