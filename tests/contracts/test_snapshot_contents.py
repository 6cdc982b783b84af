"""The contract of ``SnapshotReader`` for the files that it opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxknife.domain.models.values.snapshot import Document, SnapshotFacts, TensorEntry, WeightFormat
from tests.builder import json_bytes, raw_safetensors, safetensors
from tests.contracts.snapshot_readers import Opener, openers

_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
_DEEP = b"[" * 101 + b"]" * 101
_BOTTOMLESS = b"[" * 90_000 + b"]" * 90_000

pytestmark = pytest.mark.parametrize("opener", openers(), ids=["fake", "real"])


def _facts(opener: Opener, place: Path, files: dict[str, bytes]) -> SnapshotFacts:
    return opener(place, {f"model/{name}": data for name, data in files.items()}, "model", ("model",)).facts()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        (
            b' {"a": [1, 2.5, "\\u00e4", null, true], "b": {"c": "d"}}\n',
            {"a": [1, 2.5, "ä", None, True], "b": {"c": "d"}},
        ),
        (b"[]", []),
        (b"1", 1),
        (b'"x"', "x"),
        (b'{"big": 123456789012345678901234567890}', {"big": 123456789012345678901234567890}),
        (b'{"theta": Infinity}', {"theta": float("inf")}),
        (b'{"low": -Infinity, "x": [1]}', {"low": float("-inf"), "x": [1]}),
        (b'{"huge": 1e999}', {"huge": float("inf")}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_a_document_has_the_value_that_python_decodes(opener: Opener, place: Path, data: bytes, value: object) -> None:
    assert _facts(opener, place, {"config.json": data}).documents == {"config.json": Document(value=value)}


def test_nan_is_accepted_in_a_config(opener: Opener, place: Path) -> None:
    facts = _facts(opener, place, {"config.json": b'{"model_type": "x", "rope": NaN}'})
    assert facts.documents["config.json"].problem is None
    assert facts.json_object("config.json")["model_type"] == "x"


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "model.safetensors.index.json", "a.index.json"]
)
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"{", "is not valid JSON"),
        (b"{} x", "is not valid JSON"),
        (b"{'a': 1}", "is not valid JSON"),
        (b"\xef\xbb\xbf{}", "is not valid JSON"),
        (b"\0\0\0\0", "is not valid JSON"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        ('{"a": "ä"}'.encode("utf-16"), "is not UTF-8"),
        (_LFS, "is a Git LFS pointer, not the file"),
        (_DEEP, "is nested too deeply"),
        (_BOTTOMLESS, "is nested too deeply"),
        (b'{"a":' * 90_000 + b"1" + b"}" * 90_000, "is nested too deeply"),
    ],
    ids=range(12),
)
def test_a_document_without_a_value_has_a_problem(
    opener: Opener, place: Path, name: str, data: bytes, problem: str
) -> None:
    assert _facts(opener, place, {name: data}).documents == {name: Document(problem=problem)}


@pytest.mark.parametrize("name", ["vocab.json", "added_tokens.json", "tekken.json"])
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{}", None),
        (b'{"a": [1, "\xc3\xa4"]}', None),
        (b"", "is empty"),
        (b"{", "is not valid JSON"),
        (b"\xff", "is not UTF-8"),
        (_LFS, "is a Git LFS pointer, not the file"),
        (b'{"a":' + _BOTTOMLESS + b"}", "is nested too deeply"),
        (b"[]", "is not a JSON object"),
        (b'"text"', "is not a JSON object"),
        (b"null", "is not a JSON object"),
    ],
    ids=range(10),
)
def test_a_document_that_is_only_checked_is_an_object_and_has_no_value(
    opener: Opener, place: Path, name: str, data: bytes, problem: str | None
) -> None:
    assert _facts(opener, place, {name: data}).documents == {name: Document(problem=problem)}


_ADDED = {"id": 1, "content": "<x>"} | dict.fromkeys(
    ("single_word", "lstrip", "rstrip", "normalized", "special"), False
)


def _tokenizer(**parts: object) -> bytes:
    return json_bytes({"added_tokens": [], "model": _BPE} | parts)


_BPE = {"type": "BPE", "vocab": {"a": 0}, "merges": []}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (_tokenizer(), None),
        (_tokenizer(version="1.0", decoder=None, added_tokens=[_ADDED], normalizer={"type": "NFC"}), None),
        (_tokenizer(model={"vocab": {"a": 0}, "merges": []}), None),
        (_tokenizer(model={"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 0}), None),
        (_tokenizer(model=_BPE | {"vocab": {}}, added_tokens=[_ADDED]), None),
        (b"", "is empty"),
        (b"{", "is not valid JSON"),
        (b"\xff", "is not UTF-8"),
        (_LFS, "is a Git LFS pointer, not the file"),
        (b"[]", "is not a JSON object"),
        (b'{"a":' + _BOTTOMLESS + b"}", "is nested too deeply"),
        (b"{}", "is not a tokenizer: object missing required field 'added_tokens'"),
        (_tokenizer(added_tokens=[{"id": 1}]), "is not a tokenizer: object missing required field 'content'"),
        (_tokenizer(added_tokens=[_ADDED | {"id": -1}]), "is not a tokenizer: expected 'int' >= 0"),
        (_tokenizer(version="2.0"), "is not a tokenizer: invalid enum value '2.0'"),
        (_tokenizer(decoder={}), "is not a tokenizer: decoder has no settings"),
        (_tokenizer(normalizer=7), "is not a tokenizer: normalizer has no settings"),
        (_tokenizer(model={"type": "BPE"}), "is not a tokenizer: object missing required field 'vocab'"),
        (_tokenizer(model={"type": "BPE", "vocab": {}}), "is not a tokenizer: its model lacks merges"),
        (_tokenizer(model=_BPE | {"vocab": []}), "is not a tokenizer: its vocabulary has the wrong form"),
        (_tokenizer(model=_BPE | {"vocab": {}}), "is not a tokenizer: its vocabulary is empty"),
        (_tokenizer(model=_BPE | {"merges": {}}), "is not a tokenizer: its merges are not an array"),
        (_tokenizer(model={"type": "WordLevel", "vocab": {"a": 0}}), "is not a tokenizer: its model lacks unk_token"),
        (_tokenizer(model={"type": "x\x1b" * 99, "vocab": {}}), "is not a tokenizer: there is no model of type 'x"),
    ],
    ids=range(24),
)
def test_a_tokenizer_that_cannot_be_read_has_a_problem(
    opener: Opener, place: Path, data: bytes, problem: str | None
) -> None:
    (document,) = _facts(opener, place, {"tokenizer.json": data}).documents.values()
    assert document.value is None
    assert (document.problem is None) == (problem is None)
    assert (document.problem or "").startswith(problem or "")
    assert len(document.problem or "") < 300


@pytest.mark.parametrize("name", ["chat_template.jinja", "additional_chat_templates/tool_use.jinja"])
@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"{{ x }}", None), (b"", None), (b"\xff", "is not UTF-8"), (_LFS, "is a Git LFS pointer, not the file")],
)
def test_a_template_is_a_text(opener: Opener, place: Path, name: str, data: bytes, problem: str | None) -> None:
    assert _facts(opener, place, {name: data}).documents == {name: Document(problem=problem)}


def test_only_files_on_the_reading_list_are_opened(opener: Opener, place: Path) -> None:
    facts = _facts(opener, place, {"other.json": b"{", "sub/config.json": b"{", "notes.txt": b"\xff"})
    assert (facts.documents, facts.weights) == ({}, {})


def test_a_safetensors_head_has_tensors_metadata_and_size(opener: Opener, place: Path) -> None:
    data = safetensors({"w": ("F16", (2, 4)), "b": ("U8", (3,))}, {"format": "mlx"})
    (head,) = _facts(opener, place, {"sub/model.safetensors": data}).weights.values()
    assert head.format is WeightFormat.SAFETENSORS
    assert head.problem is None
    assert head.data_size == 19
    assert head.metadata == {"format": "mlx"}
    assert head.tensors == {"w": TensorEntry("F16", (2, 4), (0, 16)), "b": TensorEntry("U8", (3,), (16, 19))}


def test_a_head_larger_than_one_read_is_read_whole(opener: Opener, place: Path) -> None:
    tensors = {f"model.layers.{number}.weight": ("F16", (2, 2)) for number in range(5_000)}
    (head,) = _facts(opener, place, {"model.safetensors": safetensors(tensors)}).weights.values()
    assert head.problem is None
    assert len(head.tensors) == 5_000


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        bytes(7),
        bytes(64),
        raw_safetensors(b"", b""),
        raw_safetensors(b"[]", b""),
        raw_safetensors(b"\xff\xff", b""),
        raw_safetensors(b'{"w": 1}', b""),
        raw_safetensors(b'{"w": {"dtype": "F16", "shape": 1, "data_offsets": [0, 2]}}', bytes(2)),
        raw_safetensors(b"{}", b"", declared=3),
        raw_safetensors(b"{}", b"", declared=2**63),
        raw_safetensors(b"{}", b"", declared=2**64 - 1),
        safetensors()[:20],
    ],
    ids=range(12),
)
def test_a_head_that_cannot_be_read_is_a_problem(opener: Opener, place: Path, data: bytes) -> None:
    head = _facts(opener, place, {"model.safetensors": data}).weights["model.safetensors"]
    assert head.problem


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("model.safetensors", _LFS, WeightFormat.LFS_POINTER),
        ("model.gguf", _LFS, WeightFormat.LFS_POINTER),
        ("pytorch_model.bin", _LFS, WeightFormat.LFS_POINTER),
        ("tokenizer.model", _LFS, WeightFormat.LFS_POINTER),
        ("source.spm", _LFS, WeightFormat.LFS_POINTER),
        ("qwen.tiktoken", _LFS, WeightFormat.LFS_POINTER),
        ("tokenizer.model", b"\x0a\x0e", WeightFormat.OTHER),
        ("pytorch_model.bin", b"\x80\x02 old pickle", WeightFormat.OTHER),
        ("pytorch_model.bin", b"", WeightFormat.OTHER),
        ("model.gguf", b"", WeightFormat.GGUF),
        ("model.gguf", b"GGUF" + bytes(20), WeightFormat.GGUF),
        ("pytorch_model.bin", b"PK\x03\x04" + bytes(20) + b"PK\x05\x06" + bytes(18), WeightFormat.TORCH),
        ("weights.npz", b"PK\x03\x04" + bytes(20) + b"PK\x05\x06" + bytes(18), WeightFormat.TORCH),
        ("model.bin", b"\x80\x02 old pickle", WeightFormat.OTHER),
        ("model.safetensors", b"", WeightFormat.OTHER),
        ("model.bin", b"", WeightFormat.OTHER),
    ],
)
def test_a_weight_file_is_known_by_its_bytes(
    opener: Opener, place: Path, name: str, data: bytes, expected: WeightFormat
) -> None:
    head = _facts(opener, place, {name: data}).weights[name]
    assert (head.format, head.problem) == (expected, None)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("model.gguf", b"GGUF", "not a GGUF file"),
        ("model.gguf", b"GGUF" + bytes(19), "not a GGUF file"),
        ("model.gguf", b"<html></html>" + bytes(24), "not a GGUF file"),
        ("pytorch_model.bin", b"<html></html>", "not a PyTorch file"),
        ("sub/pytorch_model-00001-of-00002.bin", bytes(64), "not a PyTorch file"),
    ],
)
def test_a_weight_file_with_the_wrong_first_bytes_is_a_problem(
    opener: Opener, place: Path, name: str, data: bytes, problem: str
) -> None:
    assert _facts(opener, place, {name: data}).weights[name].problem == problem


def test_an_archive_without_its_end_is_a_problem(opener: Opener, place: Path) -> None:
    head = _facts(opener, place, {"pytorch_model.bin": b"PK\x03\x04" + bytes(100)}).weights["pytorch_model.bin"]
    assert head.problem


def test_a_directory_of_an_archive_far_from_its_start_is_found(opener: Opener, place: Path) -> None:
    data = b"PK\x03\x04" + bytes(200_000) + b"PK\x05\x06" + bytes(18)
    assert _facts(opener, place, {"pytorch_model.bin": data}).weights["pytorch_model.bin"].problem is None


def test_an_index_is_a_document(opener: Opener, place: Path) -> None:
    index = {"weight_map": {"w": "model-00001-of-00001.safetensors"}}
    facts = _facts(opener, place, {"model.safetensors.index.json": json_bytes(index)})
    assert facts.json_object("model.safetensors.index.json") == index
