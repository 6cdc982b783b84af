"""The prefix cache: KV caches of finished rows, reused by rows that begin with the same tokens.

mlx-lm's ``LRUPromptCache`` is not used: it holds a dict for each token, evicts in order of arrival, and leaves nothing
to compute if a prompt equals an entry.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import islice
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")

_MAX_COMPARED = 8
"""The number of entries with the same block hashes that are compared token by token."""


@attrs.frozen
class Prefix(Generic[T]):
    """A sequence of tokens, and the value that was computed from them."""

    tokens: tuple[int, ...]
    value: T
    size: int
    can_trim: bool
    """Whether the value can also serve a part of the tokens."""
    variant: Hashable = None
    """Only prompts of the same variant can use the value."""

    def serves(self, prompt: Sequence[int]) -> int:
        """Return how many tokens of a prompt it saves: always fewer than the prompt has."""
        longest = min(len(self.tokens), len(prompt) - 1)
        if self.can_trim:
            return common_length(self.tokens, prompt, longest)
        is_whole = longest == len(self.tokens) == common_length(self.tokens, prompt, longest)
        return len(self.tokens) if is_whole else 0

    def is_covered_by(self, other: Prefix[T]) -> bool:
        """Whether the other entry serves every prompt as well as this one."""
        length = len(self.tokens)
        if self.variant != other.variant:
            return False
        if not other.can_trim:
            return self.tokens == other.tokens and not self.can_trim
        return length <= len(other.tokens) and common_length(self.tokens, other.tokens, length) == length


class PrefixCache(Generic[T]):
    """Prefixes in order of their last use, up to a number of bytes. The least recently used one is evicted.

    Entries are found by chained block hashes, so that a lookup does not slow down with the number of entries. A prefix
    shorter than a block is not stored, and of two that are equal up to a block the shorter one may be found.
    """

    def __init__(self, max_bytes: int, block: int = 16) -> None:
        """Take the largest size in bytes, and the number of tokens in a block."""
        self._max_bytes = max_bytes
        self._block = block
        self._size = 0
        self._count = 0
        self._entries: dict[int, Prefix[T]] = {}
        self._containing: dict[int, dict[int, None]] = {}
        """The entries that contain a block and can be trimmed to it, by block hash."""
        self._ending: dict[int, dict[int, None]] = {}
        """The entries whose last block has a hash."""

    @property
    def size(self) -> int:
        """The number of bytes in use."""
        return self._size

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def store(self, prefix: Prefix[T]) -> bool:
        """Store a prefix, drop the entries that it covers and those that no longer fit; return whether it was kept."""
        hashes = self._hashes(prefix.tokens, prefix.variant)
        if not hashes or prefix.size > self._max_bytes:
            return False
        similar = _latest(self._containing.get(hashes[-1])) + _latest(self._ending.get(hashes[-1]))
        if any(prefix.is_covered_by(self._entries[number]) for number in similar):
            return False
        shorter = [number for one in hashes for number in _latest(self._ending.get(one))]
        for number in shorter:
            if self._entries[number].is_covered_by(prefix):
                self._drop(number)
        self._count += 1
        self._entries[self._count] = prefix
        self._size += prefix.size
        for one in hashes if prefix.can_trim else ():
            self._containing.setdefault(one, {})[self._count] = None
        self._ending.setdefault(hashes[-1], {})[self._count] = None
        while self._size > self._max_bytes:
            self._drop(next(iter(self._entries)))
        return True

    def longest(self, prompt: tuple[int, ...], variant: Hashable = None) -> tuple[Prefix[T], int] | None:
        """Return the entry that saves most of a prompt, and the number of tokens that it saves."""
        hashes = self._hashes(prompt[:-1], variant)
        numbers = [number for one in hashes for number in _latest(self._ending.get(one))]
        deepest = next((one for one in reversed(hashes) if one in self._containing), None)
        if deepest is not None:
            numbers += _latest(self._containing[deepest])
        candidates = [number for number in numbers if self._entries[number].variant == variant]
        count, number = max(((self._entries[number].serves(prompt), number) for number in candidates), default=(0, 0))
        if not count:
            return None
        found = self._entries[number] = self._entries.pop(number)
        return found, count

    def clear(self) -> None:
        """Drop all entries."""
        for index in (self._entries, self._containing, self._ending):
            index.clear()
        self._size = 0

    def _drop(self, number: int) -> None:
        prefix = self._entries.pop(number)
        self._size -= prefix.size
        hashes = self._hashes(prefix.tokens, prefix.variant)
        for index, gone in ((self._containing, hashes if prefix.can_trim else []), (self._ending, hashes[-1:])):
            for one in gone:
                del index[one][number]
                if not index[one]:
                    del index[one]

    def _hashes(self, tokens: tuple[int, ...], variant: Hashable) -> list[int]:
        hashes, current = list[int](), 0 if variant is None else hash(variant)
        for end in range(self._block, len(tokens) + 1, self._block):
            current = hash((current, tokens[end - self._block : end]))  # a collision shows when tokens are compared
            hashes.append(current)
        return hashes


def _latest(numbers: dict[int, None] | None) -> list[int]:
    """Return the latest few entries; up to a block all of them are equal."""
    return [] if numbers is None else list(islice(reversed(numbers), _MAX_COMPARED))


def common_length(one: Sequence[int], other: Sequence[int], longest: int) -> int:
    """Return the length of the common prefix, at most ``longest``. It bisects, because slices compare fast."""
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
