"""The contract of ``ToolFunctions``, for its adapter; tests call their own functions, and need no fake."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jsonschema
import msgspec
import pytest

from mlxknife.adapters.functions.tool_functions import MAX_RESULT, PythonFunctions
from mlxknife.domain.errors import ValidationError

FUNCTIONS = PythonFunctions()


class Unit(Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Place(TypedDict):
    city: str
    zip_code: NotRequired[int]


@dataclass
class Span:
    first: int
    last: int = 7


def weather(
    place: Place,
    unit: Unit = Unit.CELSIUS,
    days: Annotated[int, msgspec.Meta(ge=1, le=14)] = 1,
    tags: list[str] | None = None,
    span: Span | None = None,
    form: Literal["short", "long"] = "short",
) -> object:
    """Return the weather of a place.

    It is a forecast.

    Args:
        place: where
        days (int): how many days
    """
    return [place["city"], unit.name, days, tags, span is not None and span.last, form]


def sphinx(city: str) -> str:
    """Say hello.

    :param city: the name of the city
    :returns: a text
    """
    return f"hello {city}"


def test_the_schema_names_types_defaults_and_descriptions() -> None:
    tool = FUNCTIONS.tool(weather)
    schema = json.loads(tool.parameters)
    assert (tool.name, tool.description) == ("weather", "Return the weather of a place.\n\nIt is a forecast.")
    assert schema["required"] == ["place"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Place"]["additionalProperties"] is False
    assert schema["properties"]["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 14,
        "description": "how many days",
    }
    assert schema["properties"]["form"] == {"enum": ["long", "short"]}
    jsonschema.Draft202012Validator.check_schema(schema)


def test_sphinx_parameters_are_described_too() -> None:
    tool = FUNCTIONS.tool(sphinx)
    assert tool.description == "Say hello."
    assert json.loads(tool.parameters)["properties"]["city"]["description"] == "the name of the city"


@pytest.mark.parametrize(
    "arguments",
    [
        {"place": {"city": "Paris"}},
        {"place": {"city": "Paris", "zip_code": 1}, "unit": "fahrenheit", "days": 3, "tags": ["a"]},
        {"place": {"city": ""}, "span": {"first": 1}, "form": "long", "tags": None},
    ],
)
def test_valid_arguments_call_the_function(arguments: dict[str, Any]) -> None:
    jsonschema.validate(arguments, json.loads(FUNCTIONS.tool(weather).parameters))
    result = json.loads(FUNCTIONS.call(weather, json.dumps(arguments)))
    assert result[0] == arguments["place"]["city"]
    assert result[1] == arguments.get("unit", "celsius").upper()
    assert result[4] == (7 if "span" in arguments else False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"place": 1}', "$.place"),
        ('{"place": {"city": 1}}', "$.place.city"),
        ('{"place": {"city": "x"}, "days": 15}', "$.days"),
        ('{"place": {"city": "x"}, "unit": "kelvin"}', "$.unit"),
        ('{"other": 1}', "other"),
        ("{}", "place"),
        ("", "place"),
        ("[]", "object"),
        ("{", "truncated"),
        ("[" * 100_000, "Expected"),
    ],
)
def test_wrong_arguments_become_a_text_that_says_what_is_wrong(arguments: str, said: str) -> None:
    result = FUNCTIONS.call(weather, arguments)
    assert result.startswith("Error: ")
    assert said in result


def test_an_exception_becomes_a_text_and_the_interrupt_does_not() -> None:
    def fail(text: str) -> None:
        raise (KeyboardInterrupt if text == "stop" else LookupError)(text)

    assert FUNCTIONS.call(fail, '{"text": "x"}') == "Error: LookupError: x"
    with pytest.raises(KeyboardInterrupt):
        FUNCTIONS.call(fail, '{"text": "stop"}')


@pytest.mark.parametrize(
    ("result", "text"),
    [("as it is", "as it is"), (None, "null"), ({"a": [1.5]}, '{"a": [1.5]}'), (object, "<class 'object'>")],
)
def test_a_result_becomes_text(result: object, text: str) -> None:
    def give() -> object:
        return result

    assert FUNCTIONS.call(give, "{}") == text


def test_a_long_result_is_cut() -> None:
    def give() -> str:
        return "x" * (MAX_RESULT + 1)

    assert FUNCTIONS.call(give, "{}") == "x" * MAX_RESULT + " [cut]"


def _star(*words: str) -> None: ...


def _unknown(word: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821 - that is the test


def _callable(word: Callable[[], None]) -> None: ...


async def _later(word: str) -> None: ...


@pytest.mark.parametrize("function", [_star, _unknown, _callable, _later, 3, lambda: None, None])
def test_what_cannot_be_a_tool_is_refused(function: Any) -> None:  # noqa: ANN401 - wrong on purpose
    with pytest.raises(ValidationError, match="tool") as caught:
        FUNCTIONS.tool(function)
    assert caught.value.param == "tools"
    assert "0x" not in caught.value.message
