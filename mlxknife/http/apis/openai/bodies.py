"""The request bodies of OpenAI's API as types, and the fields of it that are not supported."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Raw, Struct, field

from mlxknife.domain.generation.values.request import MAX_TEMPERATURE, MAX_TOP_LOGPROBS
from mlxknife.http.apis.openai.decoding import Unsupported, null

MAX_TOKEN_ID = 2**31 - 1
SEEDS = 2**63
_MAX_N = 16
_MAX_STOPS = 16
_MAX_BIASES = 1024
_MAX_MESSAGES = 4096
_MAX_TOOLS = 128
_MAX_CALLS = 128
_MAX_CHOICES = 4096
_MAX_LABEL = 512

StopString: TypeAlias = Annotated[str, Meta(min_length=1, max_length=500)]
TokenCount: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_TOKEN_ID)]
Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
TokenIds: TypeAlias = list[int]
JsonObject: TypeAlias = dict[str, Any]
FunctionName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
CallId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=_MAX_LABEL)]

UNSUPPORTED_IN_CHAT: Unsupported = {
    "audio": (),
    "modalities": (["text"], []),
    "moderation": (),
    "prediction": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": ("in_memory", "in-memory"),
    "reasoning_effort": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""OpenAI's fields that are not supported yet, with the values besides null that change nothing."""
UNSUPPORTED_IN_MESSAGES: Unsupported = {"audio": (), "refusal": ("",)}
UNSUPPORTED_IN_STRUCTURED_OUTPUTS: Unsupported = {
    "disable_additional_properties": (False,),
    "disable_any_whitespace": (True, False),
    "structural_tag": (),
    "whitespace_pattern": (),
}
"""vLLM's, likewise."""
UNSUPPORTED_IN_COMPLETIONS: Unsupported = {"best_of": (1,), "suffix": ("",)}
UNSUPPORTED_IN_EMBEDDINGS: Unsupported = {"prompt_name": (), "truncate_prompt_tokens": ()}
UNSUPPORTED_FORMS: Unsupported = dict.fromkeys(
    ("grammar", "guided_choice", "guided_grammar", "guided_json", "guided_regex", "json_schema"), ()
)
"""The names that the form of an answer has for llama.cpp and had for vLLM: ignoring one would break its promise."""


class StreamOptions(Struct, kw_only=True):
    """What a stream contains besides the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchemaBody(Struct, kw_only=True):
    """A JSON schema; ``name``, ``description`` and ``strict`` have no effect, because every answer is held to it."""

    schema: JsonObject
    name: Annotated[str, Meta(max_length=_MAX_LABEL)] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormatBody(Struct, kw_only=True):
    """The form of the answers."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaBody | None = None
    schema: JsonObject | None = None
    """The JSON schema of ``json_object``, as clients of llama.cpp name it."""


class StructuredOutputsBody(Struct, kw_only=True):
    """The form of the answers as vLLM's clients ask for it: exactly one of the fields that are not refused."""

    json: str | JsonObject | None = None
    """A JSON schema, or the text of one."""
    regex: str | None = None
    choice: Annotated[list[str], Meta(min_length=1, max_length=_MAX_CHOICES)] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    disable_additional_properties: Raw = field(default_factory=null)
    disable_any_whitespace: Raw = field(default_factory=null)
    structural_tag: Raw = field(default_factory=null)
    whitespace_pattern: Raw = field(default_factory=null)


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
    logit_bias: Annotated[JsonObject, Meta(max_length=_MAX_BIASES)] | None = None
    response_format: ResponseFormatBody | None = None
    structured_outputs: StructuredOutputsBody | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    grammar: Raw = field(default_factory=null)
    guided_choice: Raw = field(default_factory=null)
    guided_grammar: Raw = field(default_factory=null)
    guided_json: Raw = field(default_factory=null)
    guided_regex: Raw = field(default_factory=null)
    json_schema: Raw = field(default_factory=null)
    user: Raw = field(default_factory=null)
    """A label without effect, like ``metadata`` and others of the chat endpoint."""

    @property
    def includes_usage(self) -> bool:
        """Return whether a stream ends with the number of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def uses_functions(self) -> bool:
        """Return whether it offers tools under their deprecated name, so that the response names calls likewise."""
        return False


class FunctionBody(Struct, kw_only=True):
    """A function that the model may call."""

    name: FunctionName
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class ToolBody(Struct, kw_only=True):
    """A tool; only functions are supported."""

    type: Literal["function"]
    function: FunctionBody


class FunctionChoiceBody(Struct, kw_only=True):
    """The name of a function that the answer must call."""

    name: FunctionName


class ToolChoiceBody(Struct, kw_only=True):
    """A tool that the answer must call."""

    type: Literal["function"]
    function: FunctionChoiceBody


class FunctionCallBody(Struct, kw_only=True):
    """A call of an earlier answer."""

    name: FunctionName
    arguments: str


class ToolCallBody(Struct, kw_only=True):
    """A call of an earlier answer, with the id by which its result refers to it."""

    id: CallId
    type: Literal["function"] = "function"
    function: FunctionCallBody


class ContentPart(Struct, kw_only=True):
    """A part of a message's content."""

    type: str
    text: str | None = None


class MessageBody(Struct, kw_only=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: CallId | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[list[ToolCallBody], Meta(max_length=_MAX_CALLS)] | None = None
    function_call: FunctionCallBody | None = None
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
    tools: Annotated[list[ToolBody], Meta(max_length=_MAX_TOOLS)] | None = None
    tool_choice: Literal["auto", "none", "required"] | ToolChoiceBody | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[FunctionBody], Meta(max_length=_MAX_TOOLS)] | None = None
    function_call: Literal["auto", "none"] | FunctionChoiceBody | None = None
    audio: Raw = field(default_factory=null)
    modalities: Raw = field(default_factory=null)
    moderation: Raw = field(default_factory=null)
    prediction: Raw = field(default_factory=null)
    prompt_cache_options: Raw = field(default_factory=null)
    prompt_cache_retention: Raw = field(default_factory=null)
    reasoning_effort: Raw = field(default_factory=null)
    service_tier: Raw = field(default_factory=null)
    store: Raw = field(default_factory=null)
    verbosity: Raw = field(default_factory=null)
    web_search_options: Raw = field(default_factory=null)

    @property
    def uses_functions(self) -> bool:
        """Return whether it offers tools under their deprecated name, so that the response names calls likewise."""
        return bool(self.functions) or self.function_call is not None


class CompletionBody(GenerationBody, kw_only=True):
    """The body of ``POST /v1/completions``. A prompt is a text or its token ids; there may be several."""

    prompt: str | Annotated[list[str | int | TokenIds], Meta(min_length=1)]
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    best_of: Raw = field(default_factory=null)
    suffix: Raw = field(default_factory=null)


class EmbeddingBody(Struct, kw_only=True):
    """The body of ``POST /v1/embeddings``. A text is a string or its token ids; there may be several."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: str | Annotated[list[str | int | TokenIds], Meta(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: TokenCount | None = None
    """The length of the vectors, for models whose vectors may be shortened."""
    input_type: Literal["query", "document", "passage", "search_query", "search_document"] | None = None
    """What the texts are, beyond OpenAI's API: the model's prompt for queries, or the one for documents."""
    truncate: bool | None = None
    """Whether a text that is longer than the model reads is cut, beyond OpenAI's API; else it is refused."""
    prompt_name: Raw = field(default_factory=null)
    truncate_prompt_tokens: Raw = field(default_factory=null)
    user: Raw = field(default_factory=null)
