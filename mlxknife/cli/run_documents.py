"""The JSON contract of ``run``, as ``json_documents`` has it for the other commands."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from mlxknife.cli.retrieval_documents import SourceObject


class UsageObject(Struct, frozen=True):
    """The number of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TimingsObject(Struct, frozen=True):
    """The seconds to load the model, to the first token, and to the last."""

    load: float
    first_token: float
    total: float


class ToolCallObject(Struct, frozen=True):
    """A call of a tool that was made, or that the user declined."""

    name: str
    arguments: str
    """The text that the model wrote: a JSON object, unless the model made a mistake."""
    result: str
    """The text that the model got."""


class RunData(Struct, frozen=True):
    """``data`` of ``run``."""

    model: str
    prompt: str
    """The question with the text of stdin and of the files."""
    response: str
    reasoning: str | None
    finish_reason: Literal["stop", "length", "repetition", "tool_calls", "cancelled"]
    usage: UsageObject
    timings: TimingsObject
    parsed: Any | UnsetType = UNSET
    """The response as JSON, with ``--schema`` and ``--json-object``."""
    tool_calls: tuple[ToolCallObject, ...] | UnsetType = UNSET
    """The calls that were made, with ``--tools``."""
    sources: tuple[SourceObject, ...] | UnsetType = UNSET
    """The parts of files that the model got, with ``--context``."""


class InterruptedRunData(Struct, frozen=True):
    """``data`` of ``run`` when Ctrl-C ends an answer: the text until then."""

    model: str
    response: str
    reasoning: str | None
    finish_reason: Literal["cancelled"] = "cancelled"
