"""The prefix cache: it stays within its bytes, finds the longest prefix, and never serves a whole prompt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.adapters.mlx.text.prefix_cache import Prefix, PrefixCache, common_length

TOKENS = st.lists(st.integers(0, 2), max_size=8).map(tuple)
PROMPTS = TOKENS.filter(bool)
BLOCKS = st.integers(1, 3)
VARIANTS = st.sampled_from([None, "quantised"])
PREFIXES = st.builds(Prefix[int], TOKENS, st.just(0), st.integers(1, 20), st.booleans(), VARIANTS)
STORED = st.lists(PREFIXES, max_size=12)


def counted(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def trimmable(text: str, size: int = 1) -> Prefix[str]:
    return Prefix(tuple(map(ord, text)), text, size, can_trim=True)


def untrimmable(text: str, size: int = 1) -> Prefix[str]:
    return Prefix(tuple(map(ord, text)), text, size, can_trim=False)


def found(cache: PrefixCache[str], text: str) -> tuple[str, int] | None:
    best = cache.longest(tuple(map(ord, text)))
    return None if best is None else (best[0].value, best[1])


@given(TOKENS, TOKENS, st.integers(0, 8))
def test_bisecting_finds_the_length_that_counting_finds(
    one: tuple[int, ...], other: tuple[int, ...], longest: int
) -> None:
    longest = min(longest, len(one), len(other))
    assert common_length(one, other, longest) == min(longest, counted(one, other))


@given(STORED, PROMPTS, VARIANTS, st.integers(0, 40), BLOCKS)
def test_the_prefix_found_begins_the_prompt(
    stored: list[Prefix[int]], prompt: tuple[int, ...], variant: str | None, budget: int, block: int
) -> None:
    cache = PrefixCache[int](budget, block)
    accepted: list[Prefix[int]] = []
    for prefix in stored:
        if cache.store(prefix):
            accepted.append(prefix)
        assert cache.size <= budget
    assert cache.size <= sum(prefix.size for prefix in accepted)
    best = cache.longest(prompt, variant)
    if best is None:
        return
    prefix, count = best
    assert prefix in accepted
    assert prefix.variant == variant
    assert 0 < count < len(prompt)
    assert prefix.tokens[:count] == prompt[:count]
    assert prefix.can_trim or count == len(prefix.tokens)


@given(STORED, PROMPTS, VARIANTS, BLOCKS)
def test_without_a_limit_no_block_is_missed(
    stored: list[Prefix[int]], prompt: tuple[int, ...], variant: str | None, block: int
) -> None:
    cache = PrefixCache[int](10**6, block)
    for prefix in stored:
        cache.store(prefix)
    best = cache.longest(prompt, variant)
    usable = [prefix for prefix in stored if prefix.variant == variant and len(prefix.tokens) >= block]
    longest = max((prefix.serves(prompt) for prefix in usable), default=0)
    assert longest - (0 if best is None else best[1]) < block


def test_the_least_recently_used_prefix_is_evicted() -> None:
    cache = PrefixCache[str](3, 1)
    for text in ("apple", "berry", "cherry"):
        assert cache.store(trimmable(text))
    assert found(cache, "apple pie") == ("apple", 5)
    assert cache.store(trimmable("date"))
    assert found(cache, "berry pie") is None
    assert found(cache, "apple pie") == ("apple", 5)
    assert cache.store(trimmable("elder", 3))
    assert len(cache) == 1


def test_a_prefix_larger_than_the_cache_is_not_stored_and_evicts_nothing() -> None:
    cache = PrefixCache[str](3, 1)
    assert cache.store(trimmable("apple", 3))
    assert not cache.store(trimmable("apple and more", 4))
    assert found(cache, "apple pie") == ("apple", 5)
    assert not PrefixCache[str](0, 1).store(trimmable("a"))


def test_a_longer_prefix_replaces_those_that_begin_it() -> None:
    cache = PrefixCache[str](100, 1)
    cache.store(trimmable("apple"))
    cache.store(untrimmable("apple p"))
    assert cache.store(trimmable("apple pie"))
    assert len(cache) == 1
    assert not cache.store(trimmable("apple"))
    assert found(cache, "apple tart") == ("apple pie", 6)


def test_a_prefix_that_cannot_be_trimmed_serves_only_as_a_whole() -> None:
    cache = PrefixCache[str](100, 1)
    cache.store(untrimmable("apple pie"))
    assert found(cache, "apple tart") is None
    assert found(cache, "apple pie") is None  # no token would be left to compute
    assert found(cache, "apple pie!") == ("apple pie", 9)
    cache.store(untrimmable("apple"))
    assert found(cache, "apple tart") == ("apple", 5)


def test_evicted_prefixes_leave_nothing_behind() -> None:
    cache = PrefixCache[str](5)
    for number in range(100):
        cache.store(trimmable(f"{number:032d}", 2))
        cache.store(untrimmable(f"{number:064d}", 2))
    assert len(cache) == 2
    assert found(cache, f"{99:032d}?") == (f"{99:032d}", 32)
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)
    assert found(cache, f"{99:032d}?") is None


def test_a_prefix_shorter_than_a_block_is_not_stored() -> None:
    cache = PrefixCache[str](100, 4)
    assert not cache.store(trimmable("app"))
    assert cache.store(trimmable("appl"))
    assert found(cache, "apple") == ("appl", 4)
    assert found(cache, "appl") is None


def test_prefixes_serve_only_their_variant() -> None:
    cache = PrefixCache[str](100, 1)
    for variant in (None, "4 bits", "8 bits"):
        tokens = tuple(map(ord, f"apple {variant}"))
        assert cache.store(Prefix(tokens, str(variant), 1, can_trim=True, variant=variant))
    assert len(cache) == 3
    for variant in (None, "4 bits", "8 bits"):
        best = cache.longest(tuple(map(ord, "apple pie")), variant)
        assert best is not None
        assert (best[0].value, best[1]) == (str(variant), 6)
    assert cache.longest(tuple(map(ord, "apple pie")), "2 bits") is None
