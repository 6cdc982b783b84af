"""Damage to the files of a model on a disk."""

from __future__ import annotations

import shutil
from enum import Enum
from pathlib import Path

import attrs

from tests.builder import BuiltModel, json_bytes

_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 1\n" % 0
_BAD_INDEXES: tuple[object, ...] = (
    {},
    {"weight_map": {}},
    {"weight_map": []},
    {"weight_map": {"w": 1}},
    {"weight_map": {"w": "model-00009-of-00009.safetensors"}},
    {"weight_map": {"w": "../../../x.safetensors"}},
    [],
)


class Op(Enum):
    """The kinds of damage; the comment of each names the damaged file."""

    DELETE = "delete"
    TRUNCATE = "truncate"
    EXTEND = "append"
    ZERO = "fill with zeros"
    GARBAGE = "overwrite some bytes"
    EMPTY = "empty"
    LFS = "LFS pointer"
    DANGLING = "dangling link"
    LOOP = "link to itself"
    ESCAPE = "link outside"
    FOLDER = "folder in the place of a file"
    FILE = "file in the place of a folder"
    BAD_REF = "bad ref"
    NO_REF = "ref deleted"
    INCOMPLETE = "download under way"
    PARTIAL = "partial weights"
    INDEX = "index that lies"


@attrs.frozen
class Damage:
    """One damage; ``target`` selects among the files, ``place`` counts from the end of a file."""

    op: Op
    target: int
    place: int
    data: bytes
    weights_only: bool


def apply(model: BuiltModel, damage: Damage) -> None:
    """Apply a damage to a model that may be damaged already."""
    try:
        _apply(model, damage)
    except OSError:
        return  # an earlier damage removed the file


def _apply(model: BuiltModel, damage: Damage) -> None:
    match damage.op:
        case Op.BAD_REF:
            model.ref().write_bytes(damage.data)
        case Op.NO_REF:
            model.ref().unlink()
        case Op.FILE:
            _replace(_chosen([model.repo, *_inside(model.repo, files=False)], damage), damage.data)
        case Op.INDEX:
            index = model.snapshot / "model.safetensors.index.json"
            _replace(index, json_bytes(_BAD_INDEXES[damage.target % len(_BAD_INDEXES)]))
        case Op.INCOMPLETE:
            blob = _chosen(_inside(model.repo / "blobs", files=True), damage)
            blob.with_name(f"{blob.name}.0a1b2c3d.incomplete").write_bytes(damage.data)
        case Op.PARTIAL:
            (model.snapshot / "model.safetensors.partial").write_bytes(damage.data)
        case _:
            files = list(model.snapshot.rglob("*.safetensors")) if damage.weights_only else []
            _hurt(_chosen(sorted(files) or _inside(model.repo, files=True), damage), damage)


def _inside(folder: Path, *, files: bool) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file() is files)


def _chosen(paths: list[Path], damage: Damage) -> Path:
    if not paths:
        raise FileNotFoundError
    return paths[damage.target % len(paths)]


def _replace(path: Path, data: bytes | None) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)
    if data is not None:
        path.write_bytes(data)


def _hurt(path: Path, damage: Damage) -> None:
    links = {
        Op.DANGLING: "nothing-here",
        Op.LOOP: path.name,
        Op.ESCAPE: "/etc/hostname",
    }
    if damage.op in links:
        _replace(path, None)
        path.symlink_to(links[damage.op])
    elif damage.op is Op.DELETE:
        _replace(path, None)
    elif damage.op is Op.FOLDER:
        _replace(path, None)
        path.mkdir()
    else:
        data = path.read_bytes()
        path.write_bytes(_rewritten(data, damage))  # through the links, as a program that writes in place does


def _rewritten(data: bytes, damage: Damage) -> bytes:
    place = len(data) - damage.place % (len(data) + 1)
    match damage.op:
        case Op.TRUNCATE:
            return data[:place]
        case Op.EXTEND:
            return data + damage.data
        case Op.ZERO:
            return bytes(len(data))
        case Op.GARBAGE:
            return (data[:place] + damage.data + data[place + len(damage.data) :])[: len(data)]
        case Op.LFS:
            return _LFS
        case _:
            return b""
