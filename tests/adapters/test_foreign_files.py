"""Files of other frameworks beside a model do not make it unhealthy; missing parts of the model do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mlxknife
from mlxknife import Integrity
from tests.builder import CacheBuilder, Files, chat_files, embedding_files, json_bytes, pytorch_files, sha256

_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def verdict(hub: Path) -> tuple[Integrity, str | None]:
    app = mlxknife.open_app(hub_cache=hub, workspace_home=hub / "none", environment={"XDG_CONFIG_HOME": str(hub)})
    (entry,) = app.health.check().entries
    return entry.integrity, entry.reason


@pytest.mark.parametrize(
    "extra",
    [
        {"flax_model.msgpack.index.json": json_bytes({"weight_map": {"w": "flax_model-00001-of-00002.msgpack"}})},
        {"tf_model.h5.index.json": json_bytes({"weight_map": {"w": "tf_model-00001.h5"}})},
        {"training_args.bin": _POINTER},
    ],
)
def test_files_of_other_frameworks_do_not_count(tmp_path: Path, extra: Files) -> None:
    CacheBuilder(tmp_path).model("org/model", pytorch_files() | extra)
    assert verdict(tmp_path) == (Integrity.STRUCTURAL, None)


def test_openvino_as_a_pointer_does_not_count(tmp_path: Path) -> None:
    CacheBuilder(tmp_path).model("org/model", embedding_files() | {"openvino/openvino_model.bin": _POINTER})
    assert verdict(tmp_path) == (Integrity.STRUCTURAL, None)


def test_an_index_of_missing_pytorch_weights_counts_as_no_weights(tmp_path: Path) -> None:
    files = embedding_files()
    files["2_Dense/model.safetensors"] = files.pop("model.safetensors")
    files["pytorch_model.bin.index.json"] = json_bytes({"weight_map": {"w": "pytorch_model-00001-of-00001.bin"}})
    CacheBuilder(tmp_path).model("org/model", files)
    assert verdict(tmp_path) == (Integrity.INCOMPLETE, "no weight files beside config.json")


@pytest.mark.parametrize(
    ("name", "integrity"),
    [
        ("pytorch_model.bin", Integrity.STRUCTURAL),
        ("original/consolidated.00.pth", Integrity.STRUCTURAL),
        ("onnx/config.json", Integrity.STRUCTURAL),
        ("model-00002-of-00002.safetensors", Integrity.INCOMPLETE),
        ("2_Dense/model.safetensors", Integrity.INCOMPLETE),
        ("tokenizer.model", Integrity.INCOMPLETE),
    ],
)
def test_an_unfinished_download_counts_when_the_model_needs_the_file(
    tmp_path: Path, name: str, integrity: Integrity
) -> None:
    built = CacheBuilder(tmp_path).model("org/model")
    digest = sha256(name.encode())
    listing = {"format_version": 1, "files": {name: {"size": 9, "blob_id": "0" * 40, "lfs_sha256": digest}}}
    (built.repo / "trees").mkdir()
    (built.repo / "trees" / f"{built.commit}.json").write_text(json.dumps(listing))
    (built.repo / "blobs" / f"{digest}.0123abcd.incomplete").write_bytes(b"part")
    expected = None if integrity is Integrity.STRUCTURAL else f"download not finished: {name}"
    assert verdict(tmp_path) == (integrity, expected)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.model", "qwen.tiktoken", "rwkv_vocab_v20230424.txt"])
def test_the_only_tokenizer_must_not_be_empty(tmp_path: Path, name: str) -> None:
    files = chat_files()
    del files["tokenizer.json"]
    CacheBuilder(tmp_path).model("org/model", files | {name: b""})
    assert verdict(tmp_path) == (Integrity.CORRUPT, f"empty tokenizer file: {name}")


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.model", "qwen.tiktoken"])
def test_the_only_tokenizer_must_not_be_a_pointer(tmp_path: Path, name: str) -> None:
    files = chat_files()
    del files["tokenizer.json"]
    CacheBuilder(tmp_path).model("org/model", files | {name: _POINTER})
    assert verdict(tmp_path) == (Integrity.CORRUPT, f"LFS pointers instead of files: {name}")
