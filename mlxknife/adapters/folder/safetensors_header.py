"""safetensors headers: parsed as strictly as the reference reader does it, and fast for those that are written well."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

import attrs
import msgspec

from mlxknife.adapters.folder.nesting import depth_exceeds
from mlxknife.domain.models.values.snapshot import TensorEntry

_METADATA = "__metadata__"
_METADATA_FIRST = re.compile(rb'(?<=\{)\s*"__metadata__"\s*:\s*(\{[^{}]*\})\s*,')
_MINUS = re.compile(rb"[\[,]\s*-")
_QUOTES = 10
"""How many quotation marks one tensor takes: its name, three keys, one text."""

_FIELDS = ("dtype", "shape", "data_offsets")
_MAX_DEPTH = 127
_WRONG = "header is not valid"

_TENSORS = msgspec.json.Decoder(dict[str, TensorEntry])
_STRINGS = msgspec.json.Decoder(dict[str, str])


@attrs.frozen
class Header:
    """What a header declares."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def parse(data: bytes) -> Header:
    """Read a header. Raises ValueError for one that the reference reader would not take."""
    try:
        data.decode()
        return _parse_usual(data) or _parse_exactly(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as exc:
        raise ValueError(_WRONG) from exc


def _parse_usual(data: bytes) -> Header | None:
    """Read a header in the form that all common writers give it, or return None for any other.

    A decoder that is this fast lets the last of equal keys win and passes over unknown ones, where the reference is
    stricter: every one of them shows in the number of quotation marks.
    """
    metadata: Mapping[str, str] = {}
    found = _METADATA_FIRST.match(data, 1)
    try:
        if found is not None:
            metadata = _STRINGS.decode(found[1])
            data = data[:1] + data[found.end() :]
        tensors = _TENSORS.decode(data)
    except msgspec.MsgspecError:
        return None
    is_plain = data.count(b'"') == _QUOTES * len(tensors) and (b"-" not in data or not _MINUS.search(data))
    return Header(tensors, metadata) if is_plain else None


def _parse_exactly(data: bytes) -> Header:
    """Read a header member by member, with equal keys, odd numbers and deep nesting judged as the reference does."""
    header = json.loads(data, object_pairs_hook=_object, parse_float=_finite, parse_int=_whole, parse_constant=_finite)
    if not isinstance(header, _Object) or depth_exceeds(json.loads(data), _MAX_DEPTH):
        raise ValueError(_WRONG)
    metadata = [value for key, value in header.members if key == _METADATA]
    if len(metadata) > 1:
        raise ValueError(_WRONG)
    return Header(
        tensors={key: _tensor(value) for key, value in header.members if key != _METADATA},
        metadata=_metadata(metadata[0] if metadata else None),
    )


@attrs.frozen
class _Object:
    """A JSON object with its members in their order, equal keys and all."""

    members: list[tuple[str, object]]


def _object(members: list[tuple[str, object]]) -> _Object:
    for word in (word for member in members for word in member if isinstance(word, str)):
        word.encode()  # half a character can be written as an escape, but is no text
    return _Object(members)


def _tensor(value: object) -> TensorEntry:
    if not isinstance(value, _Object):
        raise TypeError(_WRONG)
    keys = [key for key, _ in value.members]
    if any(keys.count(field) > 1 for field in _FIELDS):
        raise ValueError(_WRONG)
    return msgspec.convert(dict(value.members), TensorEntry)


def _metadata(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, _Object):
        raise TypeError(_WRONG)
    return msgspec.convert(dict(value.members), dict[str, str])


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(_WRONG)
    return value


def _whole(text: str) -> float:
    """Return an integer; a negative one becomes a float, which is none where one is asked for."""
    return float(text) if text.startswith("-") else int(text)
