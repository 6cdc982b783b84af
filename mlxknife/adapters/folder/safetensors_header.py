"""safetensors headers: as strict as the reference reader (Rust), with a fast path for what common writers produce."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

import attrs
import msgspec

from mlxknife.adapters.folder.budget import ReadingBudget
from mlxknife.adapters.folder.json_files import depth_exceeds
from mlxknife.domain.json_values import ValueLimits, compound_count
from mlxknife.domain.models.values.snapshot import TensorEntry

_METADATA = "__metadata__"
_METADATA_FIRST = re.compile(
    rb"""(?<=\{)\s*"__metadata__"\s*:\s*(\{(?:[^{}"]++|"(?:[^"\\]++|\\.)*+")*+\})\s*,"""  # strings may have braces
)
_MAX_METADATA = 1_000_000
"""The bytes in which metadata is looked for."""
_MINUS = re.compile(rb"[\[,]\s*-")
_QUOTES = 10
"""The quotation marks of one tensor: its name, three keys and its dtype."""

_MAX_TENSORS = 2**16
_MAX_NUMBERS = 2**20
_VALUES_OF_ONE = 8
"""The strings, lists and objects of one tensor."""
_UNUSUAL_VALUES = ValueLimits(compound=2**16, values=2**18)
"""For headers that the fast decoder does not read."""
_COST_OF_UNUSUAL = 8
"""How many times slower the strict parser is."""
_FIELDS = ("dtype", "shape", "data_offsets")
_MAX_DEPTH = 127
_INVALID = "header is not valid"

_TENSORS = msgspec.json.Decoder(dict[str, TensorEntry])
_STRINGS = msgspec.json.Decoder(dict[str, str])


@attrs.frozen
class SafetensorsHeader:
    """The tensors and the metadata that a header declares."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def parse(data: bytes, budget: ReadingBudget) -> SafetensorsHeader:
    """Return a parsed header. Raises ValueError for one that the reference reader refuses, or with too many values."""
    try:
        data.decode()
        header = _parse_fast(data, budget)
        if header is None:
            _check_unusual(data, budget)
            header = _parse_strictly(data)
    except _TooManyValuesError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as exc:
        raise ValueError(_INVALID) from exc
    return header


class _TooManyValuesError(ValueError):
    """A header takes too long to parse."""


def _check_unusual(data: bytes, budget: ReadingBudget) -> None:
    excess = _UNUSUAL_VALUES.excess(data)
    if excess is not None:
        msg = f"header has {excess}"
        raise _TooManyValuesError(msg)
    _check_budget(budget, _COST_OF_UNUSUAL * compound_count(data))


def _check_usual(data: bytes, budget: ReadingBudget) -> None:
    tensors = data.count(b'"') // _QUOTES
    if tensors > _MAX_TENSORS:
        msg = f"header has more than {_MAX_TENSORS} tensors"
        raise _TooManyValuesError(msg)
    if data.count(b",") > _MAX_NUMBERS:
        msg = f"header has more than {_MAX_NUMBERS} numbers"
        raise _TooManyValuesError(msg)
    _check_budget(budget, _VALUES_OF_ONE * tensors)


def _check_budget(budget: ReadingBudget, values: int) -> None:
    if not budget.take_values(values):
        msg = "header has too many values, together with the other files of the model"
        raise _TooManyValuesError(msg)


def _parse_fast(data: bytes, budget: ReadingBudget) -> SafetensorsHeader | None:
    """Return a header in the form of all common writers, or None for any other.

    The fast decoder accepts duplicate and unknown keys, which the reference reader refuses. The number of quotation
    marks reveals them.
    """
    metadata: Mapping[str, str] = {}
    found = _METADATA_FIRST.match(data, 1, _MAX_METADATA)
    try:
        if found is not None:
            metadata = _STRINGS.decode(found[1])
            data = data[:1] + data[found.end() :]
        _check_usual(data, budget)
        tensors = _TENSORS.decode(data)
    except msgspec.MsgspecError:
        return None
    is_plain = data.count(b'"') == _QUOTES * len(tensors) and (b"-" not in data or not _MINUS.search(data))
    return SafetensorsHeader(tensors, metadata) if is_plain else None


def _parse_strictly(data: bytes) -> SafetensorsHeader:
    """Return a header parsed member by member; the rules for keys, numbers and nesting are the reference reader's."""
    header = json.loads(
        data, object_pairs_hook=_object, parse_float=_finite, parse_int=_unsigned, parse_constant=_finite
    )
    if not isinstance(header, _Object) or depth_exceeds(json.loads(data), _MAX_DEPTH):
        raise ValueError(_INVALID)
    metadata = [value for key, value in header.members if key == _METADATA]
    if len(metadata) > 1:
        raise ValueError(_INVALID)
    return SafetensorsHeader(
        tensors={key: _tensor(value) for key, value in header.members if key != _METADATA},
        metadata=_metadata(metadata[0] if metadata else None),
    )


@attrs.frozen
class _Object:
    """A JSON object with its members in order, duplicate keys included."""

    members: list[tuple[str, object]]


def _object(members: list[tuple[str, object]]) -> _Object:
    for word in (word for member in members for word in member if isinstance(word, str)):
        word.encode()  # a lone surrogate can be escaped in JSON, but is not valid text
    return _Object(members)


def _tensor(value: object) -> TensorEntry:
    if not isinstance(value, _Object):
        raise TypeError(_INVALID)
    keys = [key for key, _ in value.members]
    if any(keys.count(field) > 1 for field in _FIELDS):
        raise ValueError(_INVALID)
    return msgspec.convert(dict(value.members), TensorEntry)


def _metadata(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, _Object):
        raise TypeError(_INVALID)
    return msgspec.convert(dict(value.members), dict[str, str])


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(_INVALID)
    return value


def _unsigned(text: str) -> float:
    """Return an integer; a negative one becomes a float, which the conversion to a shape or an offset refuses."""
    return float(text) if text.startswith("-") else int(text)
