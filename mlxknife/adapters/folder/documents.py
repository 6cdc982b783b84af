"""JSON files: read as every Python loader of models reads them, but with bounds."""

from __future__ import annotations

import json

import msgspec

from mlxknife.adapters.folder.opening import LFS_MARK, read_file
from mlxknife.domain.model.snapshot import Document

_MAX_PARSED = 64 * 1024 * 1024
_MAX_CHECKED = 512 * 1024 * 1024
_MAX_DEPTH = 100

_TOO_DEEP = Document(problem="is nested too deeply")
_TOO_LARGE = Document(problem="is too large")
_VALID = Document()


def parse(path: str, size: int) -> Document:
    """Return the value of a JSON file of a known size, or why it has none. Raises OSError."""
    if size > _MAX_PARSED:
        return _TOO_LARGE
    data = read_file(path, size)
    fault = _encoding_fault(data)
    if fault is not None:
        return fault
    try:
        value = _decode(data)
    except RecursionError:
        return _TOO_DEEP
    except ValueError:
        return _invalid(data)
    if data.count(b"[") + data.count(b"{") > _MAX_DEPTH and _depth_exceeds(value, _MAX_DEPTH):
        return _TOO_DEEP
    return Document(value=value)


def check(path: str, size: int) -> Document:
    """Say whether a JSON file of a known size is valid, without building its value. Raises OSError."""
    if size > _MAX_CHECKED:
        return _TOO_LARGE
    data = read_file(path, size)
    fault = _encoding_fault(data)
    if fault is not None:
        return fault
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except RecursionError:
        return _TOO_DEEP
    except msgspec.DecodeError:
        return _invalid(data)
    return _VALID


def _decode(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except msgspec.MsgspecError:
        # NaN, Infinity and numbers beyond a double are no JSON, but stand in configs and Python's loaders take them.
        return json.loads(data.decode())


def _encoding_fault(data: bytes) -> Document | None:
    try:
        data.decode()
    except UnicodeDecodeError:
        return Document(problem="is not UTF-8")
    return None


def _invalid(data: bytes) -> Document:
    if data.startswith(LFS_MARK):
        return Document(problem="is a Git LFS pointer, not the file")
    return Document(problem="is empty" if not data else "is not valid JSON")


def _depth_exceeds(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        deeper = (item for item in level if isinstance(item, dict | list))
        level = [child for item in deeper for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return False
    return True
