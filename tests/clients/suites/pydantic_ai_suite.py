"""pydantic-ai: agents with tools, and output by a call, by a schema and by a prompt."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

PARROT, STARTER = os.environ["CLIENT_PARROT"], os.environ["CLIENT_STARTER"]
ADA, WEATHER = "Describe Ada as JSON.", "What is the weather in Berlin?"
WARM = "It is 21 degrees in Berlin."


class Person(BaseModel):
    """A person."""

    name: str
    age: int
    skills: list[str]


class Weather(BaseModel):
    """The weather in a city."""

    city: str


class Mood(BaseModel):
    """The mood in a city."""

    city: Literal["Berlin", "Paris"]
    detailed: bool


THE_PERSON = Person(name="Ada", age=36, skills=["mathematics", "poetry"])


def agent(model: str = PARROT, **options: Any) -> Any:
    provider = OpenAIProvider(base_url=os.environ["CLIENT_URL"] + "/v1", api_key=os.environ["CLIENT_KEY"])
    settings = {"temperature": 0, "max_tokens": 200, **options.pop("settings", {})}
    return Agent(OpenAIChatModel(model, provider=provider), retries=0, model_settings=settings, **options)


def weather_agent(asked: list[str]) -> Any:
    made = agent()

    @made.tool_plain
    def get_weather(city: str) -> str:
        """Tell the weather in a city."""
        asked.append(city)
        return '{"celsius": 21}'

    return made


def test_an_agent_calls_its_tool_and_answers() -> None:
    asked = list[str]()
    done = weather_agent(asked).run_sync(WEATHER)
    assert (done.output, asked) == (WARM, ["Berlin"])
    assert done.usage.requests == 2


def test_an_agent_streams_its_answer_after_the_call() -> None:
    asked = list[str]()

    async def streamed() -> list[str]:
        async with weather_agent(asked).run_stream(WEATHER) as done:
            return [part async for part in done.stream_text(delta=True, debounce_by=None)]

    parts = asyncio.run(streamed())
    assert ("".join(parts), asked) == (WARM, ["Berlin"])


@pytest.mark.parametrize("kind", [NativeOutput, PromptedOutput])
def test_output_by_a_schema(kind: Any) -> None:
    assert agent(output_type=kind(Person)).run_sync(ADA).output == THE_PERSON


def test_output_by_a_call() -> None:
    assert agent(output_type=ToolOutput(Weather, name="get_weather")).run_sync(WEATHER).output == Weather(city="Berlin")


def test_output_is_validated_while_it_comes() -> None:
    async def streamed() -> list[Any]:
        async with agent(output_type=NativeOutput(Person)).run_stream(ADA) as done:
            return [part async for part in done.stream_output(debounce_by=None)]

    parts = asyncio.run(streamed())
    assert parts[-1] == THE_PERSON


def test_reasoning_is_a_part_of_its_own() -> None:
    done = agent().run_sync("What is 17 + 25?")
    kinds = [part.part_kind for part in done.all_messages()[-1].parts]
    assert done.output == "The sum is 42."
    assert kinds == ["thinking", "text"]


@pytest.mark.parametrize("kind", [NativeOutput, ToolOutput])
def test_the_starter_model_fills_in_a_model(kind: Any) -> None:
    assert agent(STARTER, output_type=kind(Mood)).run_sync("What is the mood in Paris?").output.city in {
        "Berlin",
        "Paris",
    }
