"""From the bytes of a body to a wire type, and from msgspec's decode errors to messages that name the field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct, inspect

from mlxknife.http.core.errors import BadRequest
from mlxknife.http.core.limits import check_values

Body = TypeVar("Body", bound=Struct)
Unsupported: TypeAlias = Mapping[str, tuple[object, ...]]
"""The fields that are not supported, with the values besides null that change nothing."""

_MAX_NEUTRAL_BYTES = 64
"""No neutral value is longer, so longer ones need no decoding."""
_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `(\w+)`")
_OUT_OF_RANGE = re.compile(r"Expected `([^`]+)` (of length )?(>=|<=) (\S+)")
_PATTERN = re.compile(r"Expected `str` matching regex '(.*)'")
_INVALID_CHOICE = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_MAX_QUOTED = 60
_TAIL = 64
_LAST_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u)(?s:.{0,5})$")
"""A lone surrogate that is followed by less than another one would need: for msgspec, such a text is cut off."""
_STEP = re.compile(r"(\w+)|\[\d*\]")
_TYPE_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_GIVEN_NAMES = _TYPE_NAMES | {"int": "a number", "float": "a fractional number"}


def decode(body: bytes, kind: type[Body]) -> Body:
    """Return a body as a wire type. Unknown fields are ignored, and the last of two equal keys counts.

    Raises BadRequest, with ``param`` where the body is an object; BodyTooLarge for too many values.
    """
    if not body:
        msg = "The request has no body"
        raise BadRequest(msg, hint="Send a JSON object")
    check_values(body)
    try:
        if not body.isascii():
            str(body, "utf-8")  # msgspec does not check the fields that it skips
        return msgspec.json.decode(body, type=kind)
    except UnicodeDecodeError as exc:
        msg = "The body is not UTF-8"
        raise BadRequest(msg) from exc
    except RecursionError as exc:
        msg = "The body is nested too deeply"
        raise BadRequest(msg) from exc
    except msgspec.ValidationError as exc:
        raise _field_error(str(exc), kind) from exc
    except msgspec.DecodeError as exc:
        if "surrogate" in str(exc) or _LAST_SURROGATE.search(body[-_TAIL:]):
            msg = "The body has a lone surrogate, which is no character"
            raise BadRequest(msg, hint="JSON escapes a character beyond U+FFFF as two surrogates") from exc
        msg = f"The body is not JSON: {exc}"
        raise BadRequest(msg) from exc


def null() -> Raw:
    """Return the default of a field that is decoded later, or not at all."""
    return Raw(b"null")


def refuse_unsupported(body: Struct, unsupported: Unsupported, prefix: str = "", *, hint: str = "Leave it out") -> None:
    """Raise BadRequest for a field that is not supported, unless its value is null or one of its neutral values.

    ``prefix`` is the place of the body in the request, such as ``messages[0].``.
    """
    for name, neutral in unsupported.items():
        raw: Raw = getattr(body, name)
        if len(raw) <= _MAX_NEUTRAL_BYTES and _is_one_of(raw, (None, *neutral)):
            continue
        msg = f"{prefix}{name} is not supported yet"
        raise BadRequest(msg, param=f"{prefix}{name}", hint=hint)


def _is_one_of(raw: Raw, values: tuple[object, ...]) -> bool:
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:  # a number out of range
        return False
    return any(type(value) is type(other) and value == other for other in values)


def _field_error(said: str, kind: type[Struct]) -> BadRequest:
    """Return the error for a message of msgspec."""
    place = _PLACE.search(said)
    path = "" if place is None else place[1].replace("[...]", "")
    missing = _MISSING.search(said)
    if missing is not None:
        path = f"{path}.{missing[1]}".lstrip(".")
        return BadRequest(f"{path} is missing", param=path)
    problem = _problem(_PLACE.sub("", said), path, kind)
    return BadRequest(f"{path}{problem}", param=path) if path else BadRequest(f"The body{problem}")


def _problem(said: str, path: str, kind: type[Struct]) -> str:
    """Return what a field must be, as the end of a sentence that begins with its name."""
    wrong_type = _WRONG_TYPE.match(said)
    if wrong_type is not None:
        expected = [_TYPE_NAMES.get(name, name) for name in wrong_type[1].split(" | ") if name != "null"]
        return f" must be {' or '.join(expected)}, not {_GIVEN_NAMES.get(wrong_type[2], wrong_type[2])}"
    out_of_range = _OUT_OF_RANGE.match(said)
    if out_of_range is not None:
        return _range(*out_of_range.groups())
    pattern = _PATTERN.match(said)
    if pattern is not None:
        return f" must match {pattern[1]}"
    invalid_choice = _INVALID_CHOICE.match(said)
    choices = _choices(kind, path) if invalid_choice is not None else ()
    if invalid_choice is not None and choices:
        return f" must be one of {', '.join(choices)}, not {invalid_choice[1][:_MAX_QUOTED]}"
    return f": {said[:1].lower()}{said[1:]}".replace("`", "")


def _range(kind: str, length: str | None, sign: str, bound: str) -> str:
    bound = bound.removesuffix(".0")
    side = "at least" if sign == ">=" else "at most"
    if length is None:
        return f" must be {side} {bound}"
    if (sign, bound) == (">=", "1"):
        return " must not be empty"
    return f" must have {side} {bound} {'characters' if kind.startswith('str') else 'entries'}"


def _choices(kind: type[Struct], path: str) -> tuple[str, ...]:
    """Return the values that the field at a path may have, where they are literals."""
    found = [inspect.type_info(kind)]
    for step in _STEP.finditer(path):
        found = [below for one in found for below in _below(one, step[1])]
    return tuple(str(value) for one in found if isinstance(one, inspect.LiteralType) for value in one.values)


def _below(one: inspect.Type, name: str | None) -> tuple[inspect.Type, ...]:
    """Return the types of a field of a struct, or of the items of a list where there is no name."""
    inner: tuple[inspect.Type, ...] = ()
    if isinstance(one, inspect.StructType):
        inner = tuple(field.type for field in one.fields if field.encode_name == name)
    elif isinstance(one, inspect.ListType) and name is None:
        inner = (one.item_type,)
    return tuple(part for each in inner for part in (each.types if isinstance(each, inspect.UnionType) else (each,)))
