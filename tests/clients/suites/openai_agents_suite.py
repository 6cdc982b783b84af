"""openai-agents with its model for chat completions: tools, output types, handoffs and streams."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Literal

import openai
import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    Runner,
    ToolCallItem,
    ToolCallOutputItem,
    function_tool,
    set_tracing_disabled,
)
from pydantic import BaseModel

PARROT, STARTER = os.environ["CLIENT_PARROT"], os.environ["CLIENT_STARTER"]
ADA, WEATHER = "Describe Ada as JSON.", "What is the weather in Berlin?"
WARM = "It is 21 degrees in Berlin."

set_tracing_disabled(disabled=True)  # it would send traces to OpenAI


class Person(BaseModel):
    """A person."""

    name: str
    age: int
    skills: list[str]


class Mood(BaseModel):
    """The mood in a city."""

    city: Literal["Berlin", "Paris"]
    detailed: bool


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    assert city == "Berlin"
    return '{"celsius": 21}'


def agent(model: str = PARROT, **options: Any) -> Any:
    where: Any = {"base_url": os.environ["CLIENT_URL"] + "/v1", "api_key": os.environ["CLIENT_KEY"], "max_retries": 0}
    served = OpenAIChatCompletionsModel(model, openai.AsyncOpenAI(**where))
    settings = ModelSettings(temperature=0, max_tokens=200, **options.pop("settings", {}))
    return Agent(name="Assistant", model=served, model_settings=settings, **options)


def kinds(items: Any) -> list[type]:
    return [type(item) for item in items][:2]


@pytest.mark.parametrize("choice", ["auto", "required", "get_weather"])
def test_an_agent_calls_its_tool_and_answers(choice: str) -> None:
    done = Runner.run_sync(agent(tools=[get_weather], settings={"tool_choice": choice}), WEATHER)
    assert done.final_output == WARM
    assert kinds(done.new_items) == [ToolCallItem, ToolCallOutputItem]


def test_an_agent_streams_its_events() -> None:
    async def streamed() -> tuple[Any, list[str]]:
        done = Runner.run_streamed(agent(tools=[get_weather]), WEATHER)
        texts = [
            event.data.delta
            async for event in done.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        return done, texts

    done, texts = asyncio.run(streamed())
    assert (done.final_output, "".join(texts)) == (WARM, WARM)
    assert kinds(done.new_items) == [ToolCallItem, ToolCallOutputItem]


def test_an_output_type() -> None:
    done = Runner.run_sync(agent(output_type=Person), ADA)
    assert done.final_output == Person(name="Ada", age=36, skills=["mathematics", "poetry"])


def test_calls_that_do_not_run_at_the_same_time() -> None:
    done = Runner.run_sync(agent(tools=[get_weather], settings={"parallel_tool_calls": False}), WEATHER)
    assert done.final_output == WARM


def test_a_handoff_is_a_forced_call() -> None:
    other = agent(instructions="You describe persons.", handoff_description="Knows persons")
    first = agent(STARTER, handoffs=[other], settings={"tool_choice": "required"})
    done = Runner.run_sync(first, "What is the capital of France?")
    assert done.last_agent is other
    assert done.final_output


def test_the_starter_model_fills_in_an_output_type() -> None:
    assert Runner.run_sync(agent(STARTER, output_type=Mood), "What is the mood in Paris?").final_output.city in {
        "Berlin",
        "Paris",
    }
