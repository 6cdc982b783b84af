"""Prompt assembly: how words, files and a system text become the messages of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.request import Message
from mlxknife.domain.hints import HintCode

_BREAK = "\n\n"


def assembled(
    words: Sequence[str], context: Sequence[tuple[str, str]] = (), system: str | None = None
) -> tuple[Message, ...]:
    """Return the messages for a question.

    ``context`` holds pairs of a file name and a text; each text comes before the words, under its name. A blank
    ``system`` text is dropped. Raises ValidationError if there are neither words nor context.
    """
    parts = [text for text in words if text.strip()]
    if not parts and not context:
        msg = "The prompt is empty"
        raise ValidationError(msg, hint=HintCode.WRITE_PROMPT)
    files = [f"{name}:\n{_BREAK[0]}{text.rstrip()}" for name, text in context]
    question = Message("user", _BREAK.join([*files, *(part.rstrip("\n") for part in parts)]))
    return (*system_message(system), question)


def check(messages: Sequence[Message]) -> None:
    """Raise ValidationError for an empty conversation or for an entry that is no Message."""
    for message in messages:
        if not isinstance(message, Message):
            msg = f"A conversation is made of Message values, not of {type(message).__name__}"
            raise ValidationError(msg, hint=HintCode.WRITE_MESSAGE, param="messages")
    if not messages:
        msg = "The conversation is empty"
        raise ValidationError(msg, param="messages")


def system_message(system: str | None) -> tuple[Message, ...]:
    """Return the message of a system text; none for a blank one."""
    return (Message("system", system),) if system and not system.isspace() else ()


def message_texts(messages: Sequence[Message]) -> list[str]:
    """Return the texts of messages that a chat template may put into the prompt."""
    return [text for message in messages for text in (message.content, message.reasoning_content) if text]
