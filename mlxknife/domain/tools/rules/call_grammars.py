"""Grammars of tool calls: the format of a family, with the names and schemas of the tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlxknife.domain.constraints.rules import schemas
from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.rules.schema_costs import MAX_COST
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.tools.rules.argument_grammars import GemmaArguments, PythonArguments, XmlArguments
from mlxknife.domain.tools.rules.closed_objects import closed
from mlxknife.domain.tools.rules.families import FORMATS, Begin, Shape, ToolFamily
from mlxknife.domain.tools.rules.parameters import ToolSchema
from mlxknife.domain.tools.rules.strings import choice, sequence
from mlxknife.domain.tools.values import Tool, ToolChoice

_ONE_CALL = (ToolFamily.LLAMA_JSON, ToolFamily.HARMONY)
"""Families whose models write one call in an answer."""
_CALL_ID = "/[a-zA-Z0-9]{9}/"
_MAX_FORCED_CALLS = 8
"""The calls of an answer that has to call. A small model repeats the same call until a grammar ends the answer."""
_NUMBER = "/0|[1-9][0-9]{0,2}/"
_ANY_TEXT = r"/(.|\n)*/"
_BARE_CALLS = {
    Shape.JSON: r'/\s*\{\s*"(name|arguments|parameters|id|type|index|[^"\\]*\\)(.|\n)*/',
    Shape.PYTHON: r"/\s*\[(.|\n)*/",
}
"""How an answer begins that is a call without a marker, or a text that looks like one at first."""


def parameters_place(number: int) -> str:
    """Return the field of a request that has the schema of one of its tools."""
    return f"tools[{number}].function.parameters"


def tool_schemas(tools: Sequence[Tool], choice: ToolChoice) -> dict[str, ToolSchema]:
    """Return the schemas of the tools that an answer may call, by name; without undeclared members if not strict.

    Raises ValidationError for a schema that exceeds a limit or, if the tool is strict, is not supported, and for
    schemas that exceed one together.
    """
    found, cost = dict[str, ToolSchema](), 0.0
    for number, tool in enumerate(tools):
        if choice.name in (None, tool.name):
            place = parameters_place(number)
            parse = schemas.parse if tool.is_strict else schemas.parse_lenient
            parsed = parse(tool.parameters, place)
            cost += schemas.cost(parsed)
            if cost > MAX_COST:
                msg = f"{place} and the schemas before it have too many properties or alternatives"
                raise ValidationError(msg, param=place)
            schema = parsed if isinstance(parsed, Mapping) else {}
            held = schema if tool.is_strict else closed(schema)
            found[tool.name] = ToolSchema(held, place, is_strict=tool.is_strict)
    return found


class CallGrammar:
    """Writes the grammar of the calls in one answer."""

    def __init__(self, builder: GrammarBuilder, family: ToolFamily, tools: Mapping[str, ToolSchema]) -> None:
        """Take the family of the model, and the schemas of the tools by name."""
        self._builder = builder
        self._family = family
        self._form = FORMATS[family]
        self._tools = tools

    def forced(self, *, is_parallel: bool) -> str:
        """Return an expression for an answer that is one call or, with ``is_parallel``, up to eight.

        Another document in JSON may be an alternative to it. Raises ValidationError for a schema that the format cannot
        express.
        """
        most = _MAX_FORCED_CALLS if is_parallel else 1
        return self._calls(most, has_begin=self._form.is_begun is not Begin.RARELY)

    def automatic(self, *, is_parallel: bool) -> str:
        """Return an expression for an answer that is text, calls, or text and then calls.

        The text has no begin of a call. Raises what ``forced`` raises.
        """
        form, builder, most = self._form, self._builder, None if is_parallel else 1
        openings = (*form.begin[:1], *form.call_begin[:1])
        text = " & ".join([_ANY_TEXT, *(f"~{builder.containing(opening)}" for opening in openings)])
        if form.is_begun is not Begin.ALWAYS and form.shape in _BARE_CALLS:
            text += f" & ~{_BARE_CALLS[form.shape]}"
        free = builder.terminal(text)
        if builder.is_text(openings[0]):
            opened = builder.terminal(f"{free} {builder.text(openings[0])}")
        else:
            opened = f"{free} {builder.marker(openings[0])}"
        kinds = [free, self._calls(most, has_begin=True, opened=opened)]
        if form.is_begun is Begin.RARELY:
            kinds.append(self._calls(most, has_begin=False, has_text=True))
        return builder.rule(choice(kinds))

    def _calls(self, most: int | None, *, has_begin: bool, opened: str | None = None, has_text: bool = False) -> str:
        """Return an expression for up to ``most`` calls; ``opened`` stands for the first marker and what precedes it.

        ``has_text`` says whether free text is an alternative to them.
        """
        form, builder = self._form, self._builder
        begin, end = (builder.markers(form.begin), builder.markers(form.end)) if has_begin else ("", "")
        if form.shape is Shape.JSON and not has_begin and not has_text:
            return builder.rule(choice([self._document(*tool) for tool in self._tools.items()]))
        first = call = builder.rule(self._call(builder.markers(form.call_begin)))
        first_begin = begin
        if opened is not None and form.begin:
            first_begin = sequence(opened, builder.markers(form.begin[1:]))
        elif opened is not None:
            first = builder.rule(self._call(sequence(opened, builder.markers(form.call_begin[1:]))))
        if form.wraps_each:
            first, call = sequence(first_begin, first, end), builder.rule(sequence(begin, call, end))
            first_begin = end = ""
        calls = first
        if most != 1 and self._family not in _ONE_CALL:
            another = sequence(builder.text(form.separator) if form.separator else "", call)
            calls = f"{first} ({another}){'*' if most is None else f'{{0,{most - 1}}}'}"
        if form.shape in (Shape.JSON_LIST, Shape.PYTHON):
            calls = f'"[" {calls} "]"'
        return builder.rule(sequence(first_begin, calls, end))

    def _call(self, begin: str) -> str:
        return choice([self._call_of(begin, name, schema) for name, schema in self._tools.items()])

    def _call_of(self, begin: str, name: str, schema: ToolSchema) -> str:
        form, builder = self._form, self._builder
        end = builder.markers(form.call_end)
        match form.shape:
            case Shape.JSON | Shape.JSON_LIST:
                return self._object(name, schema)
            case Shape.PYTHON:
                return f"{builder.text(name)} {PythonArguments(builder).expression(schema)}"
            case Shape.NAMED_JSON:
                after_name, arguments = self._after_name(), builder.json(schema.json)
            case Shape.XML:
                after_name, arguments = "", XmlArguments(builder, form).expression(schema)
            case Shape.GEMMA:
                after_name, arguments = "", GemmaArguments(builder, form).expression(schema)
        head = sequence(begin, builder.text(form.prefix + name), after_name)
        return sequence(head, builder.markers(form.name_end), arguments, end)

    def _object(self, name: str, schema: ToolSchema) -> str:
        head = self._builder.text(f'{{"name": "{name}", "{self._form.arguments_key}": ')
        return f'{head} {self._builder.json(schema.json)} "}}"'

    def _document(self, name: str, schema: ToolSchema) -> str:
        """Return an expression for the only call; its first text would hide other documents as alternatives to it."""
        document = schema.within(name, self._form.arguments_key)
        return self._object(name, schema) if document is None else self._builder.json(document)

    def _after_name(self) -> str:
        """Return an expression for the number of a call, or the id that some models write."""
        form, builder = self._form, self._builder
        if form.is_numbered:
            return f'":" {_NUMBER}'
        has_ids = form.call_id and not builder.is_text(form.call_id)
        return f"({builder.marker(form.call_id)} {_CALL_ID})?" if has_ids else ""
