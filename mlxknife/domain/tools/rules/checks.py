"""Checks of the tools that a request offers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.tools.rules.documents import json_object
from mlxknife.domain.tools.values import Tool, ToolChoice, ToolMode

MAX_TOOLS = 128
"""The largest number of tools; OpenAI has the same limit."""
_MAX_CHARACTERS = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check(tools: Sequence[Tool], choice: ToolChoice) -> None:
    """Raise ValidationError, which names the field, for invalid tools or a choice that they do not allow."""
    if len(tools) > MAX_TOOLS:
        _refuse("tools", f"tools has {len(tools)} entries, and may have {MAX_TOOLS}")
    names = set[str]()
    for number, tool in enumerate(tools):
        field = f"tools[{number}].function"
        if not _NAME.fullmatch(tool.name):
            msg = f"{field}.name must have 1 to 64 of the characters a-z, A-Z, 0-9, '_', '.' and '-'"
            _refuse(f"{field}.name", msg)
        if tool.name in names:
            _refuse(f"{field}.name", f"{field}.name is {tool.name!r} like that of an earlier tool")
        names.add(tool.name)
        if len(tool.parameters) > _MAX_CHARACTERS or not _is_schema(tool):
            msg = f"{field}.parameters must be a JSON schema of type object, nested at most 64 levels deep"
            _refuse(f"{field}.parameters", msg)
    if sum(len(tool.description) + len(tool.parameters) for tool in tools) > _MAX_CHARACTERS:
        _refuse("tools", f"The descriptions and schemas of tools have more than {_MAX_CHARACTERS} characters")
    _check_choice(names, choice)


def _is_schema(tool: Tool) -> bool:
    schema = json_object(tool.parameters)
    return schema is not None and schema.get("type", "object") == "object"


def _check_choice(names: set[str], choice: ToolChoice) -> None:
    if choice.name is not None and choice.name not in names:
        _refuse("tool_choice", f"tool_choice names {choice.name!r}, and tools has no such function")
    if choice.mode is ToolMode.REQUIRED and not names:
        _refuse("tool_choice", "tool_choice demands a call, and the request has no tools")


def _refuse(param: str, msg: str) -> NoReturn:
    raise ValidationError(msg, param=param)
