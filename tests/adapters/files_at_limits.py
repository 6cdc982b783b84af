"""Files of models that are as large, and have as many values, as the limits allow. Each is accepted.

They are the slowest to read that are known. For the limits see docs/pull-and-verify.md.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.builder import Files, chat_files, json_bytes, raw_safetensors

MB = 10**6
TENSORS = 2**16
ADDED_TOKENS = 9 * 2**13
_COMPOUND = 3 * 2**16
_INDEX_TENSORS = 2**18 - 3
_SHARDS = 4
_NOT_ASCII = '"äö üß"'.encode()
_EMPTY = b'"dtype":"F32","shape":[0],"data_offsets":[0,0]'
_SHARD = "model.safetensors"


def config_of_lists() -> Files:
    """Return a config with as many lists as it may have."""
    return {"config.json": b'{"model_type":"llama","a":[%b]}' % b",".join([b"[]"] * (_COMPOUND - 5))}


def config_of_objects() -> Files:
    """Return a config with as many objects as it may have, and a NaN, which only the slower decoder reads."""
    objects = b",".join(b'{"%06d":1}' % number for number in range(_COMPOUND // 2 - 4))
    return {"config.json": b'{"model_type":"llama","a":[%b],"b":NaN}' % objects}


def tokenizer_config(count: int = ADDED_TOKENS) -> Files:
    """Return a tokenizer_config.json with many added tokens, in the form that transformers writes."""
    tokens = b",".join(
        b'"%d": {\n      "content": "<|s_%d|>",\n      "lstrip": false,\n      "normalized": false,\n'
        b'      "rstrip": false,\n      "single_word": false,\n      "special": false\n    }' % (number, number)
        for number in range(count)
    )
    return {"tokenizer_config.json": b'{"added_tokens_decoder": {%b}, "chat_template": "{{ 1 }}"}' % tokens}


def tokenizer_of_tokens(count: int = ADDED_TOKENS) -> Files:
    """Return a tokenizer with many added tokens."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    tokens = [{"id": number, "content": f"<|s_{number}|>"} | flags for number in range(count)]
    return {"tokenizer.json": json_bytes({"added_tokens": tokens, "model": {"vocab": {"a": 0}}})}


def tokenizer_of_merges(merge: bytes, size: int = 48 * MB) -> Files:
    """Return a tokenizer that is nearly as large as it may be."""
    start, end = b'{"added_tokens":[],"model":{"type":"BPE","vocab":{"a":0},"merges":[', b"]}}"
    count = (size - len(start) - len(end)) // (len(merge) + 1)
    return {"tokenizer.json": start + (merge + b",") * (count - 1) + merge + end}


def tokenizer_of_digits() -> Files:
    """Return a tokenizer with the most values."""
    return tokenizer_of_merges(b"1")


def tokenizer_of_letters() -> Files:
    """Return a tokenizer whose text is not ASCII."""
    return tokenizer_of_merges(_NOT_ASCII)


def index(shard: str = _SHARD) -> Files:
    """Return an index with the most entries. No shard has these tensors."""
    entry = b'"language_model.model.layers.10.mlp.experts.100.down_proj.weight_%06d":"%b"'
    entries = b",".join(entry % (number, shard.encode()) for number in range(_INDEX_TENSORS))
    return {"model.safetensors.index.json": b'{"weight_map":{%b}}' % entries}


def header(number: int = 0, count: int = TENSORS) -> bytes:
    """Return a weight file without weights, with the most tensors. The number is part of the names."""
    name = b"model.layers.%d.mlp.experts.gate_proj.weight" % number
    tensors = b",".join(b'"%b_%07d":{%b}' % (name, one, _EMPTY) for one in range(count))
    return raw_safetensors(b"{%b}" % tensors, b"")


def weights() -> Files:
    """Return a weight file with the most tensors."""
    return {_SHARD: header()}


def unusual_weights() -> Files:
    """Return a weight file for the strict parser, with the most values."""
    tensors = b",".join(b'"t%07d":{%b,"x":1}' % (one, _EMPTY) for one in range(TENSORS // 9 - 1))
    return {_SHARD: raw_safetensors(b"{%b}" % tensors, b"")}


def everything() -> Files:
    """Return a model that has a file of each kind, and as many full weight files as one model may have."""
    shards = {
        f"model-{number:05d}-of-{_SHARDS:05d}.safetensors": header(number, 65_000) for number in range(1, _SHARDS + 1)
    }
    tokenizers = tokenizer_config(2**16) | tokenizer_of_merges(_NOT_ASCII, 24 * MB)
    return config_of_objects() | tokenizers | index(next(iter(shards))) | shards


_KINDS: dict[str, Callable[[], Files]] = {
    "config.json, lists": config_of_lists,
    "config.json, objects and a NaN": config_of_objects,
    "tokenizer_config.json, 73,728 added tokens": tokenizer_config,
    "tokenizer.json, 73,728 added tokens": tokenizer_of_tokens,
    "tokenizer.json, 24 million numbers": tokenizer_of_digits,
    "tokenizer.json, not ASCII": tokenizer_of_letters,
    "index of shards, 262,141 tensors": index,
    "weight file, 65,536 tensors": weights,
    "weight file, 7,280 tensors in an unusual form": unusual_weights,
    "all of these in one model, with 4 weight files": everything,
}


def _in_a_model(files: Callable[[], Files]) -> Callable[[], Files]:
    def model() -> Files:
        small = chat_files()
        if files is everything:
            del small[_SHARD]
        return small | files()

    return model


MODELS = {name: _in_a_model(files) for name, files in _KINDS.items()}
"""The files of a model for each kind of file, and of one that has them all."""
