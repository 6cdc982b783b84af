"""JSON files of models: decoded as Python's ``json`` does, with limits on bytes, values and nesting."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from mlxknife.adapters.folder import tokenizer_json
from mlxknife.adapters.folder.budget import ReadingBudget
from mlxknife.adapters.folder.safe_open import LFS_POINTER, read_file
from mlxknife.domain.json_values import ValueLimits
from mlxknife.domain.models.values.snapshot import Document

_MB = 10**6
_MAX_DOCUMENT = 4 * _MB
_DOCUMENT_VALUES = ValueLimits(compound=3 * 2**16, values=2**19)
_MAX_INDEX = 32 * _MB
_INDEX_VALUES = ValueLimits(compound=2**19, values=2**20)
_LARGE = 1 * _MB
_MAX_TOKENIZER_CONFIG = 20 * _MB
_MAX_CHECKED = 48 * _MB
_MAX_DEPTH = 100
_OBJECT = re.compile(rb"\s*\{")
_CONTAINERS = (dict, list)
_CHUNK = 64 * 1024
"""Bytes that are decoded at once to check that they are UTF-8. Their text stays in the cache of the CPU."""
_ADDED_TOKENS = "added_tokens_decoder"

_TOO_DEEP = Document(problem="is nested too deeply")
TOO_LARGE = Document(problem="is too large")
_TOO_MANY = Document(problem="has too many values, together with the other files of the model")


class _AddedToken(Struct, gc=False):
    """An object of which nothing is decoded."""


_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_NUMBERS = msgspec.json.Decoder(dict[str, _AddedToken])


def parse(path: str, size: int, budget: ReadingBudget) -> Document:
    """Return the value of a JSON file of ``size`` bytes, or the reason why it has none. Raises OSError.

    In a large tokenizer_config.json, the added tokens are empty objects.
    """
    if size > _MAX_TOKENIZER_CONFIG:
        return TOO_LARGE
    data = read_file(path, size)
    if size > _LARGE:
        data = without_attributes(data)
    return TOO_LARGE if len(data) > _MAX_DOCUMENT else _parsed(data, _DOCUMENT_VALUES, budget)


def parse_index(path: str, size: int, budget: ReadingBudget) -> Document:
    """Do the same for an index of shards, which names every tensor. Raises OSError."""
    return TOO_LARGE if size > _MAX_INDEX else _parsed(read_file(path, size), _INDEX_VALUES, budget)


def check(path: str, size: int, _budget: ReadingBudget) -> Document:
    """Check that a JSON file of ``size`` bytes is a valid object, without building its value. Raises OSError."""
    return TOO_LARGE if size > _MAX_CHECKED else _decoded(read_file(path, size), _check_object)


def check_tokenizer(path: str, size: int, _budget: ReadingBudget) -> Document:
    """Check that a tokenizer can be read from a JSON file of ``size`` bytes. Raises OSError."""
    return TOO_LARGE if size > _MAX_CHECKED else tokenizer(read_file(path, size))


def tokenizer(data: bytes) -> Document:
    """Check that a tokenizer can be read from the bytes of a JSON file."""
    return _decoded(data, tokenizer_json.check)


def check_text(path: str, size: int, _budget: ReadingBudget) -> Document:
    """Check that a file of ``size`` bytes is a text. Raises OSError."""
    return TOO_LARGE if size > _MAX_DOCUMENT else text(read_file(path, size))


def text(data: bytes) -> Document:
    """Check that bytes are a text."""
    try:
        check_utf8(data)
    except UnicodeDecodeError:
        return Document(problem="is not UTF-8")
    return Document(problem="is a Git LFS pointer, not the file" if data.startswith(LFS_POINTER) else None)


def _parsed(data: bytes, limits: ValueLimits, budget: ReadingBudget) -> Document:
    excess = limits.excess(data)
    if excess is not None:
        return Document(problem=f"has {excess}")
    if not budget.take_text(data, limits):
        return _TOO_MANY
    document = _decoded(data, _json_value)
    has_depth = data.count(b"[") + data.count(b"{") > _MAX_DEPTH
    return _TOO_DEEP if has_depth and depth_exceeds(document.value, _MAX_DEPTH) else document


def _decoded(data: bytes, decode: Callable[[bytes], object]) -> Document:
    try:
        check_utf8(data)
        return Document(value=decode(data))
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    except RecursionError:
        return _TOO_DEEP
    except tokenizer_json.NoTokenizerError as exc:
        problem = f"is not a tokenizer: {exc}"
    except msgspec.ValidationError:
        problem = "is not a JSON object"
    except ValueError:
        problem = "is not valid JSON" if data else "is empty"
        if data.startswith(LFS_POINTER):
            problem = "is a Git LFS pointer, not the file"
    return Document(problem=problem)


def check_utf8(data: bytes) -> None:
    """Raise UnicodeDecodeError for bytes that are no text. The text is not kept."""
    if data.isascii():
        return
    view, start = memoryview(data), 0
    while start < len(data):
        end = start + _CHUNK
        start += codecs.utf_8_decode(view[start:end], "strict", end >= len(data))[1]


def without_attributes(data: bytes) -> bytes:
    """Return a tokenizer_config.json with an empty object for each added token, or the same bytes.

    Speech models add 65,536 tokens, with nine strings each. The rules look at the number of each token only.
    """
    if _ADDED_TOKENS.encode() not in data:
        return data
    try:
        check_utf8(data)
        members = _MEMBERS.decode(data)
        added = bytes(members.get(_ADDED_TOKENS, b""))
        if added.count(b"{") > tokenizer_json.MAX_ADDED_TOKENS + 1:
            return data
        numbers: dict[str, object] = {number: {} for number in _NUMBERS.decode(added)}
        return msgspec.json.encode(members | {_ADDED_TOKENS: numbers})
    except (ValueError, RecursionError):
        return data  # the parser says what is wrong


def _json_value(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except msgspec.MsgspecError:
        # configs contain NaN, Infinity and numbers beyond a double, which are not JSON, but which Python's json accepts
        return json.loads(data.decode())


def _check_object(data: bytes) -> None:
    msgspec.json.decode(data, type=msgspec.Raw)
    if not _OBJECT.match(data):
        raise msgspec.ValidationError


def depth_exceeds(value: object, limit: int) -> bool:
    """Return whether a JSON value has more than ``limit`` levels, without recursion."""
    level = [value]
    for _ in range(limit):
        deeper = (item for item in level if isinstance(item, _CONTAINERS))
        level = [child for item in deeper for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return False
    return True
