"""Describes Python functions as tools, and calls them: msgspec writes the schemas and checks the arguments."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any, get_type_hints

import msgspec

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.tools.values import Tool
from mlxknife.ports.system.tool_functions import ToolFunction

MAX_RESULT = 100_000
"""The characters of the longest result; the rest is cut."""
_SECTION = re.compile(
    r"\s*(?:(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):?\s*$|:(?:param|returns?|raises)\b)"
)
_ARGUMENT = re.compile(r"\s*(?::param\s+)?\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s+(\S.*)$")


class PythonFunctions:
    """See ``ToolFunctions``."""

    def tool(self, function: ToolFunction) -> Tool:
        """See ``ToolFunctions.tool``."""
        arguments = _arguments_type(function)
        try:
            _, parts = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
        except TypeError as exc:
            reason = str(exc).rpartition("\n")[2]
            msg = f"The tool '{function.__name__}' has a type hint without a JSON form: {reason}"
            raise ValidationError(msg, param="tools") from exc
        schema = parts.pop(arguments.__name__)
        del schema["title"]
        description, of_arguments = _described(inspect.getdoc(function) or "")
        for name, text in of_arguments.items():
            if name in schema["properties"]:
                schema["properties"][name].setdefault("description", text)
        for part in parts.values():
            if "properties" in part:
                part.setdefault("additionalProperties", False)
        parameters = schema | {"additionalProperties": False} | ({"$defs": parts} if parts else {})
        return Tool(function.__name__, description, json.dumps(parameters, ensure_ascii=False))

    def call(self, function: ToolFunction, arguments: str) -> str:
        """See ``ToolFunctions.call``."""
        try:
            values = msgspec.structs.asdict(msgspec.json.decode(arguments or "{}", type=_arguments_type(function)))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            return f"Error: the arguments do not fit: {exc}"
        try:
            return _text(function(**values))
        except Exception as exc:  # noqa: BLE001 - the function is the user's, and the model gets what went wrong
            return f"Error: {type(exc).__name__}: {exc}"[:MAX_RESULT]


def _arguments_type(function: ToolFunction) -> type[msgspec.Struct]:
    """Return a type that has the parameters of a function as fields. Raises ValidationError."""
    name = getattr(function, "__name__", "")
    if not callable(function) or not name.isidentifier():
        msg = "A tool is a function with a name"
        raise ValidationError(msg, param="tools")
    inner = inspect.unwrap(function)
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        msg = f"The tool '{name}' is asynchronous, and a tool returns its result"
        raise ValidationError(msg, param="tools")
    try:
        hints: Mapping[str, Any] = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
        fields = [_field(parameter, hints.get(parameter.name, Any), name) for parameter in parameters]
        return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    except (NameError, TypeError, ValueError) as exc:
        msg = f"The parameters of the tool '{name}' cannot be read: {exc}"
        raise ValidationError(msg, param="tools") from exc


def _field(parameter: inspect.Parameter, hint: Any, function: str) -> tuple[str, Any] | tuple[str, Any, Any]:  # noqa: ANN401
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        msg = f"The tool '{function}' takes '{parameter}', and a model can only pass arguments by name"
        raise ValidationError(msg, param="tools")
    if parameter.default is parameter.empty:
        return parameter.name, hint
    return parameter.name, hint, msgspec.field(default_factory=lambda: parameter.default)


def _described(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the text of a docstring before its sections, and the lines on its arguments."""
    lines = docstring.splitlines()
    end = next((number for number, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    found = (_ARGUMENT.match(line) for line in lines[end:])
    return "\n".join(lines[:end]).strip(), {match[1]: match[2].strip() for match in found if match is not None}


def _text(result: object) -> str:
    """Return a result as text: a string as it is, anything else as JSON where it has a JSON form."""
    try:
        text = (
            result if isinstance(result, str) else msgspec.json.format(msgspec.json.encode(result), indent=0).decode()
        )
    except (TypeError, msgspec.MsgspecError, RecursionError):
        text = str(result)
    return text if len(text) <= MAX_RESULT else f"{text[:MAX_RESULT]} [cut]"
