"""No field is ignored silently: each one works, is documented as a label, or is refused by name."""

from __future__ import annotations

import typing

import pytest

from mlxknife.http.apis.openai.bodies import (
    UNSUPPORTED_IN_CHAT,
    UNSUPPORTED_IN_COMPLETIONS,
    ChatCompletionBody,
    CompletionBody,
)
from mlxknife.http.apis.openai.decoding import decode
from mlxknife.http.core.errors import BadRequest
from tests.fakes.serving import NAME
from tests.http.conftest import BODY, TEXT, Backend, Json

CHAT_FIELDS = """audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
messages metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
web_search_options""".split()
TEXT_FIELDS = """best_of echo frequency_penalty logit_bias logprobs max_tokens model n presence_penalty prompt seed
stop stream stream_options suffix temperature top_p user""".split()
USER = {"role": "user", "content": "hi"}


def test_every_field_of_openai_is_known() -> None:
    assert set(CHAT_FIELDS) <= set(ChatCompletionBody.__struct_fields__)
    assert set(TEXT_FIELDS) <= set(CompletionBody.__struct_fields__)


def test_the_list_of_fields_is_that_of_openais_client() -> None:
    chat = pytest.importorskip(
        "openai.types.chat.completion_create_params", reason="the openai client is not installed"
    )
    text = pytest.importorskip("openai.types.completion_create_params", reason="the openai client is not installed")
    for params, fields in ((chat, CHAT_FIELDS), (text, TEXT_FIELDS)):
        known = set(typing.get_type_hints(params.CompletionCreateParamsBase)) - set(fields)
        assert known == set(), "new fields of OpenAI: support them, or refuse them by name"


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_IN_CHAT))
def test_an_unsupported_field_of_chats_is_refused_by_name(backend: Backend, name: str) -> None:
    wrong: list[object] = [{"a": 1}, ["x"], 17, "some words", [[]] * 100]
    for value in wrong:
        assert backend.refused({**BODY, name: value})["param"] == name
    for neutral in (None, *UNSUPPORTED_IN_CHAT[name]):
        backend.chat(**{name: neutral})


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_IN_COMPLETIONS))
def test_an_unsupported_field_of_completions_is_refused_by_name(backend: Backend, name: str) -> None:
    assert backend.refused({**TEXT, name: "3"}, path="/v1/completions")["param"] == name
    for neutral in (None, *UNSUPPORTED_IN_COMPLETIONS[name]):
        assert backend.client.post("/v1/completions", json={**TEXT, name: neutral}).status_code == 200


def test_labels_and_unknown_fields_change_nothing(backend: Backend) -> None:
    labels: Json = {"user": "me", "metadata": {"a": "b"}, "safety_identifier": "x", "prompt_cache_key": "y"}
    backend.chat(**labels, store=False, service_tier="auto", some_field_of_tomorrow=[1, {"a": None}])


WRONG: list[tuple[Json, str]] = [
    ({"model": 5}, "model"),
    ({"model": ""}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [USER, 5]}, "messages[1]"),
    ({"messages": [USER, {"content": "x"}]}, "messages[1].role"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].name"),
    ({"messages": [USER, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
    ({"messages": [USER, {"role": "user", "content": 5}]}, "messages[1].content"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "poem", "text": "x"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
    ({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{}]}]}, "messages[1].tool_calls[0].id"),
    ({"messages": [{"role": "assistant", "content": "", "function_call": {}}]}, "messages[0].function_call.name"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"n": True}, "n"),
    ({"n": "1"}, "n"),
    ({"seed": 2**63}, "seed"),
    ({"seed": -(2**63) - 1}, "seed"),
    ({"seed": 10**400}, "seed"),
    ({"seed": 0.5}, "seed"),
    ({"stop": 5}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", 5]}, "stop[1]"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 2**31}, "max_tokens"),
    ({"max_completion_tokens": True}, "max_completion_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": False}, "temperature"),
    ({"temperature": 10**400}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"top_k": -1}, "top_k"),
    ({"min_p": 1.5}, "min_p"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"frequency_penalty": 3}, "frequency_penalty"),
    ({"presence_penalty": -3}, "presence_penalty"),
    ({"logit_bias": {"x": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"logit_bias": {"1": "a"}}, "logit_bias"),
    ({"logit_bias": {"1": 1, "01": 2}}, "logit_bias"),
    ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
    ({"logit_bias": {"²": 1}}, "logit_bias"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"logprobs": 1}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stream": 1}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
]


