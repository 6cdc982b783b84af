"""Memory: what a model takes, estimated from the headers of its weights and from what it remembers of a text."""

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
"""What the runtime takes beside the weights."""
_TOKENS = 4096
"""For how many tokens there should be room where nobody said."""


PROFILES = ("fast", "compact", "as-is")
"""What becomes a float32 on a machine without GPU: everything, unquantised; only what is half a one; nothing."""


@attrs.frozen
class MemoryNeed:
    """What a model takes: as it is on the disk, with its halves widened, and with every weight as a float32."""

    least: int
    widened: int
    unpacked: int

    def __add__(self, other: MemoryNeed) -> MemoryNeed:
        """Return what both take together."""
        return MemoryNeed(self.least + other.least, self.widened + other.widened, self.unpacked + other.unpacked)

    def of(self, profile: str) -> int:
        """Return what it takes under a profile."""
        return {"fast": self.unpacked, "compact": self.widened}.get(profile, self.least)


def needed(facts: SnapshotFacts, window: int | None = None) -> MemoryNeed:
    """Return what a model takes that is to remember so many tokens; nothing where its files say nothing."""
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
    numbers = _remembered(facts.json_object(filenames.CONFIG)) * (window or _TOKENS)
    return MemoryNeed(
        least=int(stored * _OVERHEAD) + 2 * numbers,
        widened=int((stored + halves) * _OVERHEAD) + 4 * numbers,
        unpacked=int(4 * count * _OVERHEAD) + 4 * numbers,
    )


def profile(need: MemoryNeed, free: int | None) -> str:
    """Return how to use a machine without GPU where nobody said: the fastest that fits, with room to spare."""
    if free is None or 2 * need.unpacked <= free:
        return "fast"
    return "compact" if need.widened <= free else "as-is"


def taken(need: MemoryNeed, free: int | None, wanted: str | None, *, has_gpu: bool) -> int:
    """Return what a model will take where so much is free; ``wanted`` is the profile that somebody asked for."""
    if has_gpu:
        return need.least
    return need.of(wanted or profile(need, free))


def total_size(sizes: Iterable[int], free: int) -> int:
    """Return what models take at the same time; what does not even fit alone will not be loaded, and takes nothing."""
    return sum(size for size in sizes if size <= free)


def _remembered(config: Mapping[str, object]) -> int:
    """Return how many numbers a model keeps of one token: a key and a value for each head of each layer."""
    text = config.get("text_config")
    config = text if isinstance(text, Mapping) else config
    layers, heads, width = (
        configs.positive_int(config.get(key)) or 0
        for key in ("num_hidden_layers", "num_attention_heads", "hidden_size")
    )
    heads_kept = configs.positive_int(config.get("num_key_value_heads")) or heads
    of_a_head = configs.positive_int(config.get("head_dim")) or (width // heads if heads else 0)
    return 2 * layers * heads_kept * of_a_head


def _bits(facts: SnapshotFacts) -> int:
    config = facts.json_object(filenames.CONFIG)
    for key in ("quantization", "quantization_config"):
        declared = config.get(key)
        bits = configs.positive_int(declared.get("bits")) if isinstance(declared, dict) else None
        if bits is not None and bits <= 32:  # noqa: PLR2004 - of a word
            return bits
    return 4
