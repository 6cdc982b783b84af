"""What is kept of finished rows: never too much, the most useful first, and never a whole prompt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.adapters.mlx.text.prefix_cache import Prefix, Prefixes, common

TOKENS = st.lists(st.integers(0, 2), max_size=8).map(tuple)
PROMPTS = TOKENS.filter(bool)
BLOCKS = st.integers(1, 3)
PREFIXES = st.builds(Prefix[int], TOKENS, st.just(0), st.integers(1, 20), st.booleans())
KEPT = st.lists(PREFIXES, max_size=12)


def naive(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def cut(text: str, size: int = 1) -> Prefix[str]:
    return Prefix(tuple(map(ord, text)), text, size, can_be_cut=True)


def whole(text: str, size: int = 1) -> Prefix[str]:
    return Prefix(tuple(map(ord, text)), text, size, can_be_cut=False)


def found(prefixes: Prefixes[str], text: str) -> tuple[str, int] | None:
    best = prefixes.longest(tuple(map(ord, text)))
    return None if best is None else (best[0].value, best[1])


@given(TOKENS, TOKENS, st.integers(0, 8))
def test_halving_finds_what_counting_finds(one: tuple[int, ...], other: tuple[int, ...], longest: int) -> None:
    longest = min(longest, len(one), len(other))
    assert common(one, other, longest) == min(longest, naive(one, other))


@given(KEPT, PROMPTS, st.integers(0, 40), BLOCKS)
def test_what_is_found_fits(kept: list[Prefix[int]], prompt: tuple[int, ...], budget: int, block: int) -> None:
    prefixes = Prefixes[int](budget, block)
    stayed: list[Prefix[int]] = []
    for prefix in kept:
        if prefixes.keep(prefix):
            stayed.append(prefix)
        assert prefixes.size <= budget
    assert prefixes.size <= sum(prefix.size for prefix in stayed)
    best = prefixes.longest(prompt)
    if best is None:
        return
    prefix, count = best
    assert prefix in stayed
    assert 0 < count < len(prompt)
    assert prefix.tokens[:count] == prompt[:count]
    assert prefix.can_be_cut or count == len(prefix.tokens)


@given(KEPT, PROMPTS, BLOCKS)
def test_with_room_for_all_no_block_is_missed(kept: list[Prefix[int]], prompt: tuple[int, ...], block: int) -> None:
    prefixes = Prefixes[int](10**6, block)
    for prefix in kept:
        prefixes.keep(prefix)
    best = prefixes.longest(prompt)
    wanted = max((prefix.serves(prompt) for prefix in kept if len(prefix.tokens) >= block), default=0)
    assert wanted - (0 if best is None else best[1]) < block


def test_what_was_not_used_for_longest_goes() -> None:
    prefixes = Prefixes[str](3, 1)
    for text in ("apple", "berry", "cherry"):
        assert prefixes.keep(cut(text))
    assert found(prefixes, "apple pie") == ("apple", 5)
    assert prefixes.keep(cut("date"))
    assert found(prefixes, "berry pie") is None
    assert found(prefixes, "apple pie") == ("apple", 5)
    assert prefixes.keep(cut("elder", 3))
    assert len(prefixes) == 1


def test_what_is_larger_than_all_is_not_kept_and_drives_out_nothing() -> None:
    prefixes = Prefixes[str](3, 1)
    assert prefixes.keep(cut("apple", 3))
    assert not prefixes.keep(cut("apple and more", 4))
    assert found(prefixes, "apple pie") == ("apple", 5)
    assert not Prefixes[str](0, 1).keep(cut("a"))


def test_a_longer_one_replaces_what_it_begins_with() -> None:
    prefixes = Prefixes[str](100, 1)
    prefixes.keep(cut("apple"))
    prefixes.keep(whole("apple p"))
    assert prefixes.keep(cut("apple pie"))
    assert len(prefixes) == 1
    assert not prefixes.keep(cut("apple"))
    assert found(prefixes, "apple tart") == ("apple pie", 6)


def test_what_cannot_be_cut_serves_only_as_a_whole() -> None:
    prefixes = Prefixes[str](100, 1)
    prefixes.keep(whole("apple pie"))
    assert found(prefixes, "apple tart") is None
    assert found(prefixes, "apple pie") is None  # nothing would be left to compute
    assert found(prefixes, "apple pie!") == ("apple pie", 9)
    prefixes.keep(whole("apple"))
    assert found(prefixes, "apple tart") == ("apple", 5)


def test_what_is_let_go_leaves_nothing_behind() -> None:
    prefixes = Prefixes[str](5)
    for number in range(100):
        prefixes.keep(cut(f"{number:032d}", 2))
        prefixes.keep(whole(f"{number:064d}", 2))
    assert len(prefixes) == 2
    assert found(prefixes, f"{99:032d}?") == (f"{99:032d}", 32)
    prefixes.clear()
    assert (len(prefixes), prefixes.size) == (0, 0)
    assert found(prefixes, f"{99:032d}?") is None


def test_what_is_shorter_than_a_block_is_not_kept() -> None:
    prefixes = Prefixes[str](100, 4)
    assert not prefixes.keep(cut("app"))
    assert prefixes.keep(cut("appl"))
    assert found(prefixes, "apple") == ("appl", 4)
    assert found(prefixes, "appl") is None
