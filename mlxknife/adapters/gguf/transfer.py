"""The tensors of a GGUF file on their way into a safetensors file, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from mlxknife.adapters.gguf import blocks
from mlxknife.adapters.gguf.blocks import BITS, FLOATS, GROUP, Array, Raw
from mlxknife.adapters.gguf.families import Target
from mlxknife.adapters.gguf.header import NotValid, Tensor
from mlxknife.adapters.gguf.tensor_file import Piece, TensorFile
from mlxknife.domain.errors import ValidationError

_AT_ONCE = 8 * 1024 * 1024
"""How many weights are in memory at a time."""
_FEW = 3
_WEIGHT = ".weight"


class Transfer:
    """Moves tensors to where mlx-lm looks for them, in the form that MLX has for them."""

    def __init__(self, file: BinaryIO, tensors: Mapping[str, Tensor], targets: Mapping[str, Target]) -> None:
        """Take an open file, what is in it, and what is to become of it.

        Raises NotValid when the two do not go together, ValidationError for forms that nobody here can read.
        """
        self._file = file
        self._moves = [(tensors[name], target) for name, target in targets.items() if name in tensors]
        _check(tensors, targets)
        self.dtype = _dtype([tensor for tensor, _ in self._moves])
        """The form that the model computes in."""

    def forms(self) -> dict[str, str]:
        """Return the repacked forms, by the module in mlx-lm that has them."""
        return {
            target.name.removesuffix(_WEIGHT): tensor.form.name
            for tensor, target in self._moves
            if tensor.form.name in BITS
        }

    def write(self, path: str) -> None:
        """Write all tensors. Raises ValidationError, OSError."""
        layout = {name: piece for tensor, target in self._moves for name, piece in self._pieces(tensor, target)}
        with TensorFile(path, layout) as written:
            for tensor, target in self._moves:
                for raw in self._rows(tensor, target):
                    for name, numbers in self._converted(tensor, target, raw):
                        written.append(name, numbers)

    def _form(self, tensor: Tensor) -> str:
        """Return the float form that a tensor gets: vectors and what was dequantised take that of the model."""
        return tensor.form.name if tensor.form.name in FLOATS and len(tensor.shape) > 1 else self.dtype

    def _pieces(self, tensor: Tensor, target: Target) -> Iterator[tuple[str, Piece]]:
        if tensor.form.name not in BITS:
            yield target.name, Piece(self._form(tensor), tensor.shape)
            return
        rows, columns = tensor.shape
        module = target.name.removesuffix(_WEIGHT)
        yield target.name, Piece("U32", (rows, columns * BITS[tensor.form.name] // 32))
        yield f"{module}.scales", Piece("F16", (rows, columns // GROUP))
        yield f"{module}.biases", Piece("F16", (rows, columns // GROUP))

    def _converted(self, tensor: Tensor, target: Target, raw: Raw) -> Iterator[tuple[str, Array]]:
        if tensor.form.name not in BITS:
            yield target.name, blocks.as_floats(tensor.name, tensor.form.name, raw, self._form(tensor))
            return
        packed = blocks.repack(tensor.form.name, raw, tensor.form.size_bytes)
        module = target.name.removesuffix(_WEIGHT)
        yield target.name, packed.weight
        yield f"{module}.scales", packed.scales
        yield f"{module}.biases", packed.biases

    def _rows(self, tensor: Tensor, target: Target) -> Iterator[Raw]:
        """Yield the raw rows of a tensor in the order of mlx-lm, several at a time; a number of a vector is a row."""
        rows, columns = tensor.shape if len(tensor.shape) > 1 else (tensor.shape[0], 1)
        row_bytes = tensor.size_bytes // rows
        # Rows change places only inside of a head, so a whole number of heads is moved at a time.
        unit = target.paired_rows or 1
        at_once = max(_AT_ONCE // columns // unit, 1) * unit
        self._file.seek(tensor.offset)
        for start in range(0, rows, at_once):
            count = min(at_once, rows - start)
            data = self._file.read(count * row_bytes)
            if len(data) != count * row_bytes:
                msg = f"tensor {tensor.name!a} is cut off"
                raise NotValid(msg)
            raw = np.frombuffer(data, dtype=np.uint8).reshape(count, row_bytes)
            yield raw if target.paired_rows is None else _parted(raw, target.paired_rows)


def _parted(raw: Raw, head: int) -> Raw:
    """Put the first rows of all rotary pairs of a head before the second ones."""
    pairs = raw.reshape(-1, head // 2, 2, raw.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(raw.shape)


def _dtype(tensors: list[Tensor]) -> str:
    """Return the form that a model computes in: what its matrices have, and 16 bits where they are quantised."""
    forms = {tensor.form.name for tensor in tensors if len(tensor.shape) > 1}
    if forms <= {"F32"}:
        return "F32"
    return "BF16" if forms <= {"BF16", "F32"} else "F16"


def _check(tensors: Mapping[str, Tensor], targets: Mapping[str, Target]) -> None:
    missing = [name for name in targets if name not in tensors]
    if missing:
        msg = f"tensors are missing: {_named(missing)}"
        raise NotValid(msg)
    surplus = [name for name in tensors if name not in targets]
    if surplus:
        msg = f"The model has tensors that cannot be taken over from GGUF: {_named(surplus)}"
        raise ValidationError(msg)
    for name, target in targets.items():
        if tensors[name].shape != target.shape:
            msg = f"tensor {name!a} has the shape {list(tensors[name].shape)}, not {list(target.shape)}"
            raise NotValid(msg)
    others = {name: tensor.form.name for name, tensor in tensors.items() if tensor.form.name not in FLOATS}
    vectors = [name for name in others if len(tensors[name].shape) == 1]
    if vectors:
        msg = f"The model has vectors that are quantised: {_named(vectors)}"
        raise ValidationError(msg)
    unknown = set(others.values()) - BITS.keys()
    if unknown and not blocks.knows_others():
        raise blocks.cannot_read(unknown)


def _named(names: list[str]) -> str:
    few = ", ".join(f"{name!a}" for name in names[:_FEW])
    return few if len(names) <= _FEW else f"{few} and {len(names) - _FEW} more"
