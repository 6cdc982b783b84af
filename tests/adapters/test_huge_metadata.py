"""Metadata that is huge, or has very many values: it is damage and is not decoded, and the other models are listed.

The real files that come closest to the limits are accepted.
"""

from __future__ import annotations

import msgspec
import pytest

from tests.adapters.stage import GOOD, SICK, Stage
from tests.builder import chat_files, json_bytes, raw_safetensors

_MB = 10**6
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
        "config.json has more than 262144 strings, lists and objects",
    ),
    "many texts": ("tokenizer_config.json", _filled(b'""', 3 * _MB), "more than 262144 strings, lists and objects"),
    "many numbers": ("config.json", _filled(b"1", 3 * _MB), "config.json has more than 524288 values"),
    "a large header": ("model.safetensors", _header(9 * _MB), "is too large"),
    "many tensors": ("model.safetensors", _header(6 * _MB), "header has more than 262144 strings, lists and objects"),
    "many empty tensors": (
        "model.safetensors",
        _header(1_200_000, b"{}"),
        "header has more than 65536 strings, lists and objects",
    ),
    "many added tokens": (
        "tokenizer.json",
        b'{"added_tokens":[%b],"model":{"vocab":{}}}' % b",".join([b'{"id":1}'] * 150_000),
        "is not a tokenizer: added_tokens has more than 262144 strings, lists and objects",
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
    content = b"{}" + b" " * (50 * _MB)
    stage.model(chat_files() | {"added_tokens.json": content, "vocab.json": content})
    assert "is too large" in (stage.only().reason or "")


def test_the_largest_real_files_are_accepted(stage: Stage) -> None:
    """Gemma has a tokenizer of 33 MB and 6,400 added tokens, a classifier 21,843 labels."""
    labels = {str(number): f"label {number}" for number in range(21_843)}
    added = {
        str(number): {"content": f"<unused{number}>", "lstrip": False, "normalized": False, "special": True}
        for number in range(6_400)
    }
    files = chat_files(id2label=labels, label2id={text: int(number) for number, text in labels.items()})
    files["tokenizer_config.json"] = json_bytes({"added_tokens_decoder": added})
    files["tokenizer.json"] = (
        json_bytes({"added_tokens": [], "model": {"vocab": {"a": 0}}})[:-1] + b" " * (33 * _MB) + b"}"
    )
    files["model.safetensors"] = _header(1_900_000)  # 31,000 tensors: as many as a mixture of experts has
    stage.model(files)
    model = stage.only()
    assert (model.integrity.healthy, model.reason) == (True, None)
