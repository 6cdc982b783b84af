"""The request of the domain that a body of OpenAI's API means."""

from __future__ import annotations

from mlxknife.domain.generation.values.request import (
    GenerationOptions,
    GenerationRequest,
    SamplingParameters,
)
from mlxknife.http.apis.openai.bodies import (
    MAX_TOKEN_ID,
    SEEDS,
    UNSUPPORTED_IN_CHAT,
    UNSUPPORTED_IN_COMPLETIONS,
    ChatCompletionBody,
    CompletionBody,
    GenerationBody,
    JsonObject,
)
from mlxknife.http.apis.openai.constraints import constraint, constraint_place
from mlxknife.http.apis.openai.decoding import refuse_unsupported
from mlxknife.http.apis.openai.messages import messages
from mlxknife.http.apis.openai.params import ParamNames
from mlxknife.http.apis.openai.texts import Texts, text_count, texts
from mlxknife.http.apis.openai.tools import allows_parallel_calls, check_names, tool_choice, tools
from mlxknife.http.core.errors import BadRequest

MAX_CHOICES = 64
"""The largest number of answers to one request, over all its prompts."""
MAX_BIAS = 100
_MAX_QUOTED = 60


def chat_request(body: ChatCompletionBody) -> GenerationRequest:
    """Return the request of a chat body. Raises BadRequest or UnsupportedInput, naming the field."""
    refuse_unsupported(body, UNSUPPORTED_IN_CHAT)
    _check_stream_options(body)
    check_names(body)
    return GenerationRequest(
        messages(body.messages),
        options=_options(body, max_tokens=_max_tokens(body), top_logprobs=_top_logprobs(body)),
        tools=tools(body),
        tool_choice=tool_choice(body),
        parallel_tool_calls=allows_parallel_calls(body),
    )


def completion_request(body: CompletionBody) -> GenerationRequest:
    """Return the request of a completion body. Raises BadRequest, naming the field."""
    refuse_unsupported(body, UNSUPPORTED_IN_COMPLETIONS)
    _check_stream_options(body)
    if body.echo and body.logprobs is not None:
        msg = "logprobs cannot be combined with echo: the logprobs of a prompt are not computed"
        raise BadRequest(msg, param="logprobs", hint="Leave one of them out")
    options = _options(body, max_tokens=body.max_tokens, top_logprobs=body.logprobs)
    prompts = _prompts(body.prompt, options.n)
    return GenerationRequest(prompts=prompts, options=options, echo=bool(body.echo))


def param_names(body: GenerationBody) -> ParamNames:
    """Return how a body names the fields of its request."""
    return ParamNames(constraint_place(body), body.uses_functions)


def _options(body: GenerationBody, *, max_tokens: int | None, top_logprobs: int | None) -> GenerationOptions:
    return GenerationOptions(
        sampling=SamplingParameters(
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            min_p=body.min_p,
            repetition_penalty=body.repetition_penalty,
            seed=None if body.seed is None else body.seed % SEEDS,  # OpenAI allows negative seeds, the engine does not
            frequency_penalty=body.frequency_penalty or 0.0,
            presence_penalty=body.presence_penalty or 0.0,
            logit_bias=_logit_bias(body.logit_bias or {}),
        ),
        max_tokens=max_tokens,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        top_logprobs=top_logprobs,
        n=body.n or 1,
        constraint=constraint(body),
    )


def _check_stream_options(body: GenerationBody) -> None:
    options = body.stream_options
    if options is None:
        return
    if not body.stream:
        msg = "stream_options has no effect without stream"
        raise BadRequest(msg, param="stream_options", hint="Leave it out, or set stream to true")
    if options.include_obfuscation:
        msg = "stream_options.include_obfuscation is not supported"
        raise BadRequest(msg, param="stream_options.include_obfuscation", hint="Leave it out")


def _logit_bias(given: JsonObject) -> tuple[tuple[int, float], ...]:
    biases: dict[int, float] = {}
    for key, bias in given.items():
        is_number = key.isascii() and key.isdigit() and len(key) <= len(str(MAX_TOKEN_ID))
        if not is_number or int(key) > MAX_TOKEN_ID:
            msg = f"logit_bias: {_quoted(key)} is not a token id"
            raise BadRequest(msg, param="logit_bias")
        if int(key) in biases:
            msg = f"logit_bias names token {int(key)} twice"
            raise BadRequest(msg, param="logit_bias")
        if type(bias) not in (int, float) or not -MAX_BIAS <= bias <= MAX_BIAS:
            msg = f"logit_bias: the bias of {_quoted(key)} must be a number from {-MAX_BIAS} to {MAX_BIAS}"
            raise BadRequest(msg, param="logit_bias")
        biases[int(key)] = float(bias)
    return tuple(biases.items())


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}...")


def _max_tokens(body: ChatCompletionBody) -> int | None:
    old, new = body.max_tokens, body.max_completion_tokens
    if old is not None and new is not None and old != new:
        msg = "max_tokens and max_completion_tokens differ"
        raise BadRequest(msg, param="max_tokens", hint="max_tokens is the old name: leave it out")
    return old if new is None else new


def _top_logprobs(body: ChatCompletionBody) -> int | None:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs:
        msg = "top_logprobs has no effect without logprobs"
        raise BadRequest(msg, param="top_logprobs", hint="Set logprobs to true")
    return None


def _prompts(given: Texts, answers: int) -> tuple[str | tuple[int, ...], ...]:
    count = text_count(given)
    if count * answers > MAX_CHOICES:
        msg = f"prompt: {count} prompts with {answers} answers each are more than {MAX_CHOICES} in all"
        raise BadRequest(msg, param="prompt", hint="Send several requests")
    return texts(given, "prompt")
