"""Converting the tensors of a GGUF file into a safetensors file, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from mlxknife.adapters.gguf import quantization
from mlxknife.adapters.gguf.architectures import TensorMapping
from mlxknife.adapters.gguf.header import InvalidGguf, TensorInfo
from mlxknife.adapters.gguf.quantization import BITS, FLOATS, GROUP_SIZE, Array, Raw
from mlxknife.adapters.gguf.safetensors_writer import SafetensorsWriter, TensorSpec
from mlxknife.domain.errors import ValidationError

_MAX_WEIGHTS = 8 * 1024 * 1024
"""The number of weights that are in memory at a time."""
_NAMED_AT_MOST = 3
_WEIGHT = ".weight"


class TensorConversion:
    """Converts tensors to the names, order and types that mlx-lm loads."""

    def __init__(
        self, file: BinaryIO, tensors: Mapping[str, TensorInfo], mappings: Mapping[str, TensorMapping]
    ) -> None:
        """Take an open file, its tensors, and what they become.

        Raises InvalidGguf when a tensor is missing or has a wrong shape, ValidationError for tensors or types that are
        not supported.
        """
        _check(tensors, mappings)
        self._file = file
        self._pairs = [(tensors[name], mapping) for name, mapping in mappings.items()]
        self.dtype = _dtype([tensor for tensor, _ in self._pairs])
        """The float type that the model computes in."""

    def quantized_modules(self) -> dict[str, str]:
        """Return the ggml type of every quantised module, by its name in mlx-lm."""
        return {
            mapping.name.removesuffix(_WEIGHT): tensor.type.name
            for tensor, mapping in self._pairs
            if tensor.type.name in BITS
        }

    def write(self, path: str) -> None:
        """Write all tensors to a new safetensors file. Raises ValidationError, OSError."""
        specs = {name: spec for tensor, mapping in self._pairs for name, spec in self._specs(tensor, mapping)}
        with SafetensorsWriter(path, specs) as writer:
            for tensor, mapping in self._pairs:
                for raw in self._rows(tensor, mapping):
                    for name, array in self._converted(tensor, mapping, raw):
                        writer.append(name, array)

    def _float_dtype(self, tensor: TensorInfo) -> str:
        """Return the dtype of a tensor without packed weights: a float matrix keeps its own, all others get ours."""
        return tensor.type.name if tensor.type.name in FLOATS and len(tensor.shape) > 1 else self.dtype

    def _specs(self, tensor: TensorInfo, mapping: TensorMapping) -> Iterator[tuple[str, TensorSpec]]:
        if tensor.type.name not in BITS:
            yield mapping.name, TensorSpec(self._float_dtype(tensor), tensor.shape)
            return
        rows, columns = tensor.shape
        module = mapping.name.removesuffix(_WEIGHT)
        yield mapping.name, TensorSpec("U32", (rows, columns * BITS[tensor.type.name] // 32))
        yield f"{module}.scales", TensorSpec("F16", (rows, columns // GROUP_SIZE))
        yield f"{module}.biases", TensorSpec("F16", (rows, columns // GROUP_SIZE))

    def _converted(self, tensor: TensorInfo, mapping: TensorMapping, raw: Raw) -> Iterator[tuple[str, Array]]:
        if tensor.type.name not in BITS:
            yield (
                mapping.name,
                quantization.to_floats(tensor.name, tensor.type.name, raw, self._float_dtype(tensor)),
            )
            return
        packed = quantization.repack(tensor.type.name, raw, tensor.type.type_size)
        module = mapping.name.removesuffix(_WEIGHT)
        yield mapping.name, packed.weight
        yield f"{module}.scales", packed.scales
        yield f"{module}.biases", packed.biases

    def _rows(self, tensor: TensorInfo, mapping: TensorMapping) -> Iterator[Raw]:
        """Yield the raw rows of a tensor in the order of mlx-lm, several at a time; a vector has rows of one number."""
        rows, columns = tensor.shape if len(tensor.shape) > 1 else (tensor.shape[0], 1)
        row_bytes = tensor.size_bytes // rows
        # Rows change places only within a head, so every part holds whole heads.
        unit = mapping.interleaved_head_dim or 1
        at_once = max(_MAX_WEIGHTS // columns // unit, 1) * unit
        self._file.seek(tensor.offset)
        for start in range(0, rows, at_once):
            count = min(at_once, rows - start)
            data = self._file.read(count * row_bytes)
            if len(data) != count * row_bytes:
                msg = f"tensor {tensor.name!a} is cut off"
                raise InvalidGguf(msg)
            raw = np.frombuffer(data, dtype=np.uint8).reshape(count, row_bytes)
            yield raw if mapping.interleaved_head_dim is None else _deinterleaved(raw, mapping.interleaved_head_dim)


def _deinterleaved(raw: Raw, head_dim: int) -> Raw:
    """Put the first rows of all rotary pairs of a head before the second ones."""
    pairs = raw.reshape(-1, head_dim // 2, 2, raw.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(raw.shape)


def _dtype(tensors: list[TensorInfo]) -> str:
    """Return the float type that a model computes in: that of its matrices, F16 where they are quantised."""
    types = {tensor.type.name for tensor in tensors if len(tensor.shape) > 1}
    if types <= {"F32"}:
        return "F32"
    return "BF16" if types <= {"BF16", "F32"} else "F16"


def _check(tensors: Mapping[str, TensorInfo], mappings: Mapping[str, TensorMapping]) -> None:
    missing = [name for name in mappings if name not in tensors]
    if missing:
        msg = f"tensors are missing: {_listed(missing)}"
        raise InvalidGguf(msg)
    surplus = [name for name in tensors if name not in mappings]
    if surplus:
        msg = f"The model has tensors that cannot be imported from GGUF: {_listed(surplus)}"
        raise ValidationError(msg)
    for name, mapping in mappings.items():
        if tensors[name].shape != mapping.shape:
            msg = f"tensor {name!a} has the shape {list(tensors[name].shape)}, not {list(mapping.shape)}"
            raise InvalidGguf(msg)
    quantized = {name: tensor.type.name for name, tensor in tensors.items() if tensor.type.name not in FLOATS}
    vectors = [name for name in quantized if len(tensors[name].shape) == 1]
    if vectors:
        msg = f"Quantised vectors are not supported: {_listed(vectors)}"
        raise ValidationError(msg)
    unknown = set(quantized.values()) - BITS.keys()
    if unknown and not quantization.has_gguf_package():
        raise quantization.unsupported(unknown)


def _listed(names: list[str]) -> str:
    few = ", ".join(f"{name!a}" for name in names[:_NAMED_AT_MOST])
    return few if len(names) <= _NAMED_AT_MOST else f"{few} and {len(names) - _NAMED_AT_MOST} more"