@pytest.mark.parametrize(("wrong", "param"), WRONG, ids=lambda value: str(value)[:60])
def test_an_error_names_the_place_in_the_body(backend: Backend, wrong: Json, param: str) -> None:
    error = backend.refused({**BODY, **wrong})
    assert error["param"] == param
    assert param.partition("[")[0].partition(".")[0] in error["message"]
    assert not error["retryable"]


MESSAGES: list[tuple[Json, str]] = [
    ({"messages": [{"role": "usr", "content": "x"}]}, "messages[0].role must be one of {roles}, not 'usr'"),
    ({"messages": "hi"}, "messages must be a list, not a string"),
    ({"messages": [USER, 5]}, "messages[1] must be an object, not a number"),
    (
        {"messages": [USER, {"role": "user", "content": 5}]},
        "messages[1].content must be a string or a list, not a number",
    ),
    ({"messages": []}, "messages must not be empty"),
    ({"temperature": 2.5}, "temperature must be at most 2"),
    ({"temperature": -1}, "temperature must be at least 0"),
    ({"temperature": "hot"}, "temperature must be a number, not a string"),
    ({"repetition_penalty": 0}, "repetition_penalty must be at least 0.01"),
    ({"n": 17}, "n must be at most 16"),
    ({"n": 1.5}, "n must be a whole number, not a fractional number"),
    ({"n": True}, "n must be a whole number, not true or false"),
    ({"stream": 1}, "stream must be true or false, not a number"),
    ({"stop": "a" * 501}, "stop must have at most 500 characters"),
    ({"stop": ["a"] * 17}, "stop must have at most 16 entries"),
    ({"stop": ["a", 5]}, "stop[1] must be a string, not a number"),
    ({"logit_bias": {"1": 101}}, "logit_bias: the bias of '1' must be a number from -100 to 100"),
    ({"logit_bias": {"5": 1, "7": "a"}}, "logit_bias: the bias of '7' must be a number from -100 to 100"),
    ({"logit_bias": {"5": 1, "x": 1}}, "logit_bias: 'x' is not a token id"),
    ({"model": ""}, "model must not be empty"),
]


@pytest.mark.parametrize(("wrong", "message"), MESSAGES, ids=lambda value: str(value)[:60])
def test_an_error_states_what_the_field_must_be(backend: Backend, wrong: Json, message: str) -> None:
    roles = "assistant, developer, function, system, tool, user"
    assert backend.refused({**BODY, **wrong})["message"] == message.format(roles=roles)


def test_a_body_that_is_not_an_object_is_refused(backend: Backend) -> None:
    assert backend.refused([])["message"] == "The body must be an object, not a list"


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(backend: Backend, missing: str) -> None:
    assert backend.refused({key: value for key, value in BODY.items() if key != missing})["param"] == missing


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_media_parts_need_a_capability_that_no_model_has(backend: Backend, kind: str) -> None:
    parts = [{"type": "text", "text": "x"}, {"type": kind, kind: {"url": "data:image/png;base64,AAAA"}}]
    error = backend.refused({**BODY, "messages": [{"role": "user", "content": parts}]}, 422)
    assert error["param"] == "messages[0].content[1]"
    assert kind in error["message"]


