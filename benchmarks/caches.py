"""Caches for the benchmarks: many small models in the layout of huggingface_hub.

Each model has the files of a repo of mlx-community: a quantised Llama with one weight file and its index. Vocabulary
and weights are reduced to tens of kilobytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from math import prod
from pathlib import Path

_LAYERS = 4
_HIDDEN = 32
_VOCABULARY = 700
_MERGES = 300
_WIDTHS = {"U32": 4, "BF16": 2}
_LARGE = (".safetensors", "tokenizer.json")
"""Files that the Hub keeps in LFS, and the cache under their SHA-256."""

_PROJECTIONS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down")
_TEMPLATE = """\
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}{%- set rest = messages[1:] %}
{%- else %}{%- set system = 'You are a helpful assistant.' %}{%- set rest = messages %}{%- endif %}
{{- '<|im_start|>system\\n' + system }}
{%- if tools %}{{- '\\n\\n# Tools\\n' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in rest %}
{%- if message['role'] not in ['user', 'assistant', 'tool'] %}{{- raise_exception('unknown role') }}{%- endif %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
_ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in ("*.bin", "*.gguf", "*.npz", "*.pt", "*.pth", "*.safetensors", "*.zip", "tokenizer.json")
)
_CARD = """\
---
language:
- en
license: llama3.2
library_name: mlx
pipeline_tag: text-generation
base_model: meta-llama/{name}
tags:
- facebook
- llama
- mlx
---

# mlx-community/{name}-4bit

This model was converted to MLX format from `meta-llama/{name}`.
"""


def make_cache(home: Path, count: int) -> None:
    """Fill ``home/hub`` with healthy models."""
    common = _common_files()
    for number in range(count):
        name = f"Llama-3.2-{number:04d}-Instruct"
        files = common | {"README.md": _CARD.format(name=name).encode()}
        _write_repo(home / "hub" / f"models--mlx-community--{name}-4bit", files)


def _write_repo(repo: Path, files: dict[str, bytes]) -> None:
    commit = hashlib.sha1(repo.name.encode(), usedforsecurity=False).hexdigest()
    snapshot = repo / "snapshots" / commit
    for folder in (repo / "blobs", repo / "refs", snapshot):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    for name, data in files.items():
        blob = _blob_name(name, data)
        (repo / "blobs" / blob).write_bytes(data)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")


def _blob_name(name: str, data: bytes) -> str:
    if name.endswith(_LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _common_files() -> dict[str, bytes]:
    halves = ["\u0120to", *(f"ken{number}" for number in range(_MERGES))]
    whole = [f"\u0120token{number}" for number in range(_VOCABULARY - len(halves))]
    vocabulary = {token: number for number, token in enumerate((*halves, *whole))}
    merges = [f"\u0120to ken{number}" for number in range(_MERGES)]
    special = {"<|begin_of_text|>": _VOCABULARY, "<|im_start|>": _VOCABULARY + 1, "<|im_end|>": _VOCABULARY + 2}
    tensors = _tensors()
    return {
        ".gitattributes": _ATTRIBUTES.encode(),
        "config.json": _json(_config(_VOCABULARY + len(special))),
        "generation_config.json": _json({"do_sample": True, "temperature": 0.6, "top_p": 0.9}),
        "tokenizer.json": _json(_tokenizer(vocabulary, merges, special)),
        "tokenizer_config.json": _json(_tokenizer_config(special)),
        "special_tokens_map.json": _json({"bos_token": "<|begin_of_text|>", "eos_token": "<|im_end|>"}),
        "added_tokens.json": _json(special),
        "vocab.json": _json(vocabulary),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]).encode(),
        "model.safetensors": _safetensors(tensors),
        "model.safetensors.index.json": _json(
            {
                "metadata": {"total_size": sum(map(_size, tensors.values()))},
                "weight_map": dict.fromkeys(sorted(tensors), "model.safetensors"),
            }
        ),
    }


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def _config(vocabulary: int) -> dict[str, object]:
    quantization = {"group_size": 32, "bits": 4}
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": _VOCABULARY,
        "eos_token_id": [_VOCABULARY + 2],
        "head_dim": 8,
        "hidden_act": "silu",
        "hidden_size": _HIDDEN,
        "intermediate_size": _HIDDEN,
        "max_position_embeddings": 131072,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": _LAYERS,
        "num_key_value_heads": 4,
        "quantization": quantization,
        "quantization_config": quantization,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 32.0, "rope_type": "llama3", "original_max_position_embeddings": 8192},
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": vocabulary,
    }


def _tokenizer(vocabulary: dict[str, int], merges: list[str], special: dict[str, int]) -> dict[str, object]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(number, token) for token, number in special.items()],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }


def _added_token(number: int, token: str) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **flags, "special": True}


def _tokenizer_config(special: dict[str, int]) -> dict[str, object]:
    return {
        "added_tokens_decoder": {str(number): {"content": token, "special": True} for token, number in special.items()},
        "bos_token": "<|begin_of_text|>",
        "chat_template": _TEMPLATE,
        "clean_up_tokenization_spaces": True,
        "eos_token": "<|im_end|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


_Shape = tuple[str, tuple[int, ...]]


def _tensors() -> dict[str, _Shape]:
    """Return the 96 tensors of a quantised Llama with four layers."""
    tensors = _quantized("model.embed_tokens", _VOCABULARY) | {"model.norm.weight": ("BF16", (_HIDDEN,))}
    for layer in range(_LAYERS):
        prefix = f"model.layers.{layer}"
        for projection in _PROJECTIONS:
            tensors |= _quantized(f"{prefix}.{projection}_proj", _HIDDEN)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}.{norm}.weight"] = ("BF16", (_HIDDEN,))
    return tensors


def _quantized(name: str, rows: int) -> dict[str, _Shape]:
    return {
        f"{name}.biases": ("BF16", (rows, 1)),
        f"{name}.scales": ("BF16", (rows, 1)),
        f"{name}.weight": ("U32", (rows, _HIDDEN // 8)),
    }


def _size(tensor: _Shape) -> int:
    return prod(tensor[1]) * _WIDTHS[tensor[0]]


def _safetensors(tensors: dict[str, _Shape]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + _size(tensor)
        header[name] = {"dtype": tensor[0], "shape": tensor[1], "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(end)
