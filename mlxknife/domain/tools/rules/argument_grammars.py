"""Grammars of the arguments of a call, in the formats that are not JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.tools.rules.families import ToolFormat
from mlxknife.domain.tools.rules.parameters import Parameter, Schema, ToolSchema
from mlxknife.domain.tools.rules.strings import Strings, choice, sequence

_ARRAY = frozenset(["type", "items", "minItems", "maxItems"])
_FREE_KEY = "/[A-Za-z_][A-Za-z0-9_]{0,63}/"
_COMMA = '", "'
_MAX_DEPTH = 8


class XmlArguments:
    """Arguments of which each stands between markers: strings as they are, other values as JSON."""

    def __init__(self, builder: GrammarBuilder, form: ToolFormat) -> None:
        """Take the format."""
        self._builder = builder
        self._form = form
        end, *self._after = form.value_end
        self._strings = Strings(builder, end, form.value_pad)

    def expression(self, tool: ToolSchema) -> str:
        """Return an expression for the arguments of a tool. Raises ValidationError."""
        members = tool.members()
        if members.others is not None:
            value = self._builder.json(tool.document(members.others))
            return f"{self._builder.rule(self._member(_FREE_KEY, self._strings.ended(value)))}*"
        parts = [self._parameter(tool, parameter) for parameter in members.declared]
        return sequence(*parts)

    def _parameter(self, tool: ToolSchema, parameter: Parameter) -> str:
        kinds = tool.alternatives(parameter.schema)
        texts = [kind for kind in kinds if _is_text(kind)]
        if texts:
            is_mixed = len(texts) < len(kinds)
            values = [
                self._strings.value(tool, kind, is_distinct=is_mixed) if _is_text(kind) else self._json(tool, kind)
                for kind in kinds
            ]
        else:
            values = [self._json(tool, parameter.schema)]
        member = self._builder.rule(self._member(self._builder.text(parameter.name), choice(values)))
        return member if parameter.is_required else f"{member}?"

    def _json(self, tool: ToolSchema, schema: Schema) -> str:
        return self._strings.ended(self._builder.json(tool.document(schema)))

    def _member(self, key: str, value: str) -> str:
        form, builder = self._form, self._builder
        return sequence(
            builder.markers(form.key_begin), key, builder.markers(form.key_end), value, builder.markers(self._after)
        )


class PythonArguments:
    """Keyword arguments; their values are JSON, which readers of Python's literals take too."""

    def __init__(self, builder: GrammarBuilder) -> None:
        """Take the builder."""
        self._builder = builder

    def expression(self, tool: ToolSchema) -> str:
        """Return an expression for the arguments of a tool in parentheses. Raises ValidationError."""
        members = tool.members()
        if members.others is not None:
            value = self._builder.json(tool.document(members.others))
            free = self._builder.rule(f'{_FREE_KEY} "=" {value}')
            return f'"(" ({free} ({_COMMA} {free})*)? ")"'
        parts = [
            (f"{self._builder.text(one.name + '=')} {self._builder.json(tool.document(one.schema))}", one.is_required)
            for one in members.declared
        ]
        return f'"(" {listed(self._builder, parts)} ")"'


