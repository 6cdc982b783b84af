"""The lines of ``mlx-tee --jsonl`` as types. The order of the fields is their order in the line."""

from __future__ import annotations

from msgspec import Struct


class TeeJobObject(Struct, frozen=True):
    """One line of ``mlx-tee --dry-run``: a command that would run."""

    command: str
    model: str | None
    host: str | None
    argv: tuple[str, ...]


class TeeOutputObject(Struct, frozen=True, kw_only=True):
    """One line of ``mlx-tee --jsonl``: the output of one command."""

    command: str
    model: str | None
    host: str | None
    output: str
    error: str
    exit_code: int
    seconds: float
