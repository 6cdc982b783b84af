"""Rules of integrity: where weights must be, unfinished downloads, tokenizers, indexes and weight files."""

from __future__ import annotations

import pytest

from mlxknife.domain.integrity.rules import integrity
from mlxknife.domain.models.rules import configs
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedFile, RecordedHash
from mlxknife.domain.models.values.verdict import Integrity
from tests.builder import (
    Files,
    chat_files,
    embedding_files,
    gguf_files,
    json_bytes,
    pytorch_files,
    raw_safetensors,
    safetensors,
    sharded_files,
    speech_files,
    vision_files,
)
from tests.unit.facts import facts_of, without

_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
_INDEX, _WEIGHTS = "model.safetensors.index.json", "model.safetensors"
_NO_WEIGHTS = without(chat_files(), _WEIGHTS)
_STARTED = frozenset({"blob"})


def _first(
    files: Files, unfinished: frozenset[str] = frozenset(), manifest: dict[str, RecordedFile] | None = None
) -> tuple[Integrity, str] | None:
    facts = facts_of(files)
    found = integrity.findings(
        facts,
        needs_tokenizer=configs.needs_tokenizer("org/name", facts),
        needs_processor=configs.needs_image_processor(facts),
        unfinished=unfinished,
        manifest=manifest,
    )
    first = next(found, None)
    return (first.integrity, first.reason) if first else None


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"2_Dense/model.safetensors": safetensors()}, id="a layer behind the model"),
        pytest.param({"onnx/pytorch_model.bin": b"PK\x03\x04PK\x05\x06"}, id="another program's"),
        pytest.param({"original/model.safetensors": safetensors(), "original/a.gguf": bytes(24)}, id="the original"),
        pytest.param({"gguf/tiny.gguf": gguf_files()["tiny-chat.Q4_K_M.gguf"], "sub/model.npz": b"x"}, id="mixed"),
    ],
)
def test_weights_must_be_beside_the_config(files: Files) -> None:
    assert _first(_NO_WEIGHTS | files) == (Integrity.INCOMPLETE, "no weight files beside config.json")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"openvino/openvino_model.bin": b"x"}, id="below"),
        pytest.param({"openvino_model.bin": b"x", "openvino_model.xml": b"<"}, id="beside"),
    ],
)
def test_openvino_files_are_not_weights(files: Files) -> None:
    assert _first(_NO_WEIGHTS | files) == (Integrity.INCOMPLETE, "no weight files")


def test_a_started_download_is_reported_where_weights_are_missing() -> None:
    assert _first(_NO_WEIGHTS, _STARTED) == (Integrity.INCOMPLETE, "no weight files, a download has started")
    below = _NO_WEIGHTS | {"2_Dense/model.safetensors": safetensors()}
    reason = "no weight files beside config.json, a download has started"
    assert _first(below, _STARTED) == (Integrity.INCOMPLETE, reason)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"sub/tiny.gguf": gguf_files()["tiny-chat.Q4_K_M.gguf"]}, id="GGUF alone may lie in a folder"),
        pytest.param(
            {
                _INDEX: json_bytes({"weight_map": {"w": "parts/one.safetensors"}}),
                "parts/one.safetensors": safetensors(),
            },
            id="an index leads to a folder",
        ),
    ],
)
def test_weights_may_be_where_an_index_points(files: Files) -> None:
    assert _first(_NO_WEIGHTS | files) is None


@pytest.mark.parametrize(
    ("name", "is_reported"),
    [
        (_WEIGHTS, True),
        ("2_Dense/model.safetensors", True),
        ("tokenizer.model", True),
        ("generation_config.json", True),
        (_INDEX, True),
        ("README.md", False),
        ("onnx/model.onnx", False),
        ("openvino/openvino_model.bin", False),
        ("training_args.bin", False),
    ],
)
def test_a_listed_file_with_a_started_download_and_no_link_is_missing_where_the_model_needs_it(
    name: str, *, is_reported: bool
) -> None:
    manifest = {name: RecordedFile(9, RecordedHash(HashAlgorithm.SHA256, "blob"))}
    files = without(embedding_files(), name)
    expected = (Integrity.INCOMPLETE, f"download not finished: {name}") if is_reported else None
    assert _first(files, _STARTED, manifest) == expected


@pytest.mark.parametrize("recorded", [RecordedFile(9), RecordedFile(9, RecordedHash(HashAlgorithm.SHA256, "other"))])
def test_a_listed_file_without_a_started_download_may_be_absent(recorded: RecordedFile) -> None:
    assert _first(chat_files(), _STARTED, {"model-00002-of-00002.safetensors": recorded}) is None


