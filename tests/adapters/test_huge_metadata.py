"""Metadata that is huge, or has very many values: it is damage and is not decoded, and the other models are listed.

The real files that come closest to the limits are accepted.
"""

from __future__ import annotations

import msgspec
import pytest

from mlxknife.adapters.folder.snapshot_reader import FolderReader
from mlxknife.domain.integrity.rules import safetensors as rule
from mlxknife.domain.models.rules.filenames import READING_LIST
from mlxknife.domain.models.values.snapshot import Location, TensorEntry, WeightFormat, WeightHeader
from tests.adapters import files_at_limits
from tests.adapters.stage import GOOD, SICK, Stage
from tests.builder import chat_files, json_bytes, raw_safetensors

_MB = 10**6
_NOT_MLX = "Framework PyTorch not executable with mlx-lm (requires MLX)"
_EMPTY = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'


def _filled(value: bytes, size: int) -> bytes:
    return b'{"model_type":"llama","a":[%b]}' % b",".join([value] * (size // (len(value) + 1)))


def _header(size: int, tensor: bytes = _EMPTY) -> bytes:
    count = size // (len(tensor) + 12)
    return raw_safetensors(b"{%b}" % b",".join(b'"t%07d":%b' % (number, tensor) for number in range(count)), b"")


_HUGE = {
    "a large config": ("config.json", _filled(b'"a"', 5 * _MB), "config.json is too large"),
    "many lists": (
        "config.json",
        _filled(b"[]", 3 * _MB),
        "config.json has more than 196608 strings, lists and objects",
    ),
    "many texts": ("tokenizer_config.json", _filled(b'""', 3 * _MB), "more than 196608 strings, lists and objects"),
    "many numbers": ("config.json", _filled(b"1", 3 * _MB), "config.json has more than 524288 values"),
    "a large header": ("model.safetensors", _header(9 * _MB), "is too large"),
    "many tensors": ("model.safetensors", _header(6 * _MB), "header has more than 65536 tensors"),
    "many numbers in a shape": (
        "model.safetensors",
        raw_safetensors(b'{"t":{"dtype":"F32","shape":[1%b],"data_offsets":[0,4]}}' % (b",1" * 2**20), bytes(4)),
        "header has more than 1048576 numbers",
    ),
    "many empty tensors": (
        "model.safetensors",
        _header(1_200_000, b"{}"),
        "header has more than 65536 strings, lists and objects",
    ),
    "many added tokens": (
        "tokenizer.json",
        b'{"added_tokens":[%b],"model":{"vocab":{}}}' % b",".join([b'{"id":1}'] * 100_000),
        "is not a tokenizer: it has more than 73728 added tokens",
    ),
    "many added tokens in the config": (
        "tokenizer_config.json",
        files_at_limits.tokenizer_config(100_000)["tokenizer_config.json"],
        "tokenizer_config.json is too large",
    ),
    "many entries": (
        "model.safetensors.index.json",
        b'{"weight_map":{%b}}' % b",".join(b'"t%07d":""' % number for number in range(300_000)),
        "more than 524288 strings, lists and objects",
    ),
}


@pytest.mark.parametrize(("name", "content", "reason"), _HUGE.values(), ids=_HUGE)
def test_huge_metadata_is_damage_and_is_not_decoded(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, reason: str
) -> None:
    stage.good_models()
    stage.model(chat_files() | {name: content})
    decode = msgspec.json.decode

    def decode_small(data: bytes, **options: object) -> object:
        assert len(data) < 100_000
        return decode(data, **options)  # type: ignore[call-overload] # as it was called

    monkeypatch.setattr(msgspec.json, "decode", decode_small)
    listed = stage.listed()
    assert listed.keys() == {*GOOD, SICK}
    assert reason in (listed[SICK].reason or "")
    assert all(listed[one].integrity.healthy for one in GOOD)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json"])
def test_a_tokenizer_of_a_gigabyte_is_not_read(stage: Stage, name: str) -> None:
    model = stage.model(chat_files() | {name: b"{}"})
    with model.blob(name).open("r+b") as file:
        file.truncate(10**9)
    assert stage.only().reason == f"{name} is too large"


def test_all_files_of_a_model_have_a_limit_together(stage: Stage) -> None:
    """Each of them is within its own limit."""
    content = b"{}" + b" " * (48 * _MB - 2)
    stage.model(chat_files() | {"added_tokens.json": content, "vocab.json": content})
    assert "is too large" in (stage.only().reason or "")


@pytest.mark.parametrize("name", files_at_limits.MODELS)
def test_files_at_the_limits_are_accepted(stage: Stage, name: str) -> None:
    """So ``benchmarks/metadata.py``, which lists the same files, times the slowest."""
    stage.model(files_at_limits.MODELS[name]())
    model = stage.only()
    assert (model.integrity.healthy, model.reason) in [(True, None), (True, _NOT_MLX)]


def test_the_attributes_of_added_tokens_are_not_decoded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.model(chat_files() | files_at_limits.tokenizer_config())
    decode, decoded = msgspec.json.decode, 0

    def counting_decode(data: bytes, **options: object) -> object:
        nonlocal decoded
        decoded += len(data)
        return decode(data, **options)  # type: ignore[call-overload] # as it was called

    monkeypatch.setattr(msgspec.json, "decode", counting_decode)
    assert stage.only().integrity.healthy
    assert 0 < decoded < 3 * _MB  # of 17 MB


def test_the_values_of_many_files_are_limited_together(stage: Stage) -> None:
    """Each header is within its own limits, and all of them have 3 MB."""
    weights = files_at_limits.unusual_weights()["model.safetensors"]
    model = stage.model(chat_files() | {f"part{number}.safetensors": weights for number in range(6)})
    facts = FolderReader().read(Location(str(model.snapshot), (str(model.repo),)), READING_LIST)
    problems = [facts.weights[f"part{number}.safetensors"].problem for number in range(6)]
    assert problems == [None] * 5 + ["header has too many values, together with the other files of the model"]


def test_a_shape_with_many_sides_is_not_multiplied() -> None:
    """The product of a million sides has a million digits."""
    products: list[int] = []

    class Side(int):
        def __rmul__(self, other: int) -> int:
            products.append(other)
            return int(self) * other

    tensors = {"t": TensorEntry("F32", (Side(9),) * 10_000, (0, 4))}
    head = WeightHeader(WeightFormat.SAFETENSORS, data_size=4, tensors=tensors)
    assert rule.problem(head) == "tensor 't' does not match its size in bytes"
    assert len(products) < 100


def test_the_largest_real_files_are_accepted(stage: Stage) -> None:
    """Gemma has a tokenizer of 33 MB, Llasa 65,536 added tokens, a classifier 21,843 labels."""
    labels = {str(number): f"label {number}" for number in range(21_843)}
    files = chat_files(id2label=labels, label2id={text: int(number) for number, text in labels.items()})
    files |= files_at_limits.tokenizer_config(65_536)
    files["tokenizer.json"] = (
        json_bytes({"added_tokens": [], "model": {"vocab": {"a": 0}}})[:-1] + b" " * (33 * _MB) + b"}"
    )
    files["model.safetensors"] = files_at_limits.header(count=55_000)  # a mixture of experts in four bits
    stage.model(files)
    model = stage.only()
    assert (model.integrity.healthy, model.reason) == (True, None)
