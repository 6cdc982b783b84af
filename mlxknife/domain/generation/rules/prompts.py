"""Prompt assembly: how words, files and a system text become the messages of a conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.request import Message
from mlxknife.domain.hints import HintCode

_BREAK = "\n\n"
_ASSISTANT = "assistant"
_NONCHARACTERS = range(0xFDD0, 0xFDF0)


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


def plain(messages: Sequence[Message]) -> str:
    """Return the messages as plain text, for a model without a chat template."""
    return _BREAK.join(message.content for message in messages)


def unused_mark(messages: Sequence[Message], template: str) -> str:
    """Return a character that neither messages nor a template contain. Raises ValidationError if there is none.

    Unicode reserves the candidates for use inside of programs.
    """
    texts = [template, *(text for message in messages for _, text in _texts(message))]
    for candidate in map(chr, _NONCHARACTERS):
        if not any(candidate in text for text in texts):
            return candidate
    msg = "The messages contain every noncharacter of Unicode"
    raise ValidationError(msg, param="messages")


def rewritten(messages: Sequence[Message], rewrite: Callable[[str, bool], str]) -> tuple[Message, ...]:
    """Return messages with every text rewritten; the second argument says whether it is the content of an answer."""

    def rewritten_message(message: Message) -> Message:
        is_answer = message.role == _ASSISTANT
        changes = {name: rewrite(text, is_answer and name == "content") for name, text in _texts(message)}
        return attrs.evolve(message, **changes)  # type: ignore[arg-type] # only fields that hold a text

    return tuple(map(rewritten_message, messages))


def message_texts(messages: Sequence[Message]) -> list[str]:
    """Return the texts of messages that a chat template may put into the prompt."""
    return [text for message in messages for text in (message.content, message.reasoning_content) if text]


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield the fields of a message that hold a text."""
    for name, value in attrs.asdict(message).items():
        if isinstance(value, str):
            yield name, value
