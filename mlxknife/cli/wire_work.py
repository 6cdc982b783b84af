"""The JSON contract of the commands that change or use something: ``pull``, ``rm`` and ``run``.

As in ``wire``: field order is the order in the document, and ``UNSET`` fields are left out.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class RemovedObject(Struct, frozen=True):
    """One thing that was removed, or would be."""

    name: str
    revision: str | None
    size_bytes: int


class RmData(Struct, frozen=True):
    """``data`` of ``rm``."""

    model: str | None
    action: Literal["deleted", "would_delete", "kept"]
    message: str
    removed: tuple[RemovedObject, ...]
    freed_bytes: int


class LocksData(Struct, frozen=True):
    """``data`` of ``rm`` when another process works on the model."""

    model: str | None
    locks_detected: bool
    lock_files: tuple[str, ...]


class MatchesData(Struct, frozen=True):
    """``data`` of ``rm`` when a name means several models."""

    matches: tuple[str, ...]


class NamedData(Struct, frozen=True):
    """``data`` of ``rm`` when the disk refuses."""

    model: str | None


class PulledFile(Struct, frozen=True):
    """One file of a model that is brought, and what is done about it."""

    name: str
    size_bytes: int
    action: Literal["keep", "fetch", "repair"]


class PullData(Struct, frozen=True, kw_only=True):
    """``data`` of ``pull``. Of an error only the first four fields are there."""

    model: str | None
    download_status: Literal["success", "already_exists", "would_download", "failed", "error", "unknown"]
    message: str
    expanded_name: str | None
    revision: str | UnsetType = UNSET
    total_bytes: int | UnsetType = UNSET
    bytes_to_fetch: int | UnsetType = UNSET
    files: tuple[PulledFile, ...] | UnsetType = UNSET


class UsageObject(Struct, frozen=True):
    """How many tokens there were."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TimingsObject(Struct, frozen=True):
    """How many seconds it took to load the model, to the first token, and to the last."""

    load: float
    first_token: float
    total: float


class RunData(Struct, frozen=True):
    """``data`` of ``run``."""

    model: str
    response: str
    reasoning: str | None
    finish_reason: Literal["stop", "length", "cancelled"]
    usage: UsageObject
    timings: TimingsObject


class SaidData(Struct, frozen=True):
    """``data`` of ``run`` when Ctrl-C ends an answer: what was said by then."""

    model: str
    response: str
    reasoning: str | None
    finish_reason: Literal["cancelled"] = "cancelled"


class ServerData(Struct, frozen=True):
    """``data`` of ``serve``, told when it listens."""

    url: str
    model: str | None
    """The first model that it was started with."""
    pid: int
