"""The state of a conversation, and how it is kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import attrs
import msgspec

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import options as wishes
from mlxknife.domain.generation.rules import prompts
from mlxknife.domain.generation.values.generation import Message, Sampling, Wish
from mlxknife.domain.hints import Hint, HintCode

_MAX_FILE = 100 * 1000 * 1000
_VERSION = 1
_NUMBERS: dict[str, Callable[[str], float]] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "repetition_penalty": float,
    "seed": int,
}
SETTINGS = (*_NUMBERS, "max_tokens", "stop")


class SavedTurn(msgspec.Struct, forbid_unknown_fields=True):
    """A turn in a file."""

    role: str
    content: str


class Saved(msgspec.Struct, forbid_unknown_fields=True):
    """A conversation in a file."""

    version: int
    model: str
    system: str | None
    messages: list[SavedTurn]


@attrs.frozen
class Conversation:
    """What was said so far, and how the next answer is wanted."""

    wish: Wish
    system: str | None = None
    messages: tuple[Message, ...] = ()

    def asked(self, text: str) -> tuple[Message, ...]:
        """Return all turns for a new question."""
        return (*prompts.instructed(self.system), *self.messages, Message("user", text))

    def answered(self, question: str, answer: str) -> Conversation:
        """Return it with one more question and its answer."""
        turn = (Message("user", question), Message("assistant", answer))
        return attrs.evolve(self, messages=(*self.messages, *turn))

    def set(self, name: str, value: str) -> Conversation:
        """Return it with another setting. Raises ValidationError for a name or value that cannot be meant."""
        key = name.replace("-", "_")
        if key not in SETTINGS:
            msg = f"There is no setting '{name}'" if name else "No setting was named"
            raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join(SETTINGS)))
        if key == "stop":
            wish = attrs.evolve(self.wish, stops=(value,) if value else ())
        elif key == "max_tokens":
            wish = attrs.evolve(self.wish, max_tokens=int(_number(int, key, value)) if value else None)
        else:
            given: Any = _number(_NUMBERS[key], key, value) if value else None
            wish = attrs.evolve(self.wish, sampling=attrs.evolve(self.wish.sampling, **{key: given}))
        wishes.check(wish)
        return attrs.evolve(self, wish=wish)

    def settings(self) -> dict[str, object]:
        """Return what was set, by name."""
        sampling = {field.name: getattr(self.wish.sampling, field.name) for field in attrs.fields(Sampling)}
        values = {**sampling, "max_tokens": self.wish.max_tokens, "stop": " ".join(map(repr, self.wish.stops)) or None}
        return {name: value for name, value in values.items() if value is not None}


def save(path: str, model: str, conversation: Conversation) -> None:
    """Write a conversation to a file, in one step, or leave everything as it is.

    Raises ValidationError for a place that is no file's, OSError with the path as it was given.
    """
    place = _place(path)
    if os.path.exists(place) and not os.path.isfile(place):
        msg = f"{path} is {'a folder' if os.path.isdir(place) else 'no file'}"
        raise ValidationError(msg, hint=HintCode.FILE_IN_FOLDER)
    messages = [SavedTurn(message.role, _encodable(message.content)) for message in conversation.messages]
    system = None if conversation.system is None else _encodable(conversation.system)
    saved = Saved(_VERSION, _encodable(model), system, messages)
    data = json.dumps(msgspec.to_builtins(saved), ensure_ascii=False, indent=2).encode()
    try:
        _replace(place, data)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, path) from exc


def load(path: str, conversation: Conversation) -> Conversation:
    """Return a conversation with what a file holds, and the settings as they are.

    Raises ValidationError for a file that is no conversation, OSError.
    """
    with open(_place(path), "rb") as file:
        data = file.read(_MAX_FILE)
    try:
        saved = msgspec.json.decode(data, type=Saved)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        msg = f"No saved conversation: {path} ({exc})"
        raise ValidationError(msg) from exc
    if saved.version != _VERSION:
        msg = f"{path} was saved by another version of mlxk"
        raise ValidationError(msg)
    messages = tuple(Message(turn.role, turn.content) for turn in saved.messages)
    return attrs.evolve(conversation, system=saved.system, messages=messages)


def _place(path: str) -> str:
    if "\0" in path:
        msg = f"No file has such a name: {path}"
        raise ValidationError(msg)
    return os.path.expanduser(path)


def _replace(place: str, data: bytes) -> None:
    new = f"{place}.{os.getpid()}.new"
    with ExitStack() as undoing:
        with open(new, "xb") as file:
            undoing.callback(os.unlink, new)
            file.write(data)
        os.replace(new, place)
        undoing.pop_all()


def _encodable(text: str) -> str:
    """Return a text with what no file can hold written out, such as the bytes of a name in no known encoding."""
    return text.encode(errors="backslashreplace").decode()


def _number(form: Callable[[str], float], name: str, text: str) -> float:
    try:
        return form(text)
    except ValueError as exc:
        msg = f"{name} must be a number, not {text!r}"
        raise ValidationError(msg) from exc
