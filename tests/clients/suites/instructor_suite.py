"""instructor: models of pydantic by its modes for calls and for JSON, whole and in parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any, Literal

import instructor
import openai
import pytest
from pydantic import BaseModel, create_model

PARROT, STARTER = os.environ["CLIENT_PARROT"], os.environ["CLIENT_STARTER"]
WHERE: Any = {"base_url": os.environ["CLIENT_URL"] + "/v1", "api_key": os.environ["CLIENT_KEY"], "max_retries": 0}
BY_CALLS = [instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT]
BY_JSON = [instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA]


class Person(BaseModel):
    """A person."""

    name: str
    age: int
    skills: list[str]


class Mood(BaseModel):
    """The mood in a city."""

    city: Literal["Berlin", "Paris"]
    detailed: bool


ADA = {"name": "Ada", "age": 36, "skills": ["mathematics", "poetry"]}
BERLIN = {"city": "Berlin"}
Weather: Any = create_model("get_weather", __doc__="The weather in a city.", city=(str, ...))
"""Its name is the one of the function that the parrot calls."""


def turn(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def made(mode: Any, model: str = PARROT, **fields: Any) -> Any:
    client = instructor.from_openai(openai.OpenAI(**WHERE), mode=mode)
    return client.chat.completions.create(model=model, temperature=0, max_retries=0, **fields)


@pytest.mark.parametrize("mode", BY_CALLS)
def test_a_model_by_a_call(mode: Any) -> None:
    found = made(mode, response_model=Weather, messages=turn("What is the weather in Berlin?"))
    assert found.model_dump() == BERLIN


@pytest.mark.parametrize("mode", BY_JSON)
def test_a_model_by_json(mode: Any) -> None:
    found = made(mode, response_model=Person, messages=turn("Describe Ada as JSON."))
    assert found.model_dump() == ADA


@pytest.mark.parametrize("mode", [*BY_CALLS, instructor.Mode.JSON_SCHEMA])
def test_a_model_in_parts(mode: Any) -> None:
    client = instructor.from_openai(openai.OpenAI(**WHERE), mode=mode)
    fields: Any = {"model": PARROT, "temperature": 0, "max_retries": 0, "response_model": Mood}
    parts = list(client.chat.completions.create_partial(messages=turn("What is 17 + 25?"), **fields))
    assert Mood.model_validate(parts[-1].model_dump()).city in {"Berlin", "Paris"}


def test_several_calls_at_once() -> None:
    question = turn("What is the weather in Berlin?")
    found = made(instructor.Mode.PARALLEL_TOOLS, response_model=Iterable[Weather], messages=question)
    assert [one.model_dump() for one in found] == [BERLIN]


@pytest.mark.parametrize("mode", [*BY_CALLS, instructor.Mode.JSON_SCHEMA])
def test_the_starter_model_fills_in_a_model(mode: Any) -> None:
    found = made(mode, STARTER, response_model=Mood, messages=turn("What is the mood in Paris?"), max_tokens=60)
    assert found.city in {"Berlin", "Paris"}


def test_an_asynchronous_client() -> None:
    async def found() -> list[Any]:
        client = instructor.from_openai(openai.AsyncOpenAI(**WHERE), mode=instructor.Mode.JSON_SCHEMA)
        fields: Any = {"model": PARROT, "temperature": 0, "max_retries": 0, "response_model": Person}
        calls = [client.chat.completions.create(messages=turn("Describe Ada as JSON."), **fields) for _ in range(3)]
        return list(await asyncio.gather(*calls))

    assert [one.model_dump() for one in asyncio.run(found())] == [ADA] * 3
