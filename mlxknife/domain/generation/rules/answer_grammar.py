"""The grammar of a whole answer: free reasoning first, then the form that the request demands."""

from __future__ import annotations

from mlxknife.domain.constraints.rules import bodies
from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, has_channels, response_end

_GAP = r'("\n\n" | "\n")?'
"""Models write a blank line after their reasoning, which belongs to no text."""


def constrained(builder: GrammarBuilder, reasoning: ReasoningMarkers | None, constraint: Constraint) -> str:
    """Return the grammar of the answers that fulfil a constraint.

    Raises ValidationError, naming the place in the constraint, for one that is not supported or exceeds a limit.
    """
    return builder.source(answer_grammar(builder, reasoning, bodies.body(builder, constraint)))


def answer_grammar(builder: GrammarBuilder, reasoning: ReasoningMarkers | None, body: str) -> str:
    """Return the start expression of an answer whose text for the user is ``body``."""
    if reasoning is None:
        return body
    if has_channels(reasoning):
        return after_reasoning(builder, reasoning, f"{_final_header(builder)} {body}")
    for begin in reasoning.answers:
        plain = builder.rule(body)
        body = f"({builder.marker(begin)} {plain} {builder.marker(response_end(begin))} | {plain})"
    return after_reasoning(builder, reasoning, body)


def after_reasoning(builder: GrammarBuilder, reasoning: ReasoningMarkers | None, rest: str) -> str:
    """Return the start expression for ``rest`` after reasoning, which the model may leave out unless it has begun.

    With channels, ``rest`` begins with the header of a message.
    """
    if reasoning is None:
        return rest
    if has_channels(reasoning):
        ends = builder.rule(f"{builder.until(reasoning.end)} {builder.marker('<|start|>assistant')}")
        return f"({builder.marker('<|channel|>analysis<|message|>')} {ends})* {rest}"
    thought = f"{builder.until(reasoning.end)} {_GAP}"
    if reasoning.begins_inside:
        return f"{thought} {rest}"
    begins = " | ".join(map(builder.marker, reasoning.begins))
    return f"(({begins}) {thought})? {rest}"


def _final_header(builder: GrammarBuilder) -> str:
    """Return the header of a message for the user, which may name its format."""
    plain, with_format = map(builder.marker, ("<|channel|>final", "<|channel|>final <|constrain|>json"))
    return f"({plain} | {with_format}) {builder.marker('<|message|>')}"
