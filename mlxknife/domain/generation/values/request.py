"""A generation request: the one value that crosses from every caller to the model process."""

from __future__ import annotations

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.engines.values import Request
from mlxknife.domain.generation.values.answer import GenerationEvent
from mlxknife.domain.tools.values import Tool, ToolCall, ToolChoice, ToolMode

MAX_TEMPERATURE = 2.0
"""The limit of OpenAI's API, for the command line too."""
MAX_TOP_LOGPROBS = 20
"""The largest number of alternatives for each token; OpenAI has the same limit."""
KV_GROUP_SIZES = (32, 64, 128)
"""The group sizes that MLX can quantise a KV cache with."""


@attrs.frozen
class Message:
    """One turn of a conversation."""

    role: str
    content: str
    name: str | None = None
    """The speaker, where several have the same role."""
    tool_call_id: str | None = None
    """The call that a tool message answers."""
    reasoning_content: str | None = None
    """The reasoning that came before the content."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls of an assistant message."""

    __repr__ = reprs.fields


@attrs.frozen
class SamplingParameters:
    """How the next token is sampled. None means: the model's default, then the product's."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit for each time that it occurs in the answer."""
    presence_penalty: float = 0.0
    """Subtracted from a token's logit if it occurs in the answer."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Pairs of a token and the number that is added to its logit."""

    __repr__ = reprs.fields


@attrs.frozen
class KVCacheOptions:
    """How the KV cache is stored: quantised, or limited in length."""

    bits: int | None = None
    group_size: int = 64
    quantized_start: int = 0
    """The token from which on the cache is quantised."""
    max_size: int | None = None
    """The largest number of tokens; then the oldest are overwritten."""

    __repr__ = reprs.fields


@attrs.frozen
class GenerationOptions:
    """How answers are generated."""

    sampling: SamplingParameters = SamplingParameters()
    kv_cache: KVCacheOptions = KVCacheOptions()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    """The number of alternatives for each token; 0 gives only the sampled token's logprob, None gives none."""
    n: int = 1
    """The number of answers to each prompt."""
    has_loop_guard: bool = False
    """Whether to end an answer that does nothing but repeat the same tokens."""
    constraint: Constraint | None = None
    """The form that each answer must have; an answer that calls tools is exempt."""

    __repr__ = reprs.fields


@attrs.frozen
class GenerationRequest(Request[GenerationEvent]):
    """A conversation to continue, or prompts to complete: either ``messages`` or ``prompts`` has entries."""

    messages: tuple[Message, ...] = ()
    prompts: tuple[str | tuple[int, ...], ...] = ()
    """Texts, or the tokens of texts."""
    options: GenerationOptions = GenerationOptions()
    use_chat_template: bool = True
    """Whether messages go through the model's chat template; without one they are joined by blank lines."""
    echo: bool = False
    """Whether the answer to a prompt begins with the prompt."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = attrs.field(factory=ToolChoice)
    parallel_tool_calls: bool = True
    """Whether an answer may have several calls."""

    @property
    def shown_tools(self) -> tuple[Tool, ...]:
        """The tools that the model sees: none where it must not call any."""
        return () if self.tool_choice.mode is ToolMode.NONE else self.tools

    @property
    def has_several_calls(self) -> bool:
        """Whether an answer may have several calls; with a tool that it must call, it has one."""
        return self.parallel_tool_calls and self.tool_choice.name is None

    @property
    def answer_count(self) -> int:
        """The number of answers, over all prompts."""
        return max(1, len(self.prompts)) * self.options.n
