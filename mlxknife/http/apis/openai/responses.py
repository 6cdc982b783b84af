"""The response documents of OpenAI's API as types. Fields are in the documents' order; ``UNSET`` ones are left out."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

EndReason: TypeAlias = Literal["stop", "length", "tool_calls", "function_call"]


class PromptTokensDetails(Struct, frozen=True):
    """How many tokens of the prompt came from the prefix cache."""

    cached_tokens: int = 0


class UsageObject(Struct, frozen=True):
    """The number of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()


class TopLogprob(Struct, frozen=True):
    """A likely token at a position."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprobObject(Struct, frozen=True):
    """The sampled token at a position, and the most likely ones."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: tuple[TopLogprob, ...] = ()


class ChatLogprobs(Struct, frozen=True):
    """The logprobs of a chat answer."""

    content: tuple[TokenLogprobObject, ...]
    refusal: None = None


class FunctionCallObject(Struct, frozen=True):
    """The function that a call names, and its arguments as the text of a JSON object."""

    name: str
    arguments: str


class ToolCallObject(Struct, frozen=True, kw_only=True):
    """A call of a tool."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCallObject


class ChatMessage(Struct, frozen=True, kw_only=True):
    """A whole answer; ``reasoning_content`` is present when the model reasoned.

    ``content`` is null in an answer that only calls tools. ``function_call`` is there instead of ``tool_calls`` where
    the request has ``functions``.
    """

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: tuple[ToolCallObject, ...] | UnsetType = UNSET
    function_call: FunctionCallObject | UnsetType = UNSET
    refusal: None = None


class ChatChoice(Struct, frozen=True):
    """One of the answers."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: EndReason


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """The response of the chat endpoint."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: UsageObject


class FunctionCallDelta(Struct, frozen=True):
    """New text of a call; the name comes with its first delta."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallChunk(Struct, frozen=True):
    """The new part of one of the calls; the id and the type come with its first delta."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionCallDelta = FunctionCallDelta()


class ChunkDelta(Struct, frozen=True):
    """The new part of an answer."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: tuple[ToolCallChunk, ...] | UnsetType = UNSET
    function_call: FunctionCallDelta | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True):
    """The new part of one of the answers."""

    index: int
    delta: ChunkDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: EndReason | None = None


class ChatCompletionChunk(Struct, frozen=True, kw_only=True):
    """An event of a chat stream. With ``include_usage`` it has ``usage``, which is null in all but the last."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: UsageObject | UnsetType | None = UNSET


class CompletionLogprobs(Struct, frozen=True):
    """The logprobs of a text, as four lists with an item for each token."""

    text_offset: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    tokens: tuple[str, ...]
    top_logprobs: tuple[dict[str, float], ...]


class CompletionChoice(Struct, frozen=True):
    """One of the texts, or the new part of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: EndReason | None = None


class Completion(Struct, frozen=True, kw_only=True):
    """The response of the completion endpoint, and each event of its stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: tuple[CompletionChoice, ...]
    usage: UsageObject | UnsetType | None = UNSET


class EmbeddingObject(Struct, frozen=True, kw_only=True):
    """The embedding of one text: numbers, or float32 values in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: tuple[float, ...] | str


class EmbeddingUsage(Struct, frozen=True):
    """The number of tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True, kw_only=True):
    """The response of the embeddings endpoint."""

    object: Literal["list"] = "list"
    data: tuple[EmbeddingObject, ...]
    model: str
    usage: EmbeddingUsage


class ModelCard(Struct, frozen=True, kw_only=True):
    """A model that a request may use."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    permission: tuple[()] = ()
    """Always empty: an old field of OpenAI's."""
    kind: Literal["text", "embedding", "reranking"]
    """What it does: generate text, make embeddings, or rank documents."""
    context_length: int | None
    loaded: bool


class ModelList(Struct, frozen=True, kw_only=True):
    """All models that a request may use."""

    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...]


class Welcome(Struct, frozen=True, kw_only=True):
    """What this server is, and the addresses to continue with."""

    name: Literal["MLX Knife"] = "MLX Knife"
    version: str
    api: str
    """The base URL for clients of OpenAI's API."""
    models: str
    openapi: str
    documentation: Literal["docs/server.md in the source of MLX Knife"] = "docs/server.md in the source of MLX Knife"
