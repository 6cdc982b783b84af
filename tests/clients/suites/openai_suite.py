"""OpenAI's own client: tools, ``parse`` and the stream helper."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

PARROT = os.environ["CLIENT_PARROT"]
STARTER = os.environ.get("CLIENT_STARTER", "")
WHERE: Any = {"base_url": os.environ["CLIENT_URL"] + "/v1", "api_key": os.environ["CLIENT_KEY"], "max_retries": 0}

ADA = "Describe Ada as JSON."
CAPITAL = "What is the capital of France?"
SUM = "What is 17 + 25?"
"""The parrot reasons before its answer."""
WEATHER = "What is the weather in Berlin?"
RESULT = '{"celsius": 21}'
PARIS = "The capital of France is Paris."
WARM = "It is 21 degrees in Berlin."

needs_starter = pytest.mark.skipif(not STARTER, reason="the starter model is not served")


class Person(BaseModel):
    """A person."""

    name: str
    age: int
    skills: list[str]


class GetWeather(BaseModel):
    """Tell the weather in a city."""

    city: str = Field(description="The name of the city")


class GetMood(BaseModel):
    """Tell the mood in a city."""

    city: Literal["Berlin", "Paris"]
    detailed: bool


class GetTime(BaseModel):
    """Tell the time in a city."""

    city: str


THE_PERSON = Person(name="Ada", age=36, skills=["mathematics", "poetry"])
WEATHER_TOOL: Any = openai.pydantic_function_tool(GetWeather, name="get_weather")
TIME_TOOL: Any = openai.pydantic_function_tool(GetTime, name="get_time")
FREE_TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def client() -> Any:
    with openai.OpenAI(**WHERE) as made:
        yield made


def turn(text: str) -> Any:
    return [{"role": "user", "content": text}]


def asking(question: str, **fields: Any) -> Any:
    return {"model": PARROT, "messages": turn(question), "temperature": 0, **fields}


def the_call(choice: Any, city: str = "Berlin") -> Any:
    """Return the only call of an answer."""
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": city}
    assert call.id
    return call


# --- structured output


def test_parse_returns_a_model_of_pydantic(client: Any) -> None:
    done = client.chat.completions.parse(**asking(ADA), response_format=Person)
    assert done.choices[0].message.parsed == THE_PERSON
    assert done.choices[0].message.refusal is None
    assert done.choices[0].finish_reason == "stop"


def test_the_stream_helper_parses_while_the_answer_comes(client: Any) -> None:
    with client.chat.completions.stream(**asking(ADA), response_format=Person) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    parts = [event.parsed for event in events if event.type == "content.delta"]
    (done,) = (event for event in events if event.type == "content.done")
    assert {"name": "Ada"} in [{"name": part["name"]} for part in parts if part and part.get("name")]
    assert done.parsed == final.choices[0].message.parsed == THE_PERSON


def test_parse_names_the_limit_that_cut_an_answer(client: Any) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**asking(ADA, max_tokens=5), response_format=Person)


def test_an_asynchronous_client_parses_several_answers_at_once() -> None:
    async def found() -> list[Any]:
        async with openai.AsyncOpenAI(**WHERE) as client:
            calls = [client.chat.completions.parse(**asking(ADA), response_format=Person) for _ in range(4)]
            return list(await asyncio.gather(*calls))

    assert [one.choices[0].message.parsed for one in asyncio.run(found())] == [THE_PERSON] * 4


def test_json_mode_returns_an_object(client: Any) -> None:
    done = client.chat.completions.create(**asking(ADA), response_format={"type": "json_object"})
    assert json.loads(done.choices[0].message.content) == THE_PERSON.model_dump()


@pytest.mark.parametrize(("question", "texts"), [(CAPITAL, ["No.", PARIS]), (SUM, ["Yes.", "No."])])
def test_the_fields_of_vllm_choose_a_text(client: Any, question: str, texts: list[str]) -> None:
    done = client.chat.completions.create(**asking(question), extra_body={"structured_outputs": {"choice": texts}})
    assert done.choices[0].message.content in texts
    assert (done.choices[0].message.content == PARIS) == (PARIS in texts)


def test_a_schema_is_enforced_after_the_reasoning(client: Any) -> None:
    done = client.chat.completions.parse(**asking(SUM), response_format=GetMood)
    assert done.choices[0].message.reasoning_content.startswith("First 17")
    assert done.choices[0].message.parsed.city in {"Berlin", "Paris"}


@pytest.mark.parametrize("keyword", ["not", "uniqueItems", "if"])
def test_a_keyword_that_cannot_be_enforced_is_refused_with_its_place(client: Any, keyword: str) -> None:
    value: Any = True if keyword == "uniqueItems" else {"type": "string"}
    schema = {"type": "object", "properties": {"a": {"type": "array", keyword: value}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**asking(ADA), response_format=form)
    assert caught.value.param == f"response_format.json_schema.schema.properties.a.{keyword}"


# --- tools


@pytest.mark.parametrize(
    ("tool", "choice"),
    [
        (FREE_TOOL, None),
        (FREE_TOOL, "required"),
        (WEATHER_TOOL, "auto"),
        (WEATHER_TOOL, {"type": "function", "function": {"name": "get_weather"}}),
    ],
    ids=["free", "free-required", "strict-auto", "strict-named"],
)
def test_a_call_and_its_result_lead_to_an_answer(client: Any, tool: Any, choice: Any) -> None:
    chosen = {} if choice is None else {"tool_choice": choice}
    first = client.chat.completions.create(**asking(WEATHER, tools=[tool], **chosen))
    call = the_call(first.choices[0])
    assert first.choices[0].message.content is None
    result = {"role": "tool", "tool_call_id": call.id, "content": RESULT}
    history = [*turn(WEATHER), first.choices[0].message, result]
    last = client.chat.completions.create(model=PARROT, messages=history, tools=[tool], temperature=0)
    assert (last.choices[0].message.content, last.choices[0].finish_reason) == (WARM, "stop")
    assert last.choices[0].message.tool_calls is None


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_mood"}}])
def test_a_call_is_forced_after_the_reasoning(client: Any, choice: Any, streams: bool) -> None:  # noqa: FBT001
    mood: Any = openai.pydantic_function_tool(GetMood, name="get_mood")
    fields = asking(SUM, tools=[mood], tool_choice=choice, parallel_tool_calls=False)
    if streams:
        with client.chat.completions.stream(**fields) as stream:
            done = stream.get_final_completion()
    else:
        done = client.chat.completions.parse(**fields)
    assert done.choices[0].finish_reason == "tool_calls"
    (call,) = done.choices[0].message.tool_calls
    assert call.function.name == "get_mood"
    assert call.function.parsed_arguments.city in {"Berlin", "Paris"}


def test_parse_returns_the_arguments_as_a_model(client: Any) -> None:
    done = client.chat.completions.parse(**asking(WEATHER, tools=[WEATHER_TOOL, TIME_TOOL]))
    call = the_call(done.choices[0])
    assert call.function.parsed_arguments == GetWeather(city="Berlin")


def test_the_stream_helper_collects_a_call(client: Any) -> None:
    with client.chat.completions.stream(**asking(WEATHER, tools=[WEATHER_TOOL])) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    parts = [event.arguments_delta for event in events if event.type == "tool_calls.function.arguments.delta"]
    (done,) = (event for event in events if event.type == "tool_calls.function.arguments.done")
    assert "".join(parts) == done.arguments
    assert done.parsed_arguments == GetWeather(city="Berlin")
    the_call(final.choices[0])
    assert not [event for event in events if event.type == "content.delta"]


def test_a_stream_of_chunks_begins_a_call_with_its_name_and_id(client: Any) -> None:
    chunks = list(client.chat.completions.create(**asking(WEATHER, tools=[FREE_TOOL], stream=True)))
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    first, *others = (call for delta in deltas for call in delta.tool_calls or ())
    assert (first.index, first.type, first.function.name, first.function.arguments) == (
        0,
        "function",
        "get_weather",
        "",
    )
    assert first.id
    assert {(one.index, one.id, one.function.name) for one in others} == {(0, None, None)}
    assert json.loads("".join(one.function.arguments for one in others)) == {"city": "Berlin"}
    assert not "".join(delta.content or "" for delta in deltas)
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "tool_calls"


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_an_answer_need_not_call_a_tool(client: Any, choice: Literal["none", "auto"]) -> None:
    done = client.chat.completions.create(**asking(CAPITAL, tools=[FREE_TOOL], tool_choice=choice))
    assert (done.choices[0].message.content, done.choices[0].finish_reason) == (PARIS, "stop")
    assert done.choices[0].message.tool_calls is None


def test_several_answers_call_with_ids_of_their_own(client: Any) -> None:
    done = client.chat.completions.create(**asking(WEATHER, tools=[FREE_TOOL], n=3))
    assert len({the_call(choice).id for choice in done.choices}) == 3


def test_functions_are_the_deprecated_name(client: Any) -> None:
    functions = [FREE_TOOL["function"]]
    first = client.chat.completions.create(**asking(WEATHER, functions=functions))
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "function_call"
    assert (message.function_call.name, json.loads(message.function_call.arguments)) == (
        "get_weather",
        {"city": "Berlin"},
    )
    result = {"role": "function", "name": "get_weather", "content": RESULT}
    last = client.chat.completions.create(
        model=PARROT, messages=[*turn(WEATHER), message, result], functions=functions, temperature=0
    )
    assert last.choices[0].message.content == WARM


@needs_starter
def test_the_starter_model_calls_a_tool_and_answers(client: Any) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    question = "What is the weather in Paris? Call the function with the city of the question."
    messages = turn(question)
    first = client.chat.completions.create(
        model=STARTER, messages=messages, tools=[WEATHER_TOOL], tool_choice=named, temperature=0, max_tokens=200
    )
    assert first.choices[0].finish_reason == "tool_calls"
    call = the_call(first.choices[0], "Paris")
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "It is sunny."}]
    last = client.chat.completions.create(
        model=STARTER, messages=messages, tools=[WEATHER_TOOL], tool_choice="none", temperature=0, max_tokens=60
    )
    assert last.choices[0].message.tool_calls is None
    assert last.choices[0].message.content
    is_cut = last.usage.completion_tokens == 60
    assert last.choices[0].finish_reason == ("length" if is_cut else "stop")


@needs_starter
def test_parse_with_the_starter_model(client: Any) -> None:
    done = client.chat.completions.parse(
        model=STARTER,
        messages=turn("What is the mood in Paris?"),
        response_format=GetMood,
        temperature=0,
        max_tokens=60,
    )
    assert done.choices[0].message.parsed.city == "Paris"
