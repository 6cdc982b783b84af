"""The tools that a chat body offers, and which of them the answer must call."""

from __future__ import annotations

import msgspec

from mlxknife.domain.tools.values import Tool, ToolChoice, ToolMode
from mlxknife.http.apis.openai.bodies import (
    ChatCompletionBody,
    FunctionBody,
    FunctionChoiceBody,
    ToolChoiceBody,
)
from mlxknife.http.core.errors import BadRequest


def check_names(body: ChatCompletionBody) -> None:
    """Raise BadRequest where a body has both the fields for tools and the deprecated ones."""
    new = {"tools": body.tools or None, "tool_choice": body.tool_choice}
    old = {"functions": body.functions or None, "function_call": body.function_call}
    new_given, old_given = ([name for name, value in names.items() if value is not None] for names in (new, old))
    if new_given and old_given:
        msg = f"{old_given[0]} cannot be combined with {new_given[0]}"
        raise BadRequest(msg, param=old_given[0], hint="functions and function_call are the old names: leave them out")


def tools(body: ChatCompletionBody) -> tuple[Tool, ...]:
    """Return the tools that a body offers."""
    functions = body.functions or [tool.function for tool in body.tools or ()]
    return tuple(map(_tool, functions))


def tool_choice(body: ChatCompletionBody) -> ToolChoice:
    """Return which tools the answer must call."""
    given = body.function_call if body.tool_choice is None else body.tool_choice
    if isinstance(given, ToolChoiceBody):
        given = given.function
    if isinstance(given, FunctionChoiceBody):
        return ToolChoice(ToolMode.REQUIRED, given.name)
    return ToolChoice() if given is None else ToolChoice(ToolMode(given))


def allows_parallel_calls(body: ChatCompletionBody) -> bool:
    """Return whether an answer may have several calls. The deprecated ``function_call`` has only one."""
    return body.parallel_tool_calls is not False and not body.uses_functions


def _tool(function: FunctionBody) -> Tool:
    parameters = msgspec.json.encode(function.parameters or {}).decode()
    return Tool(function.name, function.description or "", parameters, bool(function.strict))
