"""Memory: what a model needs, estimated from its weight headers and its config, and which CPU profile fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import attrs

from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.models.values.snapshot import SnapshotFacts

_PACKED = "U32"
_HALVES = ("F16", "BF16")
_SCALES = ".scales"
_OVERHEAD = 1.1
"""The factor for what the runtime allocates beside the weights."""
_TOKENS = 4096
"""The length of the KV cache that the estimate includes where no context window is given."""


PROFILES = ("fast", "compact", "as-is")
"""Which weights a CPU profile converts to float32: all of them, dequantised; the 16-bit ones; none."""


@attrs.frozen
class MemoryNeed:
    """The bytes that a model needs: as stored, with 16-bit weights as float32, and with all weights as float32."""

    least: int
    widened: int
    unpacked: int

    def __add__(self, other: MemoryNeed) -> MemoryNeed:
        """Return the need of both models."""
        return MemoryNeed(self.least + other.least, self.widened + other.widened, self.unpacked + other.unpacked)

    def of(self, profile: str) -> int:
        """Return the need under a CPU profile."""
        return {"fast": self.unpacked, "compact": self.widened}.get(profile, self.least)


def needed(facts: SnapshotFacts, window: int | None = None) -> MemoryNeed:
    """Return what a model needs with a KV cache of ``window`` tokens; zero where its files declare nothing."""
    tensors = {name: tensor for head in facts.weights.values() for name, tensor in head.tensors.items()}
    stored = sum(head.data_size for head in facts.weights.values())
    bits = _bits(facts)
    halves = sum(2 * prod(tensor.shape) for tensor in tensors.values() if tensor.dtype in _HALVES)
    count = 0
    for name, tensor in tensors.items():
        if name.endswith((_SCALES, ".biases")) and f"{name.rpartition('.')[0]}.weight" in tensors:
            continue
        is_packed = tensor.dtype == _PACKED and f"{name.rpartition('.')[0]}{_SCALES}" in tensors
        count += prod(tensor.shape) * 32 // (bits if is_packed else 32)
    kv_numbers = _kv_numbers_per_token(facts.json_object(filenames.CONFIG)) * (window or _TOKENS)
    return MemoryNeed(
        least=int(stored * _OVERHEAD) + 2 * kv_numbers,
        widened=int((stored + halves) * _OVERHEAD) + 4 * kv_numbers,
        unpacked=int(4 * count * _OVERHEAD) + 4 * kv_numbers,
    )


def profile(need: MemoryNeed, free: int | None) -> str:
    """Return the default CPU profile: the fastest that fits into ``free`` bytes with a margin."""
    if free is None or 2 * need.unpacked <= free:
        return "fast"
    return "compact" if need.widened <= free else "as-is"


def taken(need: MemoryNeed, free: int | None, chosen: str | None, *, has_gpu: bool) -> int:
    """Return the bytes that a model will take with ``free`` bytes; ``chosen`` is the profile that the user set."""
    if has_gpu:
        return need.least
    return need.of(chosen or profile(need, free))


def total_size(sizes: Iterable[int], free: int) -> int:
    """Return the bytes that models take at the same time; one that exceeds ``free`` alone is refused, so takes none."""
    return sum(size for size in sizes if size <= free)


def _kv_numbers_per_token(config: Mapping[str, object]) -> int:
    """Return the numbers that the KV cache holds for a token: a key and a value for each head of each layer."""
    text = config.get("text_config")
    config = text if isinstance(text, Mapping) else config
    layers, heads, width = (
        configs.positive_int(config.get(key)) or 0
        for key in ("num_hidden_layers", "num_attention_heads", "hidden_size")
    )
    kv_heads = configs.positive_int(config.get("num_key_value_heads")) or heads
    head_size = configs.positive_int(config.get("head_dim")) or (width // heads if heads else 0)
    return 2 * layers * kv_heads * head_size


def _bits(facts: SnapshotFacts) -> int:
    config = facts.json_object(filenames.CONFIG)
    for key in ("quantization", "quantization_config"):
        declared = config.get(key)
        bits = configs.positive_int(declared.get("bits")) if isinstance(declared, dict) else None
        if bits is not None and bits <= 32:  # noqa: PLR2004 - the bits of a U32
            return bits
    return 4
