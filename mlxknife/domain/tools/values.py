"""Tools that a request offers to the model, and the calls in its answer."""

from __future__ import annotations

from enum import Enum

import attrs

from mlxknife.domain import reprs


@attrs.frozen
class Tool:
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: str = "{}"
    """The JSON schema of its arguments, as JSON; an empty one allows any object."""
    is_strict: bool = False
    """Whether every call must be valid under the schema."""

    __repr__ = reprs.fields


class ToolMode(Enum):
    """Whether an answer calls tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@attrs.frozen
class ToolChoice:
    """Which tools an answer calls."""

    mode: ToolMode = ToolMode.AUTO
    name: str | None = None
    """The one tool that it must call; the mode is ``REQUIRED`` then."""

    __repr__ = reprs.fields


@attrs.frozen
class ToolCall:
    """A call of a tool."""

    id: str
    """It connects the call with the tool message that answers it."""
    name: str
    arguments: str
    """A JSON object, as JSON. The model wrote it: only a strict tool or a forced call guarantees that it is valid."""

    __repr__ = reprs.fields


@attrs.frozen
class ToolUse:
    """A call and the text that came of it."""

    call: ToolCall
    result: str

    __repr__ = reprs.fields


@attrs.frozen
class ToolCallDelta:
    """New text of one call."""

    index: int
    """Which call of the answer."""
    id: str = ""
    """The id and the name come with the first delta of a call."""
    name: str = ""
    arguments: str = ""

    __repr__ = reprs.fields

    def followed_by(self, later: ToolCallDelta) -> ToolCallDelta:
        """Return this and a later delta of the same call as one."""
        return ToolCallDelta(self.index, self.id, self.name, self.arguments + later.arguments)
