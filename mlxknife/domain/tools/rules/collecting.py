"""The tool calls of a whole answer."""

from __future__ import annotations

from collections.abc import Iterable

from mlxknife.domain.tools.values import ToolCall, ToolCallDelta


def collected(deltas: Iterable[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """Return the calls of an answer from their deltas. The first one of a call has its id and name."""
    begins, arguments = dict[int, ToolCallDelta](), dict[int, list[str]]()
    for delta in deltas:
        begins.setdefault(delta.index, delta)
        arguments.setdefault(delta.index, []).append(delta.arguments)
    return tuple(ToolCall(one.id, one.name, "".join(arguments[index])) for index, one in begins.items())
