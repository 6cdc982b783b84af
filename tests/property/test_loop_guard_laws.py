"""Laws of the loop guard: it fires at the first token that completes a loop, and never before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlxknife.domain.generation.rules.loop_guard import MAX_PERIOD, MIN_REPEATS, MIN_SPAN, LoopGuard

_TOKENS = st.integers(0, 3)
_ANSWERS = st.lists(_TOKENS, max_size=80)
_CYCLES = st.lists(_TOKENS, min_size=1, max_size=MAX_PERIOD)


def _fired(tokens: Iterable[int]) -> int | None:
    """Return how many tokens the guard takes until it fires."""
    guard = LoopGuard()
    return next((count for count, token in enumerate(tokens, 1) if guard.feed(token)), None)


def _ends_in_loop(tokens: Sequence[int]) -> bool:
    """Return whether the last tokens are a loop, as its definition says."""
    spans = ((period, max(MIN_SPAN, MIN_REPEATS * period)) for period in range(1, MAX_PERIOD + 1))
    return any(
        len(tokens) >= span and tokens[-span : len(tokens) - period] == tokens[period - span :]
        for period, span in spans
    )


@given(_ANSWERS, _CYCLES)
@example([], [7])
@example([1, 2, 1, 2], [1, 2])
@example([9], list(range(MAX_PERIOD)))
def test_a_loop_is_recognised_at_the_first_token_that_completes_it(before: list[int], cycle: list[int]) -> None:
    repeats = MIN_REPEATS * max(len(cycle), MIN_SPAN // MIN_REPEATS) // len(cycle) + 1
    tokens = [*before, *cycle * repeats]
    count = _fired(tokens)
    assert count is not None
    assert _ends_in_loop(tokens[:count])
    assert not _ends_in_loop(tokens[: count - 1])


@given(_CYCLES, st.integers(0, MIN_SPAN - 1))
def test_no_loop_is_shorter_than_the_smallest_span(cycle: list[int], length: int) -> None:
    assert _fired((cycle * MIN_SPAN)[:length]) is None


@given(st.integers(1, 2 * MAX_PERIOD))
def test_a_cycle_is_a_loop_with_its_last_token_and_only_up_to_the_longest_period(period: int) -> None:
    span = max(MIN_SPAN, MIN_REPEATS * period)
    expected = span if period <= MAX_PERIOD else None
    assert _fired(number % period for number in range(2 * span)) == expected


_TABLE = "| name | size |\n" + "|---|---|\n" + "".join(f"| model-{n} | {n * 37 % 101} GB |\n" for n in range(300))
_LEGITIMATE = {
    "a numbered list": "".join(f"{n}. Do the same thing again.\n" for n in range(1, 400)),
    "a table": _TABLE,
    "a wide table without content": ("|" + "---|" * 60 + "\n") + ("|" + "   |" * 60 + "\n"),
    "numbered code": "".join(f"    values[{n}] = compute(values[{n - 1}])\n" for n in range(1, 300)),
    "code with a pattern": "".join(f"        case {n}: return 0;\n" for n in range(300)),
    "a ruled line": "=" * 120 + "\n" + "-" * 200 + "\n",
    "a deep indentation": "\n".join(" " * depth + "{" for depth in range(0, 250, 10)),
    "a count": " ".join(str(number) for number in range(2000)),
    "a refrain": ("Row, row, row your boat, gently down the stream.\n" * 4 + "Merrily!\n") * 6,
    "zeros in rows": "".join(f"{row}: " + "0, " * 60 + "\n" for row in range(20)),
}


@pytest.mark.parametrize("text", _LEGITIMATE.values(), ids=_LEGITIMATE.keys())
@pytest.mark.parametrize("width", [1, 4], ids=["bytes", "words"])
def test_lists_tables_and_code_are_no_loops(text: str, width: int) -> None:
    parts = [text[start : start + width] for start in range(0, len(text), width)]
    assert _fired(map(hash, parts)) is None
