"""OpenAI's own client, unmodified, against a real server over fakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest

from tests.fakes.serving import EMBEDDER, NAME
from tests.http.servers import serving

openai = pytest.importorskip("openai", reason="the openai client is not installed")
pydantic = pytest.importorskip("pydantic", reason="the openai client is not installed")
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
Client: TypeAlias = Any  # the client is not there where the types are checked
MESSAGES = [{"role": "user", "content": "hi"}]
Point: Any = pydantic.create_model("Point", x=(int, ...), label=(str | None, ...))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving({"api_key": "k-e-y"}) as process:
        yield f"{process.url}/v1"


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=url, api_key="k-e-y", max_retries=0) as client:
        yield client


def test_it_reads_chat_completions_and_streams(client: Client) -> None:
    whole = client.chat.completions.create(model=NAME, messages=MESSAGES, n=2, seed=1, logprobs=True)
    assert [choice.message.content for choice in whole.choices] == ["word word word "] * 2
    assert whole.usage.prompt_tokens_details.cached_tokens == 2
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=NAME, messages=MESSAGES, stream=True, stream_options=options))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "word word word "
    assert chunks[-1].usage.total_tokens == 8
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_it_reads_completions_and_models(client: Client) -> None:
    text = client.completions.create(model=NAME, prompt=["a", "b"], echo=True)
    assert [choice.text for choice in text.choices] == ["word word word "] * 2
    streamed = client.completions.create(model=NAME, prompt=[1, 2], stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "word word word "
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "org"


def test_it_reads_embeddings_in_both_encodings(client: Client) -> None:
    texts = ["a bb", "ccc"]
    decoded = client.embeddings.create(model=EMBEDDER, input=texts)  # it asks for base64
    numbers = client.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")
    for one, other in zip(decoded.data, numbers.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert numbers.usage.prompt_tokens == 7
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=EMBEDDER, input=["a", ""])
    assert refused.value.param == "input[1]"


def test_it_raises_its_own_errors_with_our_code_and_param(client: Client, url: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no/such", messages=MESSAGES)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=NAME, messages=MESSAGES, tools=[{"type": "custom"}])
    assert (wrong.value.type, wrong.value.param) == ("ValidationError", "tools[0].type")
    part = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": [part]}])
    with (
        openai.OpenAI(base_url=url, api_key="other", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_it_raises_for_a_full_server_and_for_a_stream_that_fails() -> None:
    with (
        serving({"max_requests": 0}) as full,
        openai.OpenAI(base_url=f"{full.url}/v1", api_key="x", max_retries=0) as client,
        pytest.raises(openai.RateLimitError),
    ):
        client.chat.completions.create(model=NAME, messages=MESSAGES)
    with (
        serving(fakes={"fails_at": 2}) as broken,
        openai.OpenAI(base_url=f"{broken.url}/v1", api_key="x", max_retries=0) as client,
        client.chat.completions.create(model=NAME, messages=MESSAGES, stream=True) as stream,
        pytest.raises(openai.APIError, match="failed"),
    ):
        list(stream)


def test_it_parses_answers_under_a_schema() -> None:
    with (
        serving(fakes={"text": '{"x": 4, "label": null}'}) as process,
        openai.OpenAI(base_url=f"{process.url}/v1", api_key="x", max_retries=0) as client,
    ):
        parsed = client.chat.completions.parse(model=NAME, messages=MESSAGES, response_format=Point)
        assert parsed.choices[0].message.parsed == Point(x=4, label=None)
        with client.chat.completions.stream(model=NAME, messages=MESSAGES, response_format=Point) as stream:
            assert stream.get_final_completion().choices[0].message.parsed == Point(x=4, label=None)


def test_it_parses_calls_whole_and_in_a_stream() -> None:
    calls = [("Point", '{"x": 4, "label": "é"}'), ("Point", '{"x": 5, "label": null}')]
    tools = [openai.pydantic_function_tool(Point)]
    with (
        serving(fakes={"text": "Two.", "calls": calls}) as process,
        openai.OpenAI(base_url=f"{process.url}/v1", api_key="x", max_retries=0) as client,
    ):
        whole = client.chat.completions.parse(model=NAME, messages=MESSAGES, tools=tools).choices[0]
        with client.chat.completions.stream(model=NAME, messages=MESSAGES, tools=tools) as stream:
            events = list(stream)
            streamed = stream.get_final_completion().choices[0]
    for choice in (whole, streamed):
        assert (choice.message.content, choice.finish_reason) == ("Two.", "tool_calls")
        found = [(call.id, call.function.parsed_arguments) for call in choice.message.tool_calls]
        assert found == [("call_Point", Point(x=4, label="é")), ("call_Point", Point(x=5, label=None))]
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [event.parsed_arguments for event in done] == [Point(x=4, label="é"), Point(x=5, label=None)]


def test_it_reads_the_deprecated_function_call() -> None:
    with (
        serving(fakes={"calls": [("add", '{"a": 1}')]}) as process,
        openai.OpenAI(base_url=f"{process.url}/v1", api_key="x", max_retries=0) as client,
    ):
        function = {"name": "add", "parameters": {"type": "object"}}
        choice = client.chat.completions.create(model=NAME, messages=MESSAGES, functions=[function]).choices[0]
        assert (choice.message.function_call.name, choice.message.function_call.arguments) == ("add", '{"a": 1}')
        assert (choice.message.content, choice.finish_reason) == (None, "function_call")
