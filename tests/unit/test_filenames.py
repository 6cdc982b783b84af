from __future__ import annotations

import pytest

from mlxknife.domain.models.rules import filenames

_ST, _BIN = "model-{:05d}-of-{:05d}.safetensors", "pytorch_model-{:05d}-of-{:05d}.bin"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([], []),
        (["model.safetensors"], []),
        ([_ST.format(1, 1)], []),
        ([_ST.format(1, 3), _ST.format(3, 3)], [_ST.format(2, 3)]),
        ([_ST.format(3, 3)], [_ST.format(1, 3), _ST.format(2, 3)]),
        ([_ST.format(1, 2), _ST.format(2, 2), _BIN.format(1, 2)], [_BIN.format(2, 2)]),
        ([_ST.format(1, 2), _ST.format(2, 3)], [_ST.format(2, 2), _ST.format(1, 3), _ST.format(3, 3)]),
        (["sub/" + _ST.format(2, 2)], ["sub/" + _ST.format(1, 2)]),
        (["notes-00002-of-00002.txt"], []),
        (["model-2-of-3.safetensors"], []),
    ],
)
def test_missing_numbers_of_a_shard_set_are_found(names: list[str], missing: list[str]) -> None:
    assert list(filenames.missing_shards(names)) == missing


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], False),
        (["tokenizer.json"], True),
        (["tokenizer.model"], True),
        (["spiece.model"], True),
        (["tekken.json"], True),
        (["vocab.txt"], True),
        (["qwen.tiktoken"], True),
        (["tiktoken.model"], True),
        (["spm.model"], True),
        (["source.spm"], True),
        (["sentencepiece.bpe.model"], True),
        (["rwkv_vocab_v20230424.txt"], True),
        (["my_rwkv_vocab.txt"], False),
        (["sub/tiktoken.model"], False),
        (["vocab.json"], False),
        (["merges.txt"], False),
        (["vocab.json", "merges.txt"], True),
        (["tokenizer_config.json", "special_tokens_map.json"], False),
        (["sub/tokenizer.json"], False),
    ],
)
def test_every_tokenizer_format_is_recognised(names: list[str], *, expected: bool) -> None:
    assert filenames.has_tokenizer(names) is expected


@pytest.mark.parametrize(
    ("name", "weight", "kind"),
    [
        ("model.safetensors", True, "weights"),
        ("sub/model.gguf", True, "weights"),
        ("pytorch_model.bin", True, "weights"),
        ("weights.npz", True, "weights"),
        ("consolidated.00.pth", True, "weights"),
        ("training_args.bin", False, "other"),
        ("openvino/openvino_model.bin", False, "other"),
        ("openvino_model_qint8.bin", False, "other"),
        ("openvino/pytorch_model.bin", True, "weights"),
        ("sub/optimizer.pt", False, "other"),
        ("config.json", False, "config"),
        ("model.safetensors.index.json", False, "index"),
        ("tokenizer.json", False, "tokenizer"),
        ("merges.txt", False, "tokenizer"),
        ("qwen.tiktoken", False, "tokenizer"),
        ("tiktoken.model", False, "tokenizer"),
        ("source.spm", False, "tokenizer"),
        ("README.md", False, "readme"),
        ("chat_template.jinja", False, "template"),
        ("LICENSE", False, "other"),
    ],
)
def test_the_kind_of_a_file_follows_from_its_name(name: str, kind: str, *, weight: bool) -> None:
    assert (filenames.is_weight(name), filenames.kind(name)) == (weight, kind)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.safetensors.partial", True),
        ("model.safetensors.tmp", True),
        ("model.gguf.incomplete", True),
        ("model.safetensors", False),
        ("config.json.tmp", False),
        (".tmp", False),
    ],
)
def test_a_partial_weight_file_is_recognised(name: str, *, expected: bool) -> None:
    assert filenames.is_unfinished_weight(name) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pytorch_model.bin", True),
        ("pytorch_model-00001-of-00002.bin", True),
        ("model.bin", True),
        ("training_args.bin", False),
        ("pytorch_model.bin.index.json", False),
        ("model.safetensors", False),
    ],
)
def test_torch_weights_are_recognised_by_name(name: str, *, expected: bool) -> None:
    assert filenames.is_torch_weight(name) is expected
