"""Doing the same to many things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Workers(Protocol):
    """Applies a function to many items, perhaps side by side."""

    def map(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """Return the result for every item, in their order.

        ``work`` only reads, may be applied twice to an item, and may run in another process, whose memory is lost with
        it: only the results, which must be plain values, come back. Raises what ``work`` raises.
        """
        ...
