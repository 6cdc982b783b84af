"""The JSON lines of ``mlx-tee``. As in ``wire``, field order is the order in the document."""

from __future__ import annotations

from msgspec import Struct


class JobObject(Struct, frozen=True):
    """A command that would run: one line of ``--dry-run``."""

    command: str
    model: str | None
    host: str | None
    argv: tuple[str, ...]


class AnswerObject(Struct, frozen=True, kw_only=True):
    """What a command answered: one line."""

    command: str
    model: str | None
    host: str | None
    output: str
    error: str
    exit_code: int
    seconds: float
