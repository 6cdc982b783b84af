"""Conversations as chat templates take them: plain objects in the form of OpenAI's API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.request import Message

_NONCHARACTERS = range(0xFDD0, 0xFDF0)
_ASSISTANT = "assistant"
_JSON_FIELDS = ("arguments", "parameters")
"""The fields that hold JSON values of clients and models."""

Rewrite: TypeAlias = Callable[[str, bool], str]
"""Returns another text; the second argument says whether it is the content of an answer."""


@attrs.frozen
class TemplateInput:
    """The input of a chat template."""

    messages: tuple[Mapping[str, object], ...]
    """Unset fields are left out: templates test whether they are defined."""
    tools: tuple[Mapping[str, object], ...] = ()


def of(messages: Sequence[Message]) -> TemplateInput:
    """Return messages as a chat template takes them."""
    return TemplateInput(tuple(map(turn, messages)))


def plain(conversation: TemplateInput) -> str:
    """Return the messages as plain text, for a model without a chat template."""
    return "\n\n".join(str(message["content"]) for message in conversation.messages)


def unused_mark(conversation: TemplateInput, template: str) -> str:
    """Return a character that neither a conversation nor a template contains, escaped or not.

    Unicode reserves the candidates for use inside of programs. Raises ValidationError if there is none.
    """
    texts = [template, *_texts(conversation.messages), *_texts(conversation.tools)]
    for candidate in map(chr, _NONCHARACTERS):
        if not any(candidate in text or escaped(candidate) in text for text in texts):
            return candidate
    msg = "The messages contain every noncharacter of Unicode"
    raise ValidationError(msg, param="messages")


def escaped(mark: str) -> str:
    """Return a mark as templates write it that escape what is not ASCII or not printable."""
    return f"\\u{ord(mark):04x}"


def rewritten(conversation: TemplateInput, rewrite: Rewrite) -> TemplateInput:
    """Return a conversation with every text rewritten that a client or a model wrote, names in JSON values included."""

    def text(text: str) -> str:
        return rewrite(text, False)  # noqa: FBT003 - a callable has no keywords

    messages = list[Mapping[str, object]]()
    for message in conversation.messages:
        changed = {name: _rewritten(value, text) for name, value in message.items()}
        content = message["content"]
        if message["role"] == _ASSISTANT and isinstance(content, str):
            changed["content"] = rewrite(content, True)  # noqa: FBT003
        messages.append(changed)
    tools = [{name: _rewritten(value, text) for name, value in tool.items()} for tool in conversation.tools]
    return TemplateInput(tuple(messages), tuple(tools))


def _rewritten(value: object, text: Callable[[str], str], *, has_names: bool = False) -> object:
    """Return a JSON value with its texts rewritten; ``has_names`` says whether a client chose its names of fields."""
    match value:
        case str():
            return text(value)
        case Mapping():
            return {
                text(name) if has_names else name: _rewritten(item, text, has_names=has_names or name in _JSON_FIELDS)
                for name, item in value.items()
            }
        case list() | tuple():
            return [_rewritten(item, text, has_names=has_names) for item in value]
    return value


def turn(message: Message) -> dict[str, object]:
    """Return a message, without its calls, as a chat template takes it."""
    fields = attrs.asdict(message, filter=lambda _, value: value is not None, recurse=False)
    del fields["tool_calls"]
    return fields


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in a JSON value, names of fields included."""
    match value:
        case str():
            yield value
        case Mapping():
            for name, item in value.items():
                yield name
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
