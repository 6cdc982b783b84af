"""Compiles the grammars of answers, and names the part of a schema that cannot be compiled."""

from __future__ import annotations

import json
from collections.abc import Callable

import attrs

from mlxknife.domain.constraints.rules import bodies, refused_parts, schemas
from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.values import Constraint, ConstraintKind, GrammarRefused
from mlxknife.domain.generation.rules import tool_answers
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.tools.rules.call_grammars import parameters_place
from mlxknife.domain.tools.rules.closed_objects import closed
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import Tool
from mlxknife.ports.engines.text import TextModel

_SECONDS = 1.0
"""How long the search for the refused part of a schema may take; then the smallest part so far is named."""
_ANY_OBJECT = '{"type": "object"}'


class FormCompiler:
    """Compiles the forms of one model's answers."""

    def __init__(self, model: TextModel, family: ToolFamily, clock: Callable[[], float]) -> None:
        """Take the model, its tool family, and a monotonic clock."""
        self._model = model
        self._family = family
        self._clock = clock

    def compiled(self, request: GenerationRequest, markers: ReasoningMarkers | None) -> str | None:
        """Return the grammar of the answers to a request; None if an answer may be anything.

        Tools that are not strict lose what cannot be compiled. Raises ValidationError, naming the keyword and its path,
        for another schema that cannot be compiled; what ``TextModel.compile_grammar`` raises.
        """
        grammar = self._grammar(request, markers)
        if grammar is None:
            return None
        try:
            self._model.compile_grammar(grammar)
        except GrammarRefused as exc:
            return self._compiled_without(request, markers, exc)
        return grammar

    def _grammar(self, request: GenerationRequest, markers: ReasoningMarkers | None) -> str | None:
        builder = GrammarBuilder(self._model.tokenizer.added_tokens)
        return tool_answers.grammar(builder, markers, request, self._family)

    def _compiled_without(
        self, request: GenerationRequest, markers: ReasoningMarkers | None, refused: GrammarRefused
    ) -> str:
        """Return the grammar without what is refused in tools that are not strict. Raises ValidationError."""
        search = _Search(self._refusal, self._clock, self._clock() + _SECONDS)
        search.check_constraint(request.options.constraint)
        allowed = request.tool_choice.name
        tools = [
            tool if allowed not in (None, tool.name) else search.reduced(tool, number)
            for number, tool in enumerate(request.tools)
        ]
        grammar = self._grammar(attrs.evolve(request, tools=tuple(tools)), markers)
        if tuple(tools) == request.tools or grammar is None:
            raise refused
        self._model.compile_grammar(grammar)
        return grammar

    def _refusal(self, schema: schemas.Schema) -> GrammarRefused | None:
        builder = GrammarBuilder({})
        try:
            self._model.compile_grammar(builder.source(builder.json(schema)), keep=False)
        except GrammarRefused as exc:
            return exc
        return None


class _Search:
    """The search for refused parts, until a time."""

    def __init__(
        self,
        refusal: Callable[[schemas.Schema], GrammarRefused | None],
        clock: Callable[[], float],
        end: float,
    ) -> None:
        self._refusal = refusal
        self._clock = clock
        self._end = end

    def check_constraint(self, constraint: Constraint | None) -> None:
        """Raise ValidationError for a schema that is refused, naming the part."""
        if constraint is None or constraint.kind is not ConstraintKind.JSON_SCHEMA:
            return
        schema = schemas.parse(constraint.text, bodies.PLACE)
        refused = self._refusal(schema)
        if refused is not None:
            part, own = self._part(schema, refused)
            raise own.at(refused_parts.path(part, bodies.PLACE))

    def reduced(self, tool: Tool, number: int) -> Tool:
        """Return a tool without what is refused in its schema. Raises ValidationError for a strict tool."""
        place = parameters_place(number)
        if tool.is_strict:
            schema = schemas.parse(tool.parameters, place)
        else:
            lenient = schemas.parse_lenient(tool.parameters, place)
            schema = lenient if isinstance(lenient, bool) else {**closed(lenient)}
        is_changed = False
        while (refused := self._refusal(_arguments(schema))) is not None:
            if not tool.is_strict and not self._has_time():
                return attrs.evolve(tool, parameters=_ANY_OBJECT)
            part, own = self._part(_arguments(schema), refused)
            if tool.is_strict:
                raise own.at(refused_parts.path(part, place))
            schema, is_changed = refused_parts.without(_arguments(schema), part), True
        return attrs.evolve(tool, parameters=json.dumps(schema)) if is_changed else tool

    def _part(self, schema: schemas.Schema, refused: GrammarRefused) -> tuple[refused_parts.Keys, GrammarRefused]:
        return refused_parts.PartFinder(schema, self._refusal, self._has_time).part(refused)

    def _has_time(self) -> bool:
        return self._clock() < self._end


def _arguments(schema: schemas.Schema) -> schemas.Schema:
    """Return the schema of arguments, which are an object whatever it says."""
    return {**({} if isinstance(schema, bool) else schema), "type": "object"}
