"""JSON files of models: decoded as Python's ``json`` does, with limits on bytes, values and nesting."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import msgspec

from mlxknife.adapters.folder import tokenizer_json
from mlxknife.adapters.folder.safe_open import LFS_POINTER, read_file
from mlxknife.domain.json_values import ValueLimits
from mlxknife.domain.models.values.snapshot import Document

_MB = 10**6
_MAX_DOCUMENT = 4 * _MB
_DOCUMENT_VALUES = ValueLimits(compound=2**18, values=2**19)
_MAX_INDEX = 32 * _MB
_INDEX_VALUES = ValueLimits(compound=2**19, values=2**20)
_MAX_CHECKED = 64 * _MB
_MAX_DEPTH = 100
_OBJECT = re.compile(rb"\s*\{")

_TOO_DEEP = Document(problem="is nested too deeply")
TOO_LARGE = Document(problem="is too large")


def parse(path: str, size: int) -> Document:
    """Return the value of a JSON file of ``size`` bytes, or the reason why it has none. Raises OSError."""
    return TOO_LARGE if size > _MAX_DOCUMENT else _parsed(read_file(path, size), _DOCUMENT_VALUES)


def parse_index(path: str, size: int) -> Document:
    """Do the same for an index of shards, which names every tensor. Raises OSError."""
    return TOO_LARGE if size > _MAX_INDEX else _parsed(read_file(path, size), _INDEX_VALUES)


def check(path: str, size: int) -> Document:
    """Check that a JSON file of ``size`` bytes is a valid object, without building its value. Raises OSError."""
    return TOO_LARGE if size > _MAX_CHECKED else _decoded(read_file(path, size), _check_object)


def check_tokenizer(path: str, size: int) -> Document:
    """Check that a tokenizer can be read from a JSON file of ``size`` bytes. Raises OSError."""
    return TOO_LARGE if size > _MAX_CHECKED else tokenizer(read_file(path, size))


def tokenizer(data: bytes) -> Document:
    """Check that a tokenizer can be read from the bytes of a JSON file."""
    return _decoded(data, tokenizer_json.check)


def check_text(path: str, size: int) -> Document:
    """Check that a file of ``size`` bytes is a text. Raises OSError."""
    return TOO_LARGE if size > _MAX_DOCUMENT else text(read_file(path, size))


def text(data: bytes) -> Document:
    """Check that bytes are a text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return Document(problem="is not UTF-8")
    return Document(problem="is a Git LFS pointer, not the file" if data.startswith(LFS_POINTER) else None)


def _parsed(data: bytes, limits: ValueLimits) -> Document:
    excess = limits.excess(data)
    if excess is not None:
        return Document(problem=f"has {excess}")
    document = _decoded(data, _json_value)
    has_depth = data.count(b"[") + data.count(b"{") > _MAX_DEPTH
    return _TOO_DEEP if has_depth and depth_exceeds(document.value, _MAX_DEPTH) else document


def _decoded(data: bytes, decode: Callable[[bytes], object]) -> Document:
    try:
        data.decode()
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
        deeper = (item for item in level if isinstance(item, dict | list))
        level = [child for item in deeper for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return False
    return True
