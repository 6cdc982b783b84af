"""Checks of tools: which ones a request may offer."""

from __future__ import annotations

import json

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.tools.rules import checks
from mlxknife.domain.tools.values import Tool, ToolChoice, ToolMode

_NAMED = ToolChoice(ToolMode.REQUIRED, "f")


def _deep(depth: int) -> str:
    return json.dumps({"type": "object", "properties": {"a": "["}}).replace('"["', "[" * depth + "]" * depth)


@pytest.mark.parametrize("name", ["f", "get_weather", "a.b-c_D9", "x" * 64])
def test_usual_tools_pass(name: str) -> None:
    schema = '{"type": "object", "properties": {"a": {"type": "string"}}}'
    checks.check((Tool(name, "", schema), Tool("g")), ToolChoice())
    checks.check((Tool(name),), ToolChoice(ToolMode.REQUIRED, name))
    checks.check((), ToolChoice())
    checks.check((), ToolChoice(ToolMode.NONE))


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        *(
            ((Tool("f"), Tool(name)), ToolChoice(), "tools[1].function.name")
            for name in ["", "a b", "x" * 65, "ü", "f"]
        ),
        *(
            ((Tool("f", "", schema),), ToolChoice(), "tools[0].function.parameters")
            for schema in [
                "",
                "7",
                "[]",
                "{",
                '{"type": "string"}',
                '{"a": NaN}',
                _deep(70),
                "[" * 100_000,
                _deep(5000),
            ]
        ),
        (tuple(Tool(f"f{number}") for number in range(129)), ToolChoice(), "tools"),
        ((Tool("f", "x" * 2_000_000),), ToolChoice(), "tools"),
        ((Tool("g"),), _NAMED, "tool_choice"),
        ((), _NAMED, "tool_choice"),
        ((), ToolChoice(ToolMode.REQUIRED), "tool_choice"),
    ],
)
def test_a_refusal_names_the_field(tools: tuple[Tool, ...], choice: ToolChoice, param: str) -> None:
    with pytest.raises(ValidationError) as caught:
        checks.check(tools, choice)
    assert caught.value.param == param
    assert len(str(caught.value)) < 300


def test_there_may_be_128_tools() -> None:
    checks.check(tuple(Tool(f"f{number}") for number in range(128)), ToolChoice(ToolMode.REQUIRED))
