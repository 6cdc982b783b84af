"""Laws of eviction and back-off: the rules of the model pool."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.errors import NotEnoughMemory
from mlxknife.domain.serving.rules import PoolEntry, PoolLimits, back_off_seconds, eviction_for

_ENTRIES = st.lists(
    st.builds(
        PoolEntry,
        st.uuids().map(str),
        st.integers(0, 9),
        st.booleans(),
        st.floats(0, 9),
        st.booleans(),
    ),
    max_size=6,
)
_LIMITS = st.builds(PoolLimits, st.none() | st.integers(0, 40), st.none() | st.integers(1, 7))


def _fits(size: int, staying: list[PoolEntry], limits: PoolLimits) -> bool:
    fits = limits.memory_bytes is None or size + sum(one.bytes for one in staying) <= limits.memory_bytes
    return fits and (limits.models is None or len(staying) < limits.models)


@given(size=st.integers(0, 50), entries=_ENTRIES, limits=_LIMITS)
def test_no_model_is_evicted_that_could_stay(size: int, entries: list[PoolEntry], limits: PoolLimits) -> None:
    if limits.memory_bytes is not None and size > limits.memory_bytes:
        with pytest.raises(NotEnoughMemory):
            eviction_for("one", size, entries, limits)
        return
    eviction = eviction_for("one", size, entries, limits)
    leaving = [one for one in entries if one.key in {*eviction.evicted, *eviction.awaited}]
    staying = [one for one in entries if one not in leaving]
    assert _fits(size, staying, limits)
    assert all(not one.is_leased for one in entries if one.key in eviction.evicted)
    assert all(one.is_leased for one in entries if one.key in eviction.awaited)
    assert eviction.is_immediate == (not eviction.awaited)
    for left in leaving:
        for stayed in staying:
            assert (left.is_leased, left.is_kept, left.last_used) <= (
                stayed.is_leased,
                stayed.is_kept,
                stayed.last_used,
            ), "unleased before leased, others before kept, least recently used first"


@given(entries=_ENTRIES, limits=_LIMITS)
def test_the_last_model_to_be_evicted_is_needed(entries: list[PoolEntry], limits: PoolLimits) -> None:
    eviction = eviction_for("one", 0, entries, limits)
    leaving = [one for one in entries if one.key in {*eviction.evicted, *eviction.awaited}]
    if leaving:
        last = max(leaving, key=lambda one: (one.is_leased, one.is_kept, one.last_used))
        assert not _fits(0, [one for one in entries if one not in leaving or one is last], limits)


def test_the_pause_after_crashes_doubles_up_to_a_minute() -> None:
    pauses = [back_off_seconds(crashes) for crashes in range(1, 2000)]
    assert pauses[:8] == [0, 1, 2, 4, 8, 16, 32, 60]
    assert max(pauses) == 60
    assert all(before <= after for before, after in pairwise(pauses))
