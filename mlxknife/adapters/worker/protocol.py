"""What a model's process and its parent say to each other: messages in MessagePack, each behind its length.

A step of all rows is one message. Both sides are of one version, so that values travel as they are.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from msgspec import MsgspecError, Struct, msgpack

from mlxknife.domain.errors import EngineError, InternalError, KnifeError
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowError, RowStep
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import HostedModel

MAX_FRAME = 128 * 1024 * 1024
"""Bytes of the longest message; the tokenizers of the largest vocabularies take a third of it."""
_LENGTH = struct.Struct(">I")


class Start(Struct, tag="start", array_like=True, frozen=True):
    """The first message: what to load. Names on the disk need not be text."""

    place: bytes
    bounds: tuple[bytes, ...]
    profile: str
    free: int
    beat: float
    """Seconds between two signs of life."""

    @classmethod
    def of(cls, location: Location, profile: str, free: int, beat: float) -> Start:
        """Write a location down."""
        bounds = tuple(os.fsencode(bound) for bound in location.bounds)
        return cls(os.fsencode(location.token), bounds, profile, free, beat)

    def location(self) -> Location:
        """Return the location as it was."""
        return Location(os.fsdecode(self.place), tuple(os.fsdecode(bound) for bound in self.bounds))


class Ask(Struct, tag="ask", array_like=True, frozen=True):
    """Take a row in."""

    row: Row


class Drop(Struct, tag="drop", array_like=True, frozen=True):
    """Cancel a row."""

    row: int


class Beat(Struct, tag="beat", array_like=True, frozen=True):
    """A sign of life."""


class Trouble(Struct, array_like=True, frozen=True):
    """An error on its way."""

    code: str
    message: str
    hint: HintCode | None
    hint_fields: dict[str, str]
    param: str | None

    @classmethod
    def of(cls, error: KnifeError) -> Trouble:
        """Write an error down."""
        code = None if error.hint is None else error.hint.code
        fields = {} if error.hint is None else {name: _clean(text) for name, text in error.hint.fields.items()}
        return cls(error.code, _clean(error.message), code, fields, error.param)

    def error(self) -> KnifeError:
        """Return the error again, of the class that its code belongs to."""
        kind = _KINDS.get(self.code, EngineError)
        hint = None if self.hint is None else Hint(self.hint, **self.hint_fields)
        return kind(self.message, hint=hint, param=self.param)


class Ready(Struct, tag="ready", array_like=True, frozen=True):
    """The model is loaded."""

    model: HostedModel
    seconds: float


class Stepped(Struct, tag="step", array_like=True, frozen=True):
    """What a step brought; nothing, where it only read prompts."""

    steps: tuple[RowStep, ...] = ()
    errors: tuple[tuple[int, Trouble], ...] = ()

    @classmethod
    def of(cls, step: BatchStep) -> Stepped:
        """Write a step down."""
        return cls(step.steps, tuple((error.row, Trouble.of(error.error)) for error in step.errors))

    @classmethod
    def refusing(cls, row_id: int, error: KnifeError) -> Stepped:
        """Write down that one row failed."""
        return cls(errors=((row_id, Trouble.of(error)),))

    def step(self) -> BatchStep:
        """Return the step as it was."""
        # A row that the model refuses is told so with a ValidationError.
        errors = tuple(RowError(row, trouble.error()) for row, trouble in self.errors)
        return BatchStep(self.steps, errors)


class Failed(Struct, tag="failed", array_like=True, frozen=True):
    """The model could not be loaded; the process ends."""

    trouble: Trouble


ToChild: TypeAlias = Start | Ask | Drop
ToParent: TypeAlias = Beat | Ready | Stepped | Failed

_ENCODER = msgpack.Encoder()
_FOR_CHILD: msgpack.Decoder[ToChild] = msgpack.Decoder(ToChild)
_FOR_PARENT: msgpack.Decoder[ToParent] = msgpack.Decoder(ToParent)


def packed(message: ToChild | ToParent) -> bytes:
    """Return a message behind its length.

    Raises OverflowError for a number or a message that is too large, UnicodeError for text that is none.
    """
    body = _ENCODER.encode(message)
    if len(body) > MAX_FRAME:
        msg = f"a message of {len(body)} bytes is too long"
        raise OverflowError(msg)
    return _LENGTH.pack(len(body)) + body


def for_child(frame: bytes) -> ToChild:
    """Return the message in a frame. Raises InternalError."""
    with _decoding():
        return _FOR_CHILD.decode(frame)


def for_parent(frame: bytes) -> ToParent:
    """Return the message in a frame. Raises InternalError."""
    with _decoding():
        return _FOR_PARENT.decode(frame)


class Frames:
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._data += data

    def next(self) -> bytes | None:
        """Return the next message that is whole, or None. Raises InternalError for one that is too long."""
        data, head = self._data, _LENGTH.size
        if len(data) < head:
            return None
        (length,) = _LENGTH.unpack_from(data)
        if length > MAX_FRAME:
            raise _no_message()
        if len(data) < head + length:
            return None
        frame = bytes(data[head : head + length])
        del data[: head + length]
        return frame


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except (MsgspecError, UnicodeError, OverflowError, RecursionError, KnifeError) as exc:
        raise _no_message() from exc


def _no_message() -> InternalError:
    msg = "What came from the other process is no message"
    return InternalError(msg)


def _clean(text: str) -> str:
    """Return a text that can be written down: what came from names on the disk may be none."""
    return text.encode("utf-8", "replace").decode()


def _kinds() -> dict[str, type[KnifeError]]:
    """Return the most general class for each code; those that want more than a sentence have no place here."""
    found: dict[str, type[KnifeError]] = {}
    kinds: list[type[KnifeError]] = [KnifeError]
    for kind in kinds:
        if kind.__init__ is KnifeError.__init__:
            found.setdefault(kind.code, kind)
        kinds += kind.__subclasses__()
    return found


_KINDS = _kinds()
