"""The calls of an answer as OpenAI's clients read them, whole and in a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlxknife.domain.tools.values import ToolCall, ToolCallDelta
from mlxknife.http.apis.openai.responses import (
    ChunkDelta,
    FunctionCallDelta,
    FunctionCallObject,
    ToolCallChunk,
    ToolCallObject,
)


def tool_call(call: ToolCall) -> ToolCallObject:
    """Return a whole call."""
    return ToolCallObject(id=call.id, function=function_call(call))


def function_call(call: ToolCall) -> FunctionCallObject:
    """Return a whole call in its deprecated form, without an id."""
    return FunctionCallObject(call.name, call.arguments)


def chunks(deltas: Iterable[ToolCallDelta], *, uses_functions: bool) -> Iterator[ChunkDelta]:
    """Yield the parts of a stream for new text of calls.

    A call begins with its id and its name and empty arguments; the text of the arguments follows. The deprecated form
    has only the first call.
    """
    for delta in deltas:
        for chunk in _chunks(delta):
            if not uses_functions:
                yield ChunkDelta(tool_calls=(chunk,))
            elif not delta.index:
                yield ChunkDelta(function_call=chunk.function)


def _chunks(delta: ToolCallDelta) -> Iterator[ToolCallChunk]:
    if delta.name:
        yield ToolCallChunk(delta.index, delta.id, "function", FunctionCallDelta(delta.name, ""))
    if delta.arguments:
        yield ToolCallChunk(delta.index, function=FunctionCallDelta(arguments=delta.arguments))
