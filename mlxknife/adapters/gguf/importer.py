"""Taking over a GGUF file: fulfils ``ports.importer``."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from mlxknife.adapters.gguf import config, families, header, tokenizer, vocabulary
from mlxknife.adapters.gguf.header import Header, NotValid
from mlxknife.adapters.gguf.metadata import Metadata
from mlxknife.adapters.gguf.transfer import Transfer
from mlxknife.domain.errors import AccessDenied, StorageError

_EMBEDDING = "token_embd.weight"
_FREQUENCIES = "rope_freqs.weight"
_HEAD = "output.weight"
_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_UNSAID: Mapping[str, float] = {}


class GgufImporter:
    """Takes over models that are built as Llama is."""

    def import_gguf(self, source: str, destination: str, generation_config: Mapping[str, float] = _UNSAID) -> None:
        """See ``Importer.import_gguf``."""
        with _our_errors(), _opened(source) as file:
            found = header.read(file, os.fstat(file.fileno()).st_size)
            documents, transfer = _planned(found, file, generation_config)
            for name, document in documents.items():
                with open(os.path.join(destination, name), "x", encoding="utf-8") as written:
                    written.write(document)
            transfer.write(os.path.join(destination, "model.safetensors"))


def _planned(found: Header, file: BinaryIO, generation_config: Mapping[str, float]) -> tuple[dict[str, str], Transfer]:
    """Return the small files of a model, and what is to become of its tensors. Raises ValidationError, OSError."""
    metadata = Metadata(found.values)
    family = families.of(metadata)
    embedding = found.tensors.get(_EMBEDDING)
    if embedding is None:
        msg = f"it has no tensor {_EMBEDDING}"
        raise NotValid(msg)
    sizes = families.shape(metadata, embedding.shape[0], len(found.tensors))
    tensors = {name: tensor for name, tensor in found.tensors.items() if name != _FREQUENCIES}
    transfer = Transfer(file, tensors, families.targets(family, sizes, tensors))
    words = vocabulary.read(metadata, sizes.vocabulary)
    attention_bias, mlp_bias = families.biases(family, tensors)
    traits = config.Traits(
        dtype=transfer.dtype,
        is_tied=_HEAD not in tensors,
        has_attention_bias=attention_bias,
        has_mlp_bias=mlp_bias,
        forms=transfer.forms(),
        frequencies=_frequencies(found, file),
    )
    ids = {f"{role}_token_id": number for role, number in words.roles.items() if role != "unk"}
    documents = {
        "config.json": _json(config.config(metadata, family, sizes, traits, ids)),
        "generation_config.json": _json({**config.generation_config(ids, words.ends), **generation_config}),
        "tokenizer.json": tokenizer.tokenizer(metadata, words),
        "tokenizer_config.json": _json(tokenizer.settings(metadata, words, metadata.needed("context_length"))),
        "README.md": _card(metadata),
    }
    return documents, transfer


def _frequencies(found: Header, file: BinaryIO) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
    """Return what the rotary frequencies are divided by, where a file says so."""
    tensor = found.tensors.get(_FREQUENCIES)
    if tensor is None:
        return None
    if tensor.form.name != "F32" or len(tensor.shape) != 1:
        msg = "its rotary frequencies are no list of numbers"
        raise NotValid(msg)
    file.seek(tensor.offset)
    return np.frombuffer(file.read(tensor.size_bytes), dtype="<f4")


def _card(metadata: Metadata) -> str:
    """Return a model card with the licence, which goes with the weights wherever they go."""
    lines = ["---", "library_name: mlx", "pipeline_tag: text-generation"]
    license_name = metadata.text("general.license")
    if license_name is not None and _PLAIN.fullmatch(license_name):
        lines.append(f"license: {license_name}")
    lines += ["---", "", "Taken over from a GGUF file by mlxk, for mlx-lm.", ""]
    return "\n".join(lines)


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a file that a stranger may have made; a pipe in its place does not block."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        msg = "it is no plain file"
        raise NotValid(msg)
    with os.fdopen(handle, "rb") as file:
        yield file


@contextmanager
def _our_errors() -> Iterator[None]:
    """Turn what the filesystem says into errors of the contract."""
    try:
        yield
    except PermissionError as exc:
        msg = f"Permission denied: {exc.filename}"
        raise AccessDenied(msg) from exc
    except OSError as exc:
        msg = f"The GGUF file could not be taken over: {exc.strerror}"
        raise StorageError(msg) from exc
    except UnicodeEncodeError as exc:  # half a character, which no JSON file holds
        msg = "a text is not UTF-8"
        raise NotValid(msg) from exc
