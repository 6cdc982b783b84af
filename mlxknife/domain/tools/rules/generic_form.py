"""The generic form: tools, calls and results as text, for chat templates that know no tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mlxknife.domain.tools.rules.documents import json_object
from mlxknife.domain.tools.rules.families import FORMATS, Shape, ToolFamily
from mlxknife.domain.tools.values import ToolCall

_INSTRUCTIONS = """\
You can call functions. Their signatures stand between <tools> and </tools>, one JSON object in a line:
<tools>
{tools}
</tools>

To call a function, answer with a JSON object that has its name and its arguments, between <tool_call> and </tool_call>:
<tool_call>
{{"name": <function-name>, "arguments": <arguments-object>}}
</tool_call>
The results follow between <tool_response> and </tool_response>. Answer without a call if none is needed."""


def instructions(tools: Sequence[Mapping[str, object]]) -> str:
    """Return the text that tells a model of its tools and of the form of a call."""
    return _INSTRUCTIONS.format(tools="\n".join(map(_dumped, tools)))


def calls(called: Sequence[ToolCall], family: ToolFamily) -> str:
    """Return calls as a model of a family writes them, for a template that renders none."""
    form = FORMATS[family]
    if form.shape is Shape.PYTHON:
        return "".join([*form.begin, f"[{', '.join(map(_python, called))}]", *form.end])
    return "\n".join(map(_json, called))


def result(content: str) -> str:
    """Return the result of a call as a user tells it."""
    return f"<tool_response>\n{content}\n</tool_response>"


def _json(called: ToolCall) -> str:
    text = called.arguments if called.arguments.strip() else "{}"
    arguments = text if json_object(text) is not None else json.dumps(text)
    return f'<tool_call>\n{{"name": {json.dumps(called.name)}, "arguments": {arguments}}}\n</tool_call>'


def _python(called: ToolCall) -> str:
    arguments = json_object(called.arguments) or {}
    return f"{called.name}({', '.join(f'{name}={_dumped(value)}' for name, value in arguments.items())})"


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