WRONG_COMPLETIONS: list[tuple[Json, str]] = [
    ({"prompt": None}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": [1, "a"]}, "prompt[1]"),
    ({"prompt": ["a", 1]}, "prompt[1]"),
    ({"prompt": ["a", ""]}, "prompt[1]"),
    ({"prompt": [[1], []]}, "prompt[1]"),
    ({"prompt": [[1], [2, -1]]}, "prompt[1][1]"),
    ({"prompt": [[1, "a"]]}, "prompt[0][1]"),
    ({"prompt": [2**31]}, "prompt[0]"),
    ({"prompt": [True]}, "prompt[0]"),
    ({"prompt": ["a"] * 65}, "prompt"),
    ({"prompt": ["a"] * 9, "n": 8}, "prompt"),
    ({"logprobs": 21}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"logprobs": 1, "echo": True}, "logprobs"),
    ({"best_of": 2}, "best_of"),
    ({"suffix": "x"}, "suffix"),
]


@pytest.mark.parametrize(("wrong", "param"), WRONG_COMPLETIONS, ids=lambda value: str(value)[:60])
def test_an_error_of_a_completion_names_the_place_in_the_body(backend: Backend, wrong: Json, param: str) -> None:
    assert backend.refused({**TEXT, **wrong}, path="/v1/completions")["param"] == param


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3)))],
)
def test_a_prompt_is_a_text_or_token_ids_or_a_list_of_either(
    backend: Backend, prompt: object, expected: object
) -> None:
    reply = backend.client.post("/v1/completions", json={**TEXT, "prompt": prompt, "echo": True, "n": 2})
    assert reply.status_code == 200
    (request,) = backend.engine.requests
    assert (request.prompts, request.echo) == (expected, True)
    document = reply.json()
    assert document["id"].startswith("cmpl-")
    assert [choice["index"] for choice in document["choices"]] == list(range(2 * len(request.prompts)))
    assert document["usage"]["prompt_tokens"] == 5 * len(request.prompts)


def test_completions_stream_as_openai_streams_them(backend: Backend) -> None:
    body = {**TEXT, "stream": True, "logprobs": 1, "stream_options": {"include_usage": True}}
    reply = backend.client.post("/v1/completions", json=body)
    first, second, *_, last, done = [line for line in reply.text.split("\n\n") if line]
    assert '"object":"text_completion"' in first
    assert '"text":"Hel","logprobs":{"text_offset":[0]' in first
    assert '"top_logprobs":[{"x":-1.5,"Hel":-0.5}]' in first, "the sampled token is there, likely or not"
    assert '"text_offset":[3' in second  # later deltas may be merged into it
    assert '"choices":[],"usage":{"prompt_tokens":5' in last
    assert done == "data: [DONE]"


BOMBS = [
    b"",
    b" ",
    b"[]",
    b"5",
    b"null",
    b'"x"',
    b"{",
    b"{}x",
    b"\xff\xfe",
    b"[" * 60_000,
    b'{"model":' * 30_000,
    b'{"model":"m","zzz":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    b'{"model":"m","tools":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    b'{"model":"m","temperature":NaN}',
    b'{"model":"m","zzz":"\xff"}',
    b'{"model":"\\ud800"}',
    b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    b'{"model":"m","temperature":1e999}',
    b'{"model":"m","seed":' + b"9" * 100_000 + b"}",
]


@pytest.mark.parametrize("body", BOMBS, ids=lambda body: repr(body[:30]))
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_body_that_is_not_a_request_is_refused(backend: Backend, body: bytes, path: str) -> None:
    reply = backend.client.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert len(reply.json()["error"]["message"]) < 300


def test_the_last_of_two_equal_keys_counts() -> None:
    body = b'{"model":"a","model":"%b","messages":[{"role":"user","content":"x"}]}' % NAME.encode()
    assert decode(body, ChatCompletionBody).model == NAME


def test_values_of_clients_do_not_make_long_messages() -> None:
    for body in (b'{"model":{"%b":1}}' % (b"x" * 9000), b'{"tools":[{"type":"%b"}]}' % (b"x" * 9000)):
        with pytest.raises(BadRequest) as caught:
            decode(body, ChatCompletionBody)
        assert len(caught.value.message) < 300
