"""The state of a conversation, and its file format."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import attrs
import msgspec

from mlxknife.cli.answer_form import AnswerForm
from mlxknife.cli.arguments import closest
from mlxknife.cli.tool_calls import OfferedTools
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import options as rules
from mlxknife.domain.generation.rules import prompts
from mlxknife.domain.generation.values.request import GenerationOptions, Message, SamplingParameters
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.tools.values import ToolCall

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


class SavedCall(msgspec.Struct, forbid_unknown_fields=True):
    """A call of a tool in a file."""

    id: str
    name: str
    arguments: str


class SavedTurn(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A message in a file."""

    role: str
    content: str
    name: str | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[SavedCall, ...] = ()


class Saved(msgspec.Struct, forbid_unknown_fields=True):
    """A conversation in a file."""

    version: int
    model: str
    system: str | None
    messages: list[SavedTurn]


@attrs.frozen
class Conversation:
    """The messages so far, and the options for the next answer."""

    options: GenerationOptions
    system: str | None = None
    messages: tuple[Message, ...] = ()
    form: AnswerForm | None = None
    """What demands the constraint of the options."""
    tools: OfferedTools = attrs.field(factory=OfferedTools)

    def asked(self, text: str) -> tuple[Message, ...]:
        """Return all messages for a new question."""
        return (*prompts.system_message(self.system), *self.messages, Message("user", text))

    def extended(self, asked: Sequence[Message], answer: str) -> Conversation:
        """Return the conversation after messages that ``asked`` returned, with calls behind them, and an answer."""
        messages = asked[len(prompts.system_message(self.system)) :]
        return attrs.evolve(self, messages=(*messages, Message("assistant", answer)))

    def set(self, name: str, value: str) -> Conversation:
        """Return the conversation with another setting. Raises ValidationError for an invalid name or value."""
        key = name.replace("-", "_")
        if key not in SETTINGS:
            msg = f"There is no setting '{name}'"
            close = closest(key, SETTINGS)
            hint = Hint(HintCode.CHOICES, values=", ".join(SETTINGS))
            raise ValidationError(msg, hint=Hint(HintCode.DID_YOU_MEAN, name=close) if close else hint)
        if key == "stop":
            options = attrs.evolve(self.options, stop=(value,) if value else ())
        elif key == "max_tokens":
            options = attrs.evolve(self.options, max_tokens=int(_number(int, key, value)) if value else None)
        else:
            given: Any = _number(_NUMBERS[key], key, value) if value else None
            options = attrs.evolve(self.options, sampling=attrs.evolve(self.options.sampling, **{key: given}))
        rules.check(options)
        return attrs.evolve(self, options=options)

    def settings(self) -> dict[str, object]:
        """Return the settings that are set, by name."""
        values = {
            **{name: getattr(self.options.sampling, name) for name in _NUMBERS},
            "max_tokens": self.options.max_tokens,
            "stop": " ".join(map(repr, self.options.stop)) or None,
        }
        return {name: value for name, value in values.items() if value is not None}


def describe_settings(conversation: Conversation, declared: SamplingParameters) -> tuple[str, ...]:
    """Return a line for each setting; ``declared`` are the defaults of the model."""
    own, defaults = conversation.settings(), rules.settled(SamplingParameters(), declared)
    fallbacks = {**{name: getattr(defaults, name) for name in _NUMBERS}, "seed": "random", "stop": "none"}
    return tuple(
        f"{name}: {own[name]}" if name in own else f"{name}: {fallbacks.get(name, 'the limit of the model')} (default)"
        for name in SETTINGS
    )


def exists(path: str) -> bool:
    """Return whether a conversation would replace a file. Raises ValidationError for an invalid path."""
    return os.path.isfile(_path(path))


def save(path: str, model: str, conversation: Conversation) -> None:
    """Write a conversation to a file, atomically.

    Raises ValidationError for a path that cannot be a file; OSError with the path as it was given.
    """
    target = _path(path)
    if os.path.exists(target) and not os.path.isfile(target):
        msg = f"{path} is {'a folder' if os.path.isdir(target) else 'no file'}"
        raise ValidationError(msg, hint=HintCode.FILE_IN_FOLDER)
    messages = [_saved(message) for message in conversation.messages]
    system = None if conversation.system is None else _encodable(conversation.system)
    saved = Saved(_VERSION, _encodable(model), system, messages)
    data = json.dumps(msgspec.to_builtins(saved), ensure_ascii=False, indent=2).encode()
    try:
        _replace(target, data)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, path) from exc


def load(path: str, conversation: Conversation) -> Conversation:
    """Return the conversation in a file, with the present settings.

    Raises ValidationError for a file that is no saved conversation; OSError.
    """
    with open(_path(path), "rb") as file:
        data = file.read(_MAX_FILE)
    try:
        saved = msgspec.json.decode(data, type=Saved)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        msg = f"No saved conversation: {path} ({exc})"
        raise ValidationError(msg) from exc
    if saved.version != _VERSION:
        msg = f"{path} was saved by another version of mlxk"
        raise ValidationError(msg)
    return attrs.evolve(conversation, system=saved.system, messages=tuple(map(_loaded, saved.messages)))


def _saved(message: Message) -> SavedTurn:
    calls = tuple(SavedCall(call.id, _encodable(call.name), _encodable(call.arguments)) for call in message.tool_calls)
    optional = (message.name, message.tool_call_id, message.reasoning_content)
    name, call_id, reasoning = (None if text is None else _encodable(text) for text in optional)
    return SavedTurn(message.role, _encodable(message.content), name, call_id, reasoning, calls)


def _loaded(turn: SavedTurn) -> Message:
    calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in turn.tool_calls)
    return Message(turn.role, turn.content, turn.name, turn.tool_call_id, turn.reasoning_content, calls)


def _path(path: str) -> str:
    if "\0" in path:
        msg = f"Invalid file name: {path}"
        raise ValidationError(msg)
    return os.path.expanduser(path)


def _replace(target: str, data: bytes) -> None:
    new = f"{target}.{os.getpid()}.new"
    with ExitStack() as undoing:
        with open(new, "xb") as file:
            undoing.callback(os.unlink, new)
            file.write(data)
        os.replace(new, target)
        undoing.pop_all()


def _encodable(text: str) -> str:
    """Return a text with its lone surrogates escaped: UTF-8 cannot hold them."""
    return text.encode(errors="backslashreplace").decode()


def _number(number: Callable[[str], float], name: str, text: str) -> float:
    try:
        return number(text)
    except ValueError as exc:
        msg = f"{name} must be a number, not {text!r}"
        raise ValidationError(msg) from exc
