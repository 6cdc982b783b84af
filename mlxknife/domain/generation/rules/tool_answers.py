"""The grammar of an answer that may call tools."""

from __future__ import annotations

from mlxknife.domain.constraints.rules import bodies
from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.generation.rules.answer_grammar import after_reasoning, answer_grammar, constrained
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, has_channels
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.tools.rules.call_grammars import CallGrammar, tool_schemas
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import ToolMode


def grammar(
    builder: GrammarBuilder, reasoning: ReasoningMarkers | None, request: GenerationRequest, family: ToolFamily
) -> str | None:
    """Return the grammar of the answers that a request allows, or None if it allows every one.

    Calls are forced where the request demands one. Otherwise the grammar allows text, or what the constraint demands,
    and calls, if there is a constraint or a strict tool.
    """
    constraint, tools = request.options.constraint, request.shown_tools
    is_forced = request.tool_choice.mode is ToolMode.REQUIRED
    if constraint is None and not is_forced and not any(tool.is_strict for tool in tools):
        return None
    if constraint is not None and not tools:
        return constrained(builder, reasoning, constraint)
    body = None if constraint is None or is_forced else bodies.body(builder, constraint)
    calls = CallGrammar(builder, family, tool_schemas(tools, request.tool_choice))
    is_parallel = request.has_several_calls
    if is_forced or body is not None:
        start = _calls(builder, reasoning, family, calls.forced(is_parallel=is_parallel))
        return builder.source(start if body is None else f"{start} | {answer_grammar(builder, reasoning, body)}")
    if _are_messages(reasoning, family):
        return builder.source(_messages(builder, reasoning, calls.forced(is_parallel=False)))
    return builder.source(answer_grammar(builder, reasoning, calls.automatic(is_parallel=is_parallel)))


def _are_messages(reasoning: ReasoningMarkers | None, family: ToolFamily) -> bool:
    """Whether a call is a message with a header of its own, as with gpt-oss."""
    return reasoning is not None and has_channels(reasoning) and family is ToolFamily.HARMONY


def _calls(builder: GrammarBuilder, reasoning: ReasoningMarkers | None, family: ToolFamily, calls: str) -> str:
    write = after_reasoning if _are_messages(reasoning, family) else answer_grammar
    return write(builder, reasoning, calls)


def _messages(builder: GrammarBuilder, reasoning: ReasoningMarkers | None, call: str) -> str:
    """Return an expression for the messages of gpt-oss: comments for the user, and then a call or the answer."""
    comment = f"{builder.marker('<|channel|>commentary<|message|>')} {builder.until('<|end|>')}"
    comments = f"({comment} {builder.marker('<|start|>assistant')})*"
    answer = f"{builder.marker('<|channel|>final<|message|>')} {builder.any_text()}"
    return after_reasoning(builder, reasoning, f"{comments} ({call} | {answer})")
