"""The import refuses damaged, hostile and unsupported GGUF files with an error of the contract, and writes nothing."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tokenizers import Tokenizer

from mlxknife.adapters.gguf import quantization
from mlxknife.adapters.gguf.importer import GgufImporter
from mlxknife.domain.errors import AccessDenied, StorageError, ValidationError
from tests.adapters.importing import imported, refused
from tests.contracts.permissions import forbidden, shared_folder
from tests.gguf_models import Tiny, sentencepiece
from tests.gguf_writer import Stored, gguf, stored


def test_custom_rotary_frequencies_are_refused(tmp_path: Path) -> None:
    tiny = Tiny()
    divisors = stored(np.linspace(1, 3, 8, dtype=np.float32), "F32")
    assert "frequencies" in refused(tmp_path, gguf(tiny.metadata(), tiny.tensors() | {"rope_freqs.weight": divisors}))


def changed(**values: Any) -> bytes:  # noqa: ANN401 - values are of any type
    """Return a valid file with changed metadata; None removes a value."""
    metadata = Tiny().metadata() | {key.replace("__", "."): value for key, value in values.items()}
    return gguf({key: value for key, value in metadata.items() if value is not None}, Tiny().tensors())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"general__architecture": "mamba"}, "mamba"),
        ({"general__architecture": None}, "general.architecture"),
        ({"llama__expert_count": 8}, "expert_count"),
        ({"llama__attention.head_count": [4, 4]}, "head_count"),
        ({"llama__attention.head_count_kv": 3}, "contradict each other"),
        ({"llama__block_count": 3}, "missing"),
        ({"llama__block_count": 1}, "cannot be imported"),
        ({"llama__block_count": 2**32 - 1}, "block_count"),
        ({"llama__embedding_length": 32}, "shape"),
        ({"llama__rope.dimension_count": 8}, "dimension_count"),
        ({"llama__rope.scaling.type": "yarn", "llama__rope.scaling.factor": 4.0}, "yarn"),
        ({"llama__rope.freq_base": float("nan")}, "freq_base"),
        ({"llama__attention.layer_norm_rms_epsilon": None}, "layer_norm_rms_epsilon"),
        ({"llama__context_length": None}, "context_length"),
        ({"tokenizer.ggml.model": "t5"}, "t5"),
        ({"tokenizer.ggml.pre": "\u202eodd"}, "\\u202eodd"),
        ({"tokenizer.ggml.tokens": ["a", "a"]}, "the same"),
        ({"tokenizer.ggml.tokens": [str(number) for number in range(289)]}, "more tokens"),
        ({"tokenizer.ggml.token_type": [1]}, "token types"),
        ({"tokenizer.ggml.merges": ["no such"]}, "merges"),
        ({"tokenizer.ggml.merges": None}, "merges"),
        ({"tokenizer.ggml.eos_token_id": 288}, "not the id of a token"),
        ({"tokenizer.ggml.model": "llama"}, "score"),
        ({"general.alignment": 0}, "alignment"),
        ({"general.alignment": 64}, "cut off"),
    ],
)
def test_unsupported_metadata_is_refused_with_its_name(tmp_path: Path, values: Mapping[str, Any], words: str) -> None:
    assert words in refused(tmp_path, changed(**values))


def test_a_long_sentencepiece_piece_is_refused_before_it_is_split(tmp_path: Path) -> None:
    values = (
        Tiny().metadata() | sentencepiece() | {"tokenizer.ggml.tokens": ["x" * 600], "tokenizer.ggml.scores": [0.0]}
    )
    values["tokenizer.ggml.token_type"] = [1]
    values |= {"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 0}
    assert "600" in refused(tmp_path, gguf(values, Tiny().tensors()))


def test_numbers_that_overflow_the_dtype_are_refused(tmp_path: Path) -> None:
    tensors = Tiny().tensors()
    tensors["output_norm.weight"] = stored(np.full(64, 1e6, np.float32), "F32")
    assert "too large" in refused(tmp_path, gguf(Tiny().metadata(), tensors))


def test_a_quantised_vector_is_refused(tmp_path: Path) -> None:
    tensors = Tiny().tensors() | {"output_norm.weight": stored(np.ones(64, np.float32), "Q8_0")}
    assert "output_norm.weight" in refused(tmp_path, gguf(Tiny().metadata(), tensors))


def test_unsupported_types_are_named_with_the_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "EXTRA", "a_package_that_is_not_there")
    tiny = Tiny(intermediate=256)
    six_bits = Stored(14, (64, 256), bytes(64 * 210), np.zeros((64, 256), np.float32))
    message = refused(tmp_path, gguf(tiny.metadata(), tiny.tensors() | {"blk.1.ffn_down.weight": six_bits}))
    assert "Q6_K" in message
    assert "install_gguf" in message


def test_files_that_are_not_gguf_are_refused(tmp_path: Path) -> None:
    whole = Tiny().file()
    big_endian = b"GGUF" + struct.pack(">IQQ", 3, 0, 0)
    wrong = (b"", b"GGUF", b"PK\3\4" + whole, big_endian, gguf({}, {}, version=1), gguf({}, {}))
    for number, data in enumerate(wrong):
        (tmp_path / str(number)).mkdir()
        refused(tmp_path / str(number), data)


def test_declared_counts_do_not_decide_how_much_memory_is_allocated(tmp_path: Path) -> None:
    head = b"GGUF" + struct.pack("<I", 3)
    text = struct.pack("<Q", 1) + b"k"
    wrong = (
        head + struct.pack("<QQ", 2**63, 0),
        head + struct.pack("<QQ", 0, 2**63),
        head + struct.pack("<QQQ", 0, 1, 2**62),
        head + struct.pack("<QQ", 0, 1) + text + struct.pack("<IQ", 8, 2**62),
        head + struct.pack("<QQ", 0, 1) + text + struct.pack("<IIQ", 9, 10, 2**60),
        head + struct.pack("<QQ", 0, 1) + text + struct.pack("<IIQ", 9, 9, 2),
        head + struct.pack("<QQ", 0, 1) + text + struct.pack("<I", 99),
        head + struct.pack("<QQ", 1, 0) + text + struct.pack("<I4QIQ", 4, *[2**62] * 4, 0, 0),
        head + struct.pack("<QQ", 1, 0) + text + struct.pack("<I", 2**31),
        head + struct.pack("<QQ", 2, 0) + (text + struct.pack("<IQIQ", 1, 4, 0, 0)) * 2 + bytes(64),
    )
    for number, data in enumerate(wrong):
        (tmp_path / str(number)).mkdir()
        assert "Not a valid GGUF file" in refused(tmp_path / str(number), data)


def test_a_file_without_its_last_byte_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    assert "cut off" in refused(tmp_path, Tiny().file()[:-1])
    assert os.listdir(tmp_path / "made") == []


def test_tensors_that_share_bytes_are_refused(tmp_path: Path) -> None:
    data = Tiny().file()
    place = data.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8 + 4
    shared = data[:place] + struct.pack("<Q", 32) + data[place + 8 :]
    assert "overlaps another one" in refused(tmp_path, shared)


_WHOLE = Tiny(layers=1).file()
_HEADER = _WHOLE.index(b"output_norm.weight") + 60


@settings(max_examples=400)
@given(
    place=st.integers(0, _HEADER - 1),
    patch=st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8)),
    end=st.one_of(st.none(), st.integers(0, len(_WHOLE) - 1)),
)
def test_a_damaged_file_is_refused_or_becomes_a_model(place: int, patch: bytes, end: int | None) -> None:
    damaged = (_WHOLE[:place] + patch + _WHOLE[place + len(patch) :])[:end]
    with shared_folder() as folder:
        try:
            made = imported(folder, damaged)
        except ValidationError:
            return
        with safe_open(made / "model.safetensors", "np") as file:
            assert "model.norm.weight" in file.keys()  # noqa: SIM118 - no mapping
        Tokenizer.from_file(str(made / "tokenizer.json"))


def test_filesystem_errors_become_errors_of_the_contract() -> None:
    with shared_folder() as folder:
        (folder / "made").mkdir()
        with pytest.raises(StorageError):
            GgufImporter().import_gguf(str(folder / "nothing.gguf"), str(folder / "made"))
        with pytest.raises(ValidationError):
            GgufImporter().import_gguf(str(folder), str(folder / "made"))
        os.mkfifo(folder / "pipe")
        with pytest.raises(ValidationError):
            GgufImporter().import_gguf(str(folder / "pipe"), str(folder / "made"))
        (folder / "model.gguf").write_bytes(Tiny().file())
        with forbidden(folder / "made"), pytest.raises(AccessDenied):
            GgufImporter().import_gguf(str(folder / "model.gguf"), str(folder / "made"))