class GemmaArguments:
    """Members in braces, with names as they are and strings between two markers."""

    def __init__(self, builder: GrammarBuilder, form: ToolFormat) -> None:
        """Take the format."""
        self._builder = builder
        self._quote = builder.marker(form.quote)
        self._strings = Strings(builder, form.quote)
        self._values = dict[tuple[int, int], tuple[Schema, str]]()
        """The rules for the values of a schema, by its identity and its depth: many schemas may refer to one."""

    def expression(self, tool: ToolSchema) -> str:
        """Return an expression for the arguments of a tool in braces. Raises ValidationError."""
        return self._object(tool, None, 0)

    def _object(self, tool: ToolSchema, schema: Schema | None, depth: int) -> str:
        members = tool.members(schema)
        if members.others is not None:
            free = self._builder.rule(f'{_FREE_KEY} ":" {self._value(tool, members.others, depth + 1)}')
            return f'"{{" ({free} ("," {free})*)? "}}"'
        parts = [
            (f"{self._builder.text(one.name + ':')} {self._value(tool, one.schema, depth + 1)}", one.is_required)
            for one in members.declared
        ]
        return f'"{{" {listed(self._builder, parts, ",")} "}}"'

    def _value(self, tool: ToolSchema, schema: Schema, depth: int) -> str:
        if depth > _MAX_DEPTH:
            tool.refuse("its values are nested too deeply")
            return self._builder.json({"type": "null"})
        resolved = tool.resolved(schema)
        key = id(resolved), depth
        if key not in self._values:
            kinds = [self._kind(tool, kind, depth) for kind in tool.alternatives(resolved)]
            self._values[key] = resolved, self._builder.rule(choice(kinds))
        return self._values[key][1]

    def _kind(self, tool: ToolSchema, schema: Schema, depth: int) -> str:
        if "const" in schema or "enum" in schema:
            constants = [schema["const"]] if "const" in schema else schema["enum"]
            return choice([self._constant(tool, constant) for constant in constants])
        match schema.get("type"):
            case "string":
                return f"{self._quote} {self._strings.value(tool, schema)}"
            case "object":
                return self._object(tool, schema, depth)
            case "array":
                return self._array(tool, schema, depth)
            case None:
                tool.check(schema, frozenset())
                scalar = self._builder.json({"type": ["boolean", "integer", "null", "number"]})
                return f"({scalar} | {self._quote} {self._strings.value(tool, {})})"
        return self._builder.json(tool.document(schema))

    def _array(self, tool: ToolSchema, schema: Schema, depth: int) -> str:
        tool.check(schema, _ARRAY)
        item = self._value(tool, schema["items"] if isinstance(schema.get("items"), dict) else {}, depth + 1)
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if most == 0:
            return '"[" "]"'
        more = f'("," {item}){{{max(least - 1, 0)},{"" if most is None else most - 1}}}'
        return f'"[" {item} {more} "]"' if least else f'"[" ({item} {more})? "]"'

    def _constant(self, tool: ToolSchema, constant: object) -> str:
        if isinstance(constant, str):
            return f"{self._quote} {self._strings.value(tool, {'const': constant})}"
        if isinstance(constant, list | dict):
            tool.fail("constants that are lists or objects")
        return self._builder.text(json.dumps(constant))


def listed(builder: GrammarBuilder, parts: Sequence[tuple[str, bool]], comma: str = ", ") -> str:
    """Return an expression for parts with commas between them; the second value says whether a part is required.

    Rules refer to rules for halves of the parts: the compiler of grammars follows a rule to the next by recursion, and
    a chain of thousands of rules would overflow its stack.
    """
    if not parts:
        return builder.rule('""')
    begun, _ = _halved(builder, parts, builder.text(comma))
    return builder.rule(begun if any(is_required for _, is_required in parts) else f"{begun}?")


def _halved(builder: GrammarBuilder, parts: Sequence[tuple[str, bool]], comma: str) -> tuple[str, str]:
    """Return expressions for parts of which the first that is written has no comma, and for parts that all have one.

    The first has one part at least.
    """
    if len(parts) == 1:
        ((part, is_required),) = parts
        begun = builder.rule(part)
        return begun, builder.rule(f"{comma} {begun}" if is_required else f"({comma} {begun})?")
    middle = len(parts) // 2
    (begun, continued), (later, later_continued) = (
        _halved(builder, half, comma) for half in (parts[:middle], parts[middle:])
    )
    is_skipped = not any(is_required for _, is_required in parts[:middle])
    first = f"{begun} {later_continued}"
    return (
        builder.rule(f"({first} | {later})" if is_skipped else first),
        builder.rule(f"{continued} {later_continued}"),
    )


def _is_text(schema: Schema) -> bool:
    """Whether a schema with one type is that of a string."""
    if "type" in schema:
        return bool(schema["type"] == "string")
    constants = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return any(isinstance(constant, str) for constant in constants)
