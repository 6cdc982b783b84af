"""Prompts: how words, files and a system text become the turns of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.generation import Message
from mlxknife.domain.hints import HintCode

_BREAK = "\n\n"


def assembled(
    words: Sequence[str], context: Sequence[tuple[str, str]] = (), system: str | None = None
) -> tuple[Message, ...]:
    """Return the turns for a question: texts of files before it, each under its name, words after a blank line.

    A system text that says nothing is none. Raises ValidationError when nothing is asked.
    """
    parts = [text for text in words if text.strip()]
    if not parts and not context:
        msg = "The prompt is empty"
        raise ValidationError(msg, hint=HintCode.WRITE_PROMPT)
    files = [f"{name}:\n{_BREAK[0]}{text.rstrip()}" for name, text in context]
    question = Message("user", _BREAK.join([*files, *(part.rstrip("\n") for part in parts)]))
    return (*instructed(system), question)


def check(messages: Sequence[Message]) -> None:
    """Raise ValidationError for what is no conversation."""
    for message in messages:
        if not isinstance(message, Message):
            msg = f"A conversation is made of Message values, not of {type(message).__name__}"
            raise ValidationError(msg, hint=HintCode.WRITE_MESSAGE)
    if not messages:
        msg = "The conversation is empty"
        raise ValidationError(msg)


def instructed(system: str | None) -> tuple[Message, ...]:
    """Return the turn of a system text, none for one that says nothing."""
    return (Message("system", system),) if system and not system.isspace() else ()


def plain(messages: Sequence[Message]) -> str:
    """Return turns as plain text, for a model that has no chat template or is not to use it."""
    return _BREAK.join(message.content for message in messages)
