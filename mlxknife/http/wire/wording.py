"""From msgspec's words for what is wrong with a field to a sentence for whoever wrote it."""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct, inspect

_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_GIVEN = _NAMES | {"int": "a number", "float": "a fractional number"}
_WRONG_KIND = re.compile(r"Expected `([^`]+)`, got `(\w+)`")
_OUT_OF_RANGE = re.compile(r"Expected `([^`]+)` (of length )?(>=|<=) (\S+)")
_NO_CHOICE = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_LONGEST_QUOTE = 60
_STEP = re.compile(r"(\w+)|\[\d*\]")


def worded(said: str, place: str, kind: type[Struct]) -> str:
    """Return what a field must be, after its name; as msgspec says it where that is not known."""
    wrong = _WRONG_KIND.match(said)
    if wrong is not None:
        wanted = [_NAMES.get(name, name) for name in wrong[1].split(" | ") if name != "null"]
        return f" must be {' or '.join(wanted)}, not {_GIVEN.get(wrong[2], wrong[2])}"
    bound = _OUT_OF_RANGE.match(said)
    if bound is not None:
        return _range(*bound.groups())
    no_choice = _NO_CHOICE.match(said)
    choices = _choices(kind, place) if no_choice is not None else ()
    if no_choice is not None and choices:
        return f" must be one of {', '.join(choices)}, not {no_choice[1][:_LONGEST_QUOTE]}"
    return f": {said[:1].lower()}{said[1:]}".replace("`", "")


def _range(kind: str, length: str | None, sign: str, bound: str) -> str:
    bound = bound.removesuffix(".0")
    side = "at least" if sign == ">=" else "at most"
    if length is None:
        return f" must be {side} {bound}"
    if (sign, bound) == (">=", "1"):
        return " must not be empty"
    return f" must have {side} {bound} {'characters' if kind.startswith('str') else 'entries'}"


def _choices(kind: type[Struct], place: str) -> tuple[str, ...]:
    """Return the values that a field can have, where they can be counted."""
    found = [msgspec.inspect.type_info(kind)]
    for step in _STEP.finditer(place):
        found = [below for one in found for below in _below(one, step[1])]
    return tuple(str(value) for one in found if isinstance(one, inspect.LiteralType) for value in one.values)


def _below(one: inspect.Type, name: str | None) -> tuple[inspect.Type, ...]:
    """Return what stands under a name in a type, or in its entries where there is no name."""
    inner: tuple[inspect.Type, ...] = ()
    if isinstance(one, inspect.StructType):
        inner = tuple(field.type for field in one.fields if field.encode_name == name)
    elif isinstance(one, inspect.ListType) and name is None:
        inner = (one.item_type,)
    return tuple(part for each in inner for part in (each.types if isinstance(each, inspect.UnionType) else (each,)))