@pytest.mark.parametrize("name", ["tokenizer.model", "merges.txt", "vocab.txt", "qwen.tiktoken", "sub/spm.model"])
def test_an_empty_tokenizer_is_corrupt(name: str) -> None:
    assert _first(chat_files() | {name: b""}) == (Integrity.CORRUPT, f"empty tokenizer file: {name}")


@pytest.mark.parametrize("name", ["tokenizer.model", "spm.model", "source.spm", "qwen.tiktoken"])
def test_a_tokenizer_that_is_an_lfs_pointer_is_corrupt(name: str) -> None:
    files = without(chat_files(), "tokenizer.json") | {name: _LFS}
    assert _first(files) == (Integrity.CORRUPT, f"LFS pointers instead of files: {name}")


def test_an_empty_tokenizer_json_or_an_lfs_pointer_is_corrupt() -> None:
    assert _first(chat_files() | {"tokenizer.json": b""}) == (
        Integrity.CORRUPT,
        "empty tokenizer file: tokenizer.json",
    )
    assert _first(chat_files() | {"tokenizer.json": _LFS}) == (
        Integrity.CORRUPT,
        "tokenizer.json is a Git LFS pointer, not the file",
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "tokenizer.json",
            {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}},
            "tokenizer.json is not a tokenizer: object missing required field 'added_tokens'",
        ),
        ("tokenizer_config.json", {"eos_token": 7}, "tokenizer_config.json: eos_token is not a token"),
        (
            "tokenizer_config.json",
            {"eos_token": {"content": "x"}},
            "tokenizer_config.json: eos_token is not a token",
        ),
        ("special_tokens_map.json", {"eos_token": []}, "special_tokens_map.json: eos_token is not a token"),
    ],
)
def test_a_tokenizer_that_cannot_be_loaded_is_corrupt(name: str, content: object, reason: str) -> None:
    assert _first(chat_files() | {name: json_bytes(content)}) == (Integrity.CORRUPT, reason)


def test_only_a_model_that_needs_a_tokenizer_needs_good_settings() -> None:
    assert _first(speech_files() | {"tokenizer_config.json": json_bytes({"eos_token": 7})}) is None


@pytest.mark.parametrize("data", [b"[]", b"1", b"null"])
def test_a_tokenizer_json_is_an_object(data: bytes) -> None:
    verdict, reason = _first(chat_files() | {"tokenizer.json": data}) or (None, "")
    assert (verdict, reason.split()[0]) == (Integrity.CORRUPT, "tokenizer.json")


@pytest.mark.parametrize("shard", ["config.json", "../../secret", "model.safetensors.index.json", ""])
def test_an_index_must_name_weight_files(shard: str) -> None:
    files = sharded_files() | {_INDEX: json_bytes({"weight_map": {"w": shard}})}
    assert _first(files) == (Integrity.CORRUPT, f"{_INDEX}: weight_map names a file that is not a weight file")


def test_weights_without_tensors_are_corrupt() -> None:
    files = chat_files() | {_WEIGHTS: raw_safetensors(b"{}", b"")}
    assert _first(files) == (Integrity.CORRUPT, f"{_WEIGHTS}: contains no tensors")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (pytorch_files() | {"pytorch_model.bin": b"<html>"}, "pytorch_model.bin: not a PyTorch file"),
        ({"tiny.gguf": b"GGUF"}, "tiny.gguf: not a GGUF file"),
        ({"tiny.gguf": b"<html>" + bytes(30)}, "tiny.gguf: not a GGUF file"),
    ],
)
def test_weights_whose_format_differs_from_their_name_are_corrupt(files: Files, reason: str) -> None:
    assert _first(files) == (Integrity.CORRUPT, reason)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(pytorch_files() | {"pytorch_model.bin": b"\x80\x02}q\x00."}, id="a pickle of old PyTorch"),
        pytest.param(chat_files() | {"openvino_model.bin": b"<html>"}, id="a broken file that no loader reads"),
        pytest.param(chat_files() | {"training_args.bin": b""}, id="settings of the training"),
        pytest.param(without(vision_files(), "preprocessor_config.json", "config.json") | chat_files(), id="no eyes"),
        pytest.param(
            gguf_files() | {"config.json": json_bytes({"model_type": "gemma3", "vision_config": {}})},
            id="GGUF that sees",
        ),
        pytest.param(speech_files() | {"weights.npz": b"PK\x03\x04PK\x05\x06"}, id="speech"),
    ],
)
def test_files_that_no_loader_reads_do_not_matter(files: Files) -> None:
    assert _first(files) is None
