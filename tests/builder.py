"""Builds models, caches and workspaces on a real disk, in every layout that huggingface_hub knows."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from enum import Enum
from math import prod
from pathlib import Path

import attrs

Files = dict[str, bytes]

_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "I64": 8, "U8": 1}
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def json_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


TOKENIZER = b'{"added_tokens":[],"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}\n'
"""The smallest tokenizer.json that the library reads."""


def safetensors(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]] | None = None, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a whole safetensors file with zeros for weights."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape) in (tensors or {"w": ("F16", (4, 8))}).items():
        start, end = end, end + prod(shape) * _BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    return raw_safetensors(json_bytes(header), bytes(end))


def raw_safetensors(header: bytes, data: bytes, *, declared: int | None = None) -> bytes:
    """Return a safetensors file with any header at all; ``declared`` lies about its length."""
    return struct.pack("<Q", len(header) if declared is None else declared) + header + data


def chat_files(*, card: bool = False, quantized: bool = True, model_type: str = "llama", **config: object) -> Files:
    """Return the files of a small chat model in MLX's format; the salt makes its bytes its own."""
    settings: dict[str, object] = {
        "model_type": model_type,
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 1000,
        "max_position_embeddings": 2048,
    }
    if quantized:
        settings["quantization"] = {"group_size": 64, "bits": 4}
    files = {
        "config.json": json_bytes(settings | config),
        "tokenizer.json": TOKENIZER,
        "tokenizer_config.json": json_bytes({"chat_template": TEMPLATE}),
        "special_tokens_map.json": json_bytes({"eos_token": "</s>"}),
        "model.safetensors": safetensors({"model.embed_tokens.weight": ("F16", (8, 4)), "norm": ("F32", (4,))}),
    }
    if card:
        files["README.md"] = b"---\nlibrary_name: mlx\nlicense: apache-2.0\nbase_model: org/base\n---\n# A model\n"
    return files


def sharded_files(count: int = 3) -> Files:
    """Return a chat model whose weights are in several shards with an index."""
    files = chat_files()
    del files["model.safetensors"]
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    files |= {name: safetensors({f"layer{number}": ("F16", (2, number + 1))}) for number, name in enumerate(names)}
    weight_map = {f"layer{number}": name for number, name in enumerate(names)}
    files["model.safetensors.index.json"] = json_bytes({"metadata": {}, "weight_map": weight_map})
    return files


def embedding_files() -> Files:
    """Return a BERT encoder without any MLX marker."""
    return {
        "config.json": json_bytes({"model_type": "bert", "architectures": ["BertModel"]}),
        "sentence_bert_config.json": json_bytes({"max_seq_length": 256}),
        "modules.json": json_bytes([{"idx": 0, "type": "sentence_transformers.models.Transformer"}]),
        "1_Pooling/config.json": json_bytes({"pooling_mode_mean_tokens": True}),
        "vocab.txt": b"[PAD]\n[UNK]\n",
        "tokenizer.json": TOKENIZER,
        "model.safetensors": safetensors({"embeddings": ("F32", (2, 2))}, {"format": "pt"}),
    }


def vision_files() -> Files:
    """Return a chat model that takes images."""
    files = chat_files(model_type="qwen2_vl", vision_config={"depth": 2})
    files["preprocessor_config.json"] = json_bytes({"image_processor_type": "Qwen2VLImageProcessor"})
    return files


def gguf_files() -> Files:
    return {"tiny-chat.Q4_K_M.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(64)}


def pytorch_files() -> Files:
    files = chat_files(quantized=False)
    del files["model.safetensors"]
    return files | {"pytorch_model.bin": b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18)}


def speech_files() -> Files:
    return {"config.json": json_bytes({"model_type": "whisper"}), "weights.npz": b"PK\x03\x04PK\x05\x06" + bytes(18)}


class Layout(Enum):
    """How huggingface_hub puts the files of a snapshot on the disk."""

    LINKS = "links to blobs"
    SHARED = "weights through the shared Xet store"
    PLAIN = "plain files, where links are impossible"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def commit_of(text: str) -> str:
    """Return a hash that looks like a commit and is always the same for a text."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@attrs.frozen
class BuiltModel:
    """A model on the disk, with the handles that a test needs to damage it."""

    name: str
    repo: Path
    snapshot: Path
    commit: str

    def blob(self, file: str) -> Path:
        """Return the first place that a file's link leads to."""
        link = self.snapshot / file
        return link.parent / link.readlink() if link.is_symlink() else link

    def ref(self, name: str = "main") -> Path:
        return self.repo / "refs" / name


@attrs.frozen
class CacheBuilder:
    """Writes models into a cache folder as huggingface_hub would."""

    root: Path

    def model(
        self,
        name: str,
        files: Files | None = None,
        *,
        layout: Layout = Layout.LINKS,
        commit: str | None = None,
        ref: str | None = "main",
    ) -> BuiltModel:
        """Write one snapshot of a model, in a repo that may be there already."""
        commit = commit or commit_of(name)
        repo = self.root / f"models--{name.replace('/', '--')}"
        built = BuiltModel(name=name, repo=repo, snapshot=repo / "snapshots" / commit, commit=commit)
        built.snapshot.mkdir(parents=True, exist_ok=True)
        for file, data in (chat_files() if files is None else files).items():
            self._file(built, file, data, layout)
        if ref is not None:
            built.ref(ref).parent.mkdir(parents=True, exist_ok=True)
            built.ref(ref).write_text(commit)
        return built

    def _file(self, built: BuiltModel, file: str, data: bytes, layout: Layout) -> None:
        path = built.snapshot / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if layout is Layout.PLAIN:
            path.write_bytes(data)
            return
        is_large = file.endswith((".safetensors", ".gguf", ".bin"))
        blob = built.repo / "blobs" / (sha256(data) if is_large else git_sha1(data))
        blob.parent.mkdir(exist_ok=True)
        if not blob.is_symlink() and not blob.exists():
            if layout is Layout.SHARED and is_large:
                self._share(blob, data)
            else:
                blob.write_bytes(data)
        up = "../" * (file.count("/") + 2)
        path.symlink_to(f"{up}blobs/{blob.name}")

    def _share(self, blob: Path, data: bytes) -> None:
        xet = sha256(b"xet" + data)
        stored = self.root / "blobs" / xet[:2] / xet
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(data)
        (self.root / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
        blob.symlink_to(f"../../blobs/{xet[:2]}/{xet}")


def write_workspace(folder: Path, files: Files | None = None) -> Path:
    """Write a model into a plain folder."""
    for file, data in (chat_files() if files is None else files).items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
