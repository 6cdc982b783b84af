"""What finished rows leave behind for those that begin alike, as much of it as fits into a number of bytes.

Not mlx-lm's ``LRUPromptCache``: that one holds a dict for each token, forgets in order of arrival however useful an
entry is, and leaves nothing to compute where a prompt equals what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")

_LOOKED_AT = 8
"""How many prefixes that have the same marks are compared token by token."""


@attrs.frozen
class Prefix(Generic[T]):
    """A sequence of tokens, and what came of reading them."""

    tokens: tuple[int, ...]
    value: T
    size: int
    can_be_cut: bool
    """Whether the value serves for a part of the tokens too."""

    def serves(self, prompt: Sequence[int]) -> int:
        """Return how many tokens of a prompt need not be read; always fewer than it has."""
        longest = min(len(self.tokens), len(prompt) - 1)
        if self.can_be_cut:
            return common(self.tokens, prompt, longest)
        return len(self.tokens) if longest == len(self.tokens) == common(self.tokens, prompt, longest) else 0

    def is_useless_beside(self, other: Prefix[T]) -> bool:
        """Whether the other one does for every prompt what this one does."""
        reach = len(self.tokens)
        if not other.can_be_cut:
            return self.tokens == other.tokens and not self.can_be_cut
        return reach <= len(other.tokens) and common(self.tokens, other.tokens, reach) == reach


class Prefixes(Generic[T]):
    """Prefixes in the order of their last use. When there is too much, the one that was not used for longest goes.

    They are found by marks, a number for each block that depends on all blocks before it, so that looking one up takes
    no longer the more there are. What is shorter than a block is not kept, and of two that go equally far up to a
    block, the shorter one may be found.
    """

    def __init__(self, budget: int, block: int = 16) -> None:
        """Take how many bytes there may be, and how many tokens are a block."""
        self._budget = budget
        self._block = block
        self._size = 0
        self._count = 0
        self._held: dict[int, Prefix[T]] = {}
        self._through: dict[int, dict[int, None]] = {}
        """The numbers of the prefixes that have a mark, and can be cut there."""
        self._ending: dict[int, dict[int, None]] = {}
        """The numbers of the prefixes that have it as their last one."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._size

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._held)

    def keep(self, prefix: Prefix[T]) -> bool:
        """Take a prefix in, and let go of what it replaces and of what no longer fits; return whether it stayed."""
        marks = self._marks(prefix.tokens)
        if not marks or prefix.size > self._budget:
            return False
        alike = _latest(self._through.get(marks[-1])) + _latest(self._ending.get(marks[-1]))
        if any(prefix.is_useless_beside(self._held[number]) for number in alike):
            return False
        shorter = [number for mark in marks for number in _latest(self._ending.get(mark))]
        for number in shorter:
            if self._held[number].is_useless_beside(prefix):
                self._let_go(number)
        self._count += 1
        self._held[self._count] = prefix
        self._size += prefix.size
        for mark in marks if prefix.can_be_cut else ():
            self._through.setdefault(mark, {})[self._count] = None
        self._ending.setdefault(marks[-1], {})[self._count] = None
        while self._size > self._budget:
            self._let_go(next(iter(self._held)))
        return True

    def longest(self, prompt: tuple[int, ...]) -> tuple[Prefix[T], int] | None:
        """Return the prefix that spares most of a prompt, and how many tokens that are."""
        marks = self._marks(prompt[:-1])
        numbers = [number for mark in marks for number in _latest(self._ending.get(mark))]
        deepest = next((mark for mark in reversed(marks) if mark in self._through), None)
        if deepest is not None:
            numbers += _latest(self._through[deepest])
        count, number = max(((self._held[number].serves(prompt), number) for number in numbers), default=(0, 0))
        if not count:
            return None
        found = self._held[number] = self._held.pop(number)
        return found, count

    def clear(self) -> None:
        """Hold nothing."""
        for held in (self._held, self._through, self._ending):
            held.clear()
        self._size = 0

    def _let_go(self, number: int) -> None:
        prefix = self._held.pop(number)
        self._size -= prefix.size
        marks = self._marks(prefix.tokens)
        for index, gone in ((self._through, marks if prefix.can_be_cut else []), (self._ending, marks[-1:])):
            for mark in gone:
                del index[mark][number]
                if not index[mark]:
                    del index[mark]

    def _marks(self, tokens: tuple[int, ...]) -> list[int]:
        marks, mark = list[int](), 0
        for end in range(self._block, len(tokens) + 1, self._block):
            mark = hash((mark, tokens[end - self._block : end]))  # a collision is seen when the tokens are compared
            marks.append(mark)
        return marks


def _latest(numbers: dict[int, None] | None) -> list[int]:
    """Return the youngest few: all of them are alike, up to a block."""
    return [] if numbers is None else list(islice(reversed(numbers), _LOOKED_AT))


def common(one: Sequence[int], other: Sequence[int], longest: int) -> int:
    """Return how many tokens two sequences begin with alike, at most ``longest``; halving, for slices compare fast."""
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
