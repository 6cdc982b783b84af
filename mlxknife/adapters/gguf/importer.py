"""The GGUF importer."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from mlxknife.adapters.gguf import architectures, config, header, tokenizer, vocabulary
from mlxknife.adapters.gguf.conversion import TensorConversion
from mlxknife.adapters.gguf.header import GgufHeader, InvalidGguf
from mlxknife.adapters.gguf.metadata import GgufMetadata
from mlxknife.domain.filesystem_errors import map_filesystem_errors

_EMBEDDING = "token_embd.weight"
_ROPE_DIVISORS = "rope_freqs.weight"
_OUTPUT_HEAD = "output.weight"
_LICENSE = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_NO_DEFAULTS: Mapping[str, float] = {}


class GgufImporter:
    """Imports models of the Llama, Qwen2 and Qwen3 architectures."""

    def import_gguf(self, source: str, destination: str, generation_config: Mapping[str, float] = _NO_DEFAULTS) -> None:
        """See ``Importer.import_gguf``."""
        with _mapped_errors(), _opened(source) as file:
            found = header.read(file, os.fstat(file.fileno()).st_size)
            documents, conversion = _planned(found, file, generation_config)
            for name, document in documents.items():
                with open(os.path.join(destination, name), "x", encoding="utf-8") as written:
                    written.write(document)
            conversion.write(os.path.join(destination, "model.safetensors"))


def _planned(
    found: GgufHeader, file: BinaryIO, generation_config: Mapping[str, float]
) -> tuple[dict[str, str], TensorConversion]:
    """Return the text files of the model and the conversion of its tensors. Raises ValidationError, OSError."""
    metadata = GgufMetadata(found.values)
    architecture = architectures.find(metadata)
    embedding = found.tensors.get(_EMBEDDING)
    if embedding is None:
        msg = f"it has no tensor {_EMBEDDING}"
        raise InvalidGguf(msg)
    sizes = architectures.dimensions(metadata, embedding.shape[0], len(found.tensors))
    tensors = {name: tensor for name, tensor in found.tensors.items() if name != _ROPE_DIVISORS}
    mappings = architectures.tensor_mappings(architecture, sizes, tensors)
    conversion = TensorConversion(file, tensors, mappings)
    tokens = vocabulary.read(metadata, sizes.vocabulary)
    has_attention_bias, has_mlp_bias = architectures.declared_biases(architecture, tensors)
    traits = config.WeightTraits(
        dtype=conversion.dtype,
        is_tied=_OUTPUT_HEAD not in tensors,
        has_attention_bias=has_attention_bias,
        has_mlp_bias=has_mlp_bias,
        quantized_modules=conversion.quantized_modules(),
        rope_divisors=_rope_divisors(found, file),
    )
    ids = {f"{role}_token_id": number for role, number in tokens.special_ids.items() if role != "unk"}
    context_length = metadata.required_integer("context_length")
    documents = {
        "config.json": _json(config.model_config(metadata, architecture, sizes, traits, ids)),
        "generation_config.json": _json({**config.generation_config(ids, tokens.end_ids), **generation_config}),
        "tokenizer.json": tokenizer.tokenizer_json(metadata, tokens),
        "tokenizer_config.json": _json(tokenizer.tokenizer_config(metadata, tokens, context_length)),
        "README.md": _model_card(metadata),
    }
    return documents, conversion


def _rope_divisors(found: GgufHeader, file: BinaryIO) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
    """Return the divisors of the rotary frequencies, or None for a model without them."""
    tensor = found.tensors.get(_ROPE_DIVISORS)
    if tensor is None:
        return None
    if tensor.type.name != "F32" or len(tensor.shape) != 1:
        msg = f"{_ROPE_DIVISORS} is not a vector of float32"
        raise InvalidGguf(msg)
    file.seek(tensor.offset)
    return np.frombuffer(file.read(tensor.size_bytes), dtype="<f4")


def _model_card(metadata: GgufMetadata) -> str:
    """Return a model card with the licence, which must stay with the weights."""
    lines = ["---", "library_name: mlx", "pipeline_tag: text-generation"]
    license_name = metadata.string("general.license")
    if license_name is not None and _LICENSE.fullmatch(license_name):
        lines.append(f"license: {license_name}")
    lines += ["---", "", "Imported from a GGUF file by mlxk, for mlx-lm.", ""]
    return "\n".join(lines)


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open an untrusted file; a pipe in its place does not block."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        msg = "it is not a regular file"
        raise InvalidGguf(msg)
    with os.fdopen(handle, "rb") as file:
        yield file


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Map errors of the filesystem, and a string that no JSON file can hold, to errors of the contract."""
    with map_filesystem_errors("The GGUF file could not be imported"):
        try:
            yield
        except UnicodeEncodeError as exc:  # a lone surrogate
            msg = "a string is not UTF-8"
            raise InvalidGguf(msg) from exc
