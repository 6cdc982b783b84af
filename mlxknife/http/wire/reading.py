"""From the bytes of a body to a value, and from msgspec's words to the name of the field at fault."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from mlxknife.http.refusals import Refusal
from mlxknife.http.wire.wording import worded

Body = TypeVar("Body", bound=Struct)

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_LONGEST_NEUTRAL = 64
"""No value that asks for nothing is written with more bytes."""


def nothing() -> Raw:
    """Return a field that was left out."""
    return Raw(b"null")


def read(body: bytes, kind: type[Body]) -> Body:
    """Return what a body says. Unknown fields are tolerated, and of two equal ones the last holds.

    Raises Refusal, with the place of the fault as ``param`` where the body is an object.
    """
    if not body:
        msg = "The request has no body"
        raise Refusal(msg, hint="Send a JSON object")
    try:
        if not body.isascii():
            str(body, "utf-8")  # also what no field takes
        return msgspec.json.decode(body, type=kind)
    except UnicodeDecodeError as exc:
        msg = "The body is not UTF-8"
        raise Refusal(msg) from exc
    except RecursionError as exc:
        msg = "The body is nested too deeply"
        raise Refusal(msg) from exc
    except msgspec.ValidationError as exc:
        raise _located(str(exc), kind) from exc
    except msgspec.DecodeError as exc:
        msg = f"The body is not JSON: {exc}"
        raise Refusal(msg) from exc


def refuse_what_does_not_work(body: Struct, neutral: Mapping[str, tuple[object, ...]]) -> None:
    """Raise Refusal for a field that asks for something that is not there yet.

    ``neutral`` has, for each such field, the values beside null that ask for nothing.
    """
    for name, values in neutral.items():
        raw: Raw = getattr(body, name)
        if len(raw) <= _LONGEST_NEUTRAL and _is_among(raw, (None, *values)):
            continue
        msg = f"{name} does not work here yet"
        raise Refusal(msg, param=name, hint="Leave it out")


def _is_among(raw: Raw, values: tuple[object, ...]) -> bool:
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:  # a number that is larger than any: nobody looked at it before
        return False
    return any(type(value) is type(other) and value == other for other in values)


def _located(said: str, kind: type[Struct]) -> Refusal:
    place = _PLACE.search(said)
    path = "" if place is None else place[1].replace("[...]", "")
    missing = _MISSING.search(said)
    if missing is not None:
        path = f"{path}.{missing[1]}".lstrip(".")
        return Refusal(f"{path} is missing", param=path)
    what = worded(_PLACE.sub("", said), path, kind)
    return Refusal(f"{path}{what}", param=path) if path else Refusal(f"The body{what}")
