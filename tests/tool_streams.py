"""Answers with tool calls, as the models of each family write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count

from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.rules.splitter import ToolCallSplitter
from mlxknife.domain.tools.values import Tool, ToolCall, ToolCallDelta

Arguments = Mapping[str, object]
Call = tuple[str, Arguments]

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "count": {"type": "integer"},
        "size": {"type": "number"},
        "is_new": {"type": "boolean"},
        "place": {"type": "object"},
        "names": {"type": "array"},
        "note": {"type": ["string", "null"]},
    },
}
TOOLS = tuple(Tool(name, parameters=json.dumps(SCHEMA)) for name in ("get_weather", "get", "add.numbers-2", "stop"))


def written(family: ToolFamily, calls: Sequence[Call]) -> str:
    """Return calls as a model of the family writes them."""
    return _WRITERS[family](calls)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object(call: Call, key: str = "arguments") -> str:
    return _json({"name": call[0], key: call[1]})


def _hermes(calls: Sequence[Call]) -> str:
    return "\n".join(f"<tool_call>\n{_object(call)}\n</tool_call>" for call in calls)


def _deepseek(calls: Sequence[Call], call_form: str, separator: str) -> str:
    inner = (
        "<｜tool▁call▁begin｜>" + call_form % (name, _json(arguments)) + "<｜tool▁call▁end｜>"
        for name, arguments in calls
    )
    return f"<｜tool▁calls▁begin｜>{separator.join(inner)}<｜tool▁calls▁end｜>"


def _kimi(calls: Sequence[Call]) -> str:
    inner = (
        f"<|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>{_json(arguments)}<|tool_call_end|>"
        for number, (name, arguments) in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{''.join(inner)}<|tool_calls_section_end|>"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _qwen3_coder(calls: Sequence[Call]) -> str:
    def inner(arguments: Arguments) -> str:
        return "".join(f"<parameter={key}>\n{_plain(value)}\n</parameter>\n" for key, value in arguments.items())

    return "\n".join(
        f"<tool_call>\n<function={name}>\n{inner(arguments)}</function>\n</tool_call>" for name, arguments in calls
    )


def _glm(calls: Sequence[Call], line: str, prefix: str = "") -> str:
    def inner(arguments: Arguments) -> str:
        return "".join(
            f"<{prefix}arg_key>{key}</{prefix}arg_key>{line}"
            f"<{prefix}arg_value>{_plain(value)}</{prefix}arg_value>{line}"
            for key, value in arguments.items()
        )

    return line.join(
        f"<{prefix}tool_call>{name}{line}{inner(arguments)}</{prefix}tool_call>" for name, arguments in calls
    )


def _minimax(calls: Sequence[Call]) -> str:
    def inner(arguments: Arguments) -> str:
        return "".join(f'<parameter name="{key}">{_plain(value)}</parameter>\n' for key, value in arguments.items())

    invokes = "".join(f'<invoke name="{name}">\n{inner(arguments)}</invoke>\n' for name, arguments in calls)
    return f"<minimax:tool_call>\n{invokes}</minimax:tool_call>"


def _python(calls: Sequence[Call]) -> str:
    def inner(arguments: Arguments) -> str:
        return ", ".join(f"{key}={value!r}" for key, value in arguments.items())

    return f"[{', '.join(f'{name}({inner(arguments)})' for name, arguments in calls)}]"


def _gemma(calls: Sequence[Call], begin: str, end: str, quote: str) -> str:
    def literal(value: object) -> str:
        if isinstance(value, str):
            return quote + value + quote
        if isinstance(value, Mapping):
            return "{" + ",".join(f"{key}:{literal(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(literal, value)) + "]"
        return _json(value)

    return "".join(f"{begin}call:{name}{literal(arguments)}{end}" for name, arguments in calls)


_WRITERS: Mapping[ToolFamily, Callable[[Sequence[Call]], str]] = {
    ToolFamily.GENERIC: _hermes,
    ToolFamily.HERMES: _hermes,
    ToolFamily.QWEN3_CODER: _qwen3_coder,
    ToolFamily.LLAMA_JSON: lambda calls: "; ".join(_object(call, "parameters") for call in calls),
    ToolFamily.LLAMA_PYTHON: _python,
    ToolFamily.LFM2: lambda calls: f"<|tool_call_start|>{_python(calls)}<|tool_call_end|>",
    ToolFamily.MISTRAL: lambda calls: f"[TOOL_CALLS] [{', '.join(map(_object, calls))}]",
    ToolFamily.MISTRAL_ARGS: lambda calls: "".join(f"[TOOL_CALLS]{name}[ARGS]{_json(args)}" for name, args in calls),
    ToolFamily.DEEPSEEK_V3: lambda calls: _deepseek(calls, "function<｜tool▁sep｜>%s\n```json\n%s\n```", "\n"),
    ToolFamily.DEEPSEEK_V31: lambda calls: _deepseek(calls, "%s<｜tool▁sep｜>%s", ""),
    ToolFamily.KIMI: _kimi,
    ToolFamily.HARMONY: lambda calls: "".join(
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{_json(args)}<|call|>"
        for name, args in calls
    ),
    ToolFamily.GLM45: lambda calls: _glm(calls, "\n"),
    ToolFamily.GLM47: lambda calls: _glm(calls, ""),
    ToolFamily.LONGCAT: lambda calls: _glm(calls, "\n", "longcat_"),
    ToolFamily.MINIMAX: _minimax,
    ToolFamily.GEMMA_FUNCTION: lambda calls: _gemma(calls, "<start_function_call>", "<end_function_call>", "<escape>"),
    ToolFamily.GEMMA4: lambda calls: _gemma(calls, "<|tool_call>", "<tool_call|>", '<|"|>'),
}


def splitter(
    family: ToolFamily, *, is_parallel: bool = True, is_forced: bool = False, tools: Sequence[Tool] = TOOLS
) -> ToolCallSplitter:
    """Return a splitter whose ids are numbers."""
    numbers = count()
    return ToolCallSplitter(
        family, tools, lambda: f"call_{next(numbers)}", is_parallel=is_parallel, is_forced=is_forced
    )


def split(splitter: ToolCallSplitter, parts: Iterable[str]) -> tuple[str, list[ToolCall]]:
    """Return the text and the calls of an answer that comes in parts."""
    found = [event for part in parts for event in splitter.feed(part)]
    return joined([*found, *splitter.flush()])


def joined(events: Iterable[str | ToolCallDelta]) -> tuple[str, list[ToolCall]]:
    """Return the text and the calls of the events of one answer."""
    text, calls = "", dict[int, ToolCall]()
    for event in events:
        if isinstance(event, str):
            assert event
            text += event
            continue
        known = calls.get(event.index)
        assert bool(event.id and event.name) is (known is None)
        assert known is None or event.arguments
        before = known or ToolCall(event.id, event.name, "")
        calls[event.index] = ToolCall(before.id, before.name, before.arguments + event.arguments)
    assert list(calls) == list(range(len(calls)))
    return text, list(calls.values())


def values(calls: Iterable[ToolCall]) -> list[Call]:
    """Return calls with their arguments as values."""
    return [(call.name, json.loads(call.arguments)) for call in calls]
