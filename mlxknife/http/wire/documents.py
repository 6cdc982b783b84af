"""What goes out, field by field in the order of the documents. ``UNSET`` fields are left out."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

Ended = Literal["stop", "length"]


class ErrorObject(Struct, frozen=True):
    """Why a request failed. ``param`` is the place in the body, ``code`` OpenAI's name, ``type`` the command line's."""

    type: str
    message: str
    param: str | None
    code: str
    retryable: bool


class ErrorDocument(Struct, frozen=True, kw_only=True):
    """The answer to a request that failed, and the last event of a stream that did."""

    status: Literal["error"] = "error"
    error: ErrorObject
    request_id: str


class PromptDetails(Struct, frozen=True):
    """What is known of the tokens of the prompt."""

    cached_tokens: int = 0


class UsageObject(Struct, frozen=True):
    """How many tokens there were."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()


class TopLogprob(Struct, frozen=True):
    """A token that could have come."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Struct, frozen=True):
    """A token that came, and what could have come instead."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: tuple[TopLogprob, ...] = ()


class ChatLogprobs(Struct, frozen=True):
    """How likely the tokens of a chat's answer were."""

    content: tuple[TokenLogprob, ...]
    refusal: None = None


class ChatMessage(Struct, frozen=True, kw_only=True):
    """A whole answer. ``reasoning_content`` is there when the model reasoned."""

    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: str | UnsetType = UNSET
    refusal: None = None


class ChatChoice(Struct, frozen=True):
    """One of the answers."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Ended


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """The answer of the chat endpoint."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: UsageObject


class Delta(Struct, frozen=True):
    """What is new of an answer."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True):
    """What is new of one of the answers."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: Ended | None = None


class ChatChunk(Struct, frozen=True, kw_only=True):
    """One event of a streamed chat. ``usage`` is there, mostly null, when it was asked for."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: UsageObject | UnsetType | None = UNSET


class TextLogprobs(Struct, frozen=True):
    """How likely the tokens of a text were: four lists, one entry for each token."""

    text_offset: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    tokens: tuple[str, ...]
    top_logprobs: tuple[dict[str, float], ...]


class TextChoice(Struct, frozen=True):
    """One of the texts, or what is new of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Ended | None = None


class TextCompletion(Struct, frozen=True, kw_only=True):
    """The answer of the text endpoint, and each event of its stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: tuple[TextChoice, ...]
    usage: UsageObject | UnsetType | None = UNSET


class Welcome(Struct, frozen=True, kw_only=True):
    """What this is, and where to go on."""

    name: Literal["MLX Knife"] = "MLX Knife"
    version: str
    api: str
    """Where clients of OpenAI's API are to be pointed."""
    models: str
    openapi: str
    documentation: Literal["docs/server.md in the source of MLX Knife"] = "docs/server.md in the source of MLX Knife"


class ModelCard(Struct, frozen=True, kw_only=True):
    """A model that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(Struct, frozen=True, kw_only=True):
    """All models that can be asked."""

    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...]


class ResidentObject(Struct, frozen=True):
    """A model in memory."""

    name: str
    state: str
    running: int


class Health(Struct, frozen=True, kw_only=True):
    """That the server is alive, and what it holds."""

    status: Literal["ok"] = "ok"
    version: str
    models: tuple[ResidentObject, ...]


class Readiness(Struct, frozen=True):
    """Whether requests are taken."""

    status: Literal["ready", "stopping", "loading", "busy"]
    models: tuple[ResidentObject, ...]
