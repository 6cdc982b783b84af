"""The ways in which a model can be damaged, each with the verdict that it must get."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mlxknife import Integrity
from tests.builder import (
    BuiltModel,
    Files,
    chat_files,
    gguf_files,
    json_bytes,
    pytorch_files,
    raw_safetensors,
    sharded_files,
    vision_files,
)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TORCH, GGUF = "pytorch_model.bin", "tiny-chat.Q4_K_M.gguf"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 123456789\n" % 7


@attrs.frozen
class Damage:
    """How a complete model is damaged, and the words that its reason must contain."""

    label: str
    harm: Callable[[BuiltModel], None]
    integrity: Integrity
    words: tuple[str, ...]
    files: Callable[[], Files] = chat_files


def overwritten(file: str, data: bytes) -> Callable[[BuiltModel], None]:
    """Replace the bytes behind a file."""

    def harm(model: BuiltModel) -> None:
        model.blob(file).write_bytes(data)

    return harm


def removed(*files: str) -> Callable[[BuiltModel], None]:
    def harm(model: BuiltModel) -> None:
        for file in files:
            (model.snapshot / file).unlink()

    return harm


def header(entries: dict[str, tuple[int, int]], size: int) -> bytes:
    """Return a safetensors file with U8 tensors at the given offsets, valid or not."""
    tensors = {
        name: {"dtype": "U8", "shape": [stop - start], "data_offsets": [start, stop]}
        for name, (start, stop) in entries.items()
    }
    return raw_safetensors(json_bytes(tensors), bytes(size))


def _dangling_link(model: BuiltModel) -> None:
    model.blob(WEIGHTS).unlink()


def _link_loop(model: BuiltModel) -> None:
    blob = model.blob(WEIGHTS)
    blob.unlink()
    blob.symlink_to(blob.name)


def _dangling_ref(model: BuiltModel) -> None:
    model.ref().write_text("d" * 40)


def _binary_ref(model: BuiltModel) -> None:
    model.ref().write_bytes(b"\xff\xfe\x00\x80")


def _empty_ref(model: BuiltModel) -> None:
    model.ref().write_bytes(b"")


def _folder_for_ref(model: BuiltModel) -> None:
    model.ref().unlink()
    model.ref().mkdir()


def _replaced_by_file(part: str) -> Callable[[BuiltModel], None]:
    def harm(model: BuiltModel) -> None:
        aside = model.repo / part
        aside.rename(model.repo.parent / "moved-aside")
        aside.write_bytes(b"not a folder")

    return harm


def _file_for_snapshot(model: BuiltModel) -> None:
    model.snapshot.rename(model.repo.parent / "moved-aside")
    model.snapshot.write_bytes(b"not a folder")


def _folder_for(file: str) -> Callable[[BuiltModel], None]:
    def harm(model: BuiltModel) -> None:
        blob = model.blob(file)
        blob.unlink()
        blob.mkdir()

    return harm


def _truncated(model: BuiltModel) -> None:
    blob = model.blob(WEIGHTS)
    blob.write_bytes(blob.read_bytes()[:-7])


def _unfinished(suffix: str) -> Callable[[BuiltModel], None]:
    """Leave what a killed download leaves: the needed blob as a partial only."""

    def harm(model: BuiltModel) -> None:
        blob = model.blob(WEIGHTS)
        blob.rename(blob.with_name(blob.name + suffix))

    return harm


def _unfinished_beside_whole(model: BuiltModel) -> None:
    blob = model.blob(WEIGHTS)
    blob.with_name(f"{blob.name}.incomplete").write_bytes(blob.read_bytes()[:10])


def _nothing_downloaded(model: BuiltModel) -> None:
    model.snapshot.rename(model.repo.parent / "moved-aside")
    (model.repo / "refs" / "main").unlink()


def _moved(file: str, folder: str) -> Callable[[BuiltModel], None]:
    def harm(model: BuiltModel) -> None:
        target = model.blob(file).resolve()
        (model.snapshot / folder).mkdir()
        (model.snapshot / folder / file).symlink_to(f"../../../blobs/{target.name}")
        (model.snapshot / file).unlink()

    return harm


def _unlinked_but_begun(model: BuiltModel) -> None:
    """Leave what a stopped download leaves: a listing of all files, a partial of one, and no link to it."""
    blob = model.blob(WEIGHTS)
    listed = {"size": blob.stat().st_size, "blob_id": "0" * 40, "lfs_sha256": blob.name}
    (model.repo / "trees").mkdir()
    (model.repo / "trees" / f"{model.commit}.json").write_bytes(json_bytes({"files": {WEIGHTS: listed}}))
    blob.rename(blob.with_name(f"{blob.name}.0a1b2c3d.incomplete"))
    (model.snapshot / WEIGHTS).unlink()


_INCOMPLETE, _CORRUPT = Integrity.INCOMPLETE, Integrity.CORRUPT

DAMAGES = (
    Damage("dangling weight link", _dangling_link, _INCOMPLETE, ("dangling link", WEIGHTS)),
    Damage("link loop", _link_loop, _CORRUPT, ("link loop", WEIGHTS)),
    Damage("dangling ref", _dangling_ref, _INCOMPLETE, ("refs/main", "d" * 12, "not in the cache")),
    Damage("ref that is not UTF-8", _binary_ref, _CORRUPT, ("refs/main", "does not hold a commit hash")),
    Damage("empty ref", _empty_ref, _CORRUPT, ("refs/main", "does not hold a commit hash")),
    Damage("folder in place of the ref", _folder_for_ref, _CORRUPT, ("refs/main", "does not hold a commit hash")),
    Damage("config missing", removed("config.json"), _INCOMPLETE, ("config.json missing",)),
    Damage("config not UTF-8", overwritten("config.json", b'{"a": "\xff"}'), _CORRUPT, ("config.json", "UTF-8")),
    Damage("config a list", overwritten("config.json", b"[1]"), _CORRUPT, ("config.json", "not a JSON object")),
    Damage("config an empty object", overwritten("config.json", b"{}"), _CORRUPT, ("config.json", "empty")),
    Damage("config of no bytes", overwritten("config.json", b""), _CORRUPT, ("config.json", "empty")),
    Damage("config cut off", overwritten("config.json", b'{"a": '), _CORRUPT, ("config.json", "not valid JSON")),
    Damage("config a pointer", overwritten("config.json", LFS_POINTER), _CORRUPT, ("config.json", "LFS pointer")),
    Damage("index a list", overwritten(INDEX, b"[]"), _CORRUPT, (INDEX, "not a JSON object"), sharded_files),
    Damage("index no JSON", overwritten(INDEX, b"{"), _CORRUPT, (INDEX, "not valid JSON"), sharded_files),
    Damage("index without map", overwritten(INDEX, b"{}"), _CORRUPT, (INDEX, "no weight_map"), sharded_files),
    Damage(
        "map a list", overwritten(INDEX, b'{"weight_map": ["x"]}'), _CORRUPT, (INDEX, "no weight_map"), sharded_files
    ),
    Damage(
        "map of numbers",
        overwritten(INDEX, b'{"weight_map": {"w": 1}}'),
        _CORRUPT,
        (INDEX, "is not a weight file"),
        sharded_files,
    ),
    Damage(
        "map of lists",
        overwritten(INDEX, b'{"weight_map": {"w": [[]]}}'),
        _CORRUPT,
        (INDEX, "is not a weight file"),
        sharded_files,
    ),
    Damage("file for snapshots", _replaced_by_file("snapshots"), _INCOMPLETE, ("snapshots", "Not a directory")),
    Damage("file for refs", _replaced_by_file("refs"), _INCOMPLETE, ("refs", "Not a directory")),
    Damage("file for blobs", _replaced_by_file("blobs"), _INCOMPLETE, ("dangling link", "config.json")),
    Damage("file for the snapshot", _file_for_snapshot, _CORRUPT, ("snapshot is not a folder",)),
    Damage("folder for weights", _folder_for(WEIGHTS), _CORRUPT, ("not a regular file", WEIGHTS)),
    Damage("folder for config", _folder_for("config.json"), _CORRUPT, ("not a regular file", "config.json")),
    Damage("zero-byte weights", overwritten(WEIGHTS, b""), _CORRUPT, ("empty weight file", WEIGHTS)),
    Damage("LFS pointer", overwritten(WEIGHTS, LFS_POINTER), _CORRUPT, (f"LFS pointers instead of files: {WEIGHTS}",)),
    Damage("truncated weights", _truncated, _CORRUPT, (WEIGHTS, "truncated", "7 bytes")),
    Damage("weights shorter than a length", overwritten(WEIGHTS, b"\1\2\3"), _CORRUPT, (WEIGHTS, "too short")),
    Damage(
        "overlapping tensors",
        overwritten(WEIGHTS, header({"a": (0, 8), "b": (4, 12)}, 12)),
        _CORRUPT,
        (WEIGHTS, "'b'", "overlaps"),
    ),
    Damage(
        "hole between tensors",
        overwritten(WEIGHTS, header({"a": (0, 4), "b": (8, 12)}, 12)),
        _CORRUPT,
        (WEIGHTS, "hole", "'b'"),
    ),
    Damage(
        "offset beyond the end",
        overwritten(WEIGHTS, header({"a": (0, 400)}, 12)),
        _CORRUPT,
        (WEIGHTS, "truncated", "388 bytes"),
    ),
    Damage(
        "bytes after the last tensor",
        overwritten(WEIGHTS, header({"a": (0, 4)}, 12)),
        _CORRUPT,
        (WEIGHTS, "8 bytes after"),
    ),
    Damage(
        "header of 2^60 bytes",
        overwritten(WEIGHTS, raw_safetensors(b"{}", b"", declared=2**60)),
        _CORRUPT,
        (WEIGHTS, str(2**60)),
    ),
    Damage(
        "header longer than the file",
        overwritten(WEIGHTS, raw_safetensors(b"{}", b"", declared=4096)),
        _CORRUPT,
        (WEIGHTS, "truncated", "4096"),
    ),
    Damage(
        "header no JSON",
        overwritten(WEIGHTS, raw_safetensors(b"nonsense", b"")),
        _CORRUPT,
        (WEIGHTS, "header is not valid"),
    ),
    Damage(
        "missing shard",
        removed("model-00002-of-00003.safetensors"),
        _INCOMPLETE,
        ("missing weight shards", "model-00002-of-00003.safetensors"),
        sharded_files,
    ),
    Damage(
        "missing shard without an index",
        removed("model-00003-of-00003.safetensors", INDEX),
        _INCOMPLETE,
        ("missing weight shards", "model-00003-of-00003.safetensors"),
        sharded_files,
    ),
    Damage("no weights", removed(WEIGHTS), _INCOMPLETE, ("no weight files",)),
    Damage(
        "weights in a folder only", _moved(WEIGHTS, "2_Dense"), _INCOMPLETE, ("no weight files beside config.json",)
    ),
    Damage("no tensors", overwritten(WEIGHTS, raw_safetensors(b"{}", b"")), _CORRUPT, (WEIGHTS, "no tensors")),
    Damage("page for PyTorch", overwritten(TORCH, b"<html>"), _CORRUPT, (TORCH, "not a PyTorch file"), pytorch_files),
    Damage("GGUF of four bytes", overwritten(GGUF, b"GGUF"), _CORRUPT, (GGUF, "not a GGUF file"), gguf_files),
    Damage(
        "map of another file",
        overwritten(INDEX, b'{"weight_map": {"w": "config.json"}}'),
        _CORRUPT,
        (INDEX, "is not a weight file"),
        sharded_files,
    ),
    Damage("tokenizer of no bytes", overwritten("tokenizer.json", b""), _CORRUPT, ("empty tokenizer file",)),
    Damage("tokenizer a list", overwritten("tokenizer.json", b"[]"), _CORRUPT, ("tokenizer.json", "not")),
    Damage("tokenizer a pointer", overwritten("tokenizer.json", LFS_POINTER), _CORRUPT, ("tokenizer.json", "pointer")),
    Damage("listed weights unfinished", _unlinked_but_begun, _INCOMPLETE, ("download not finished", WEIGHTS)),
    Damage("missing tokenizer", removed("tokenizer.json"), _INCOMPLETE, ("tokenizer missing",)),
    Damage("tokenizer no JSON", overwritten("tokenizer.json", b"{"), _CORRUPT, ("tokenizer.json", "not valid JSON")),
    Damage(
        "missing processor",
        removed("preprocessor_config.json"),
        _INCOMPLETE,
        ("processor config missing",),
        vision_files,
    ),
    Damage("needed blob unfinished", _unfinished(".incomplete"), _INCOMPLETE, ("not finished", WEIGHTS)),
    Damage(
        "needed blob unfinished by one process",
        _unfinished(".0a1b2c3d.incomplete"),
        _INCOMPLETE,
        ("not finished", WEIGHTS),
    ),
    Damage("needed blob being fetched again", _unfinished_beside_whole, _INCOMPLETE, ("not finished", WEIGHTS)),
    Damage("nothing downloaded", _nothing_downloaded, _INCOMPLETE, ("no snapshot downloaded",)),
)
