from __future__ import annotations

import math

import attrs
import pytest

from mlxknife.domain.errors import ContextLengthExceeded, ValidationError
from mlxknife.domain.generation.rules import options as wishes
from mlxknife.domain.generation.rules.options import MAX_TOKENS
from mlxknife.domain.generation.values.generation import CacheShape, Sampling, Wish

_TOKENS = (5, 6, 7)
_NOTHING: dict[str, object] = {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in (-0.1, 100.1, math.nan, math.inf, -math.inf)),
        *(("top_p", value) for value in (-0.1, 1.1, math.nan, math.inf)),
        *(("top_k", value) for value in (-1, 2**31, math.nan)),
        *(("min_p", value) for value in (-0.1, 1.1, math.nan, math.inf)),
        *(("repetition_penalty", value) for value in (-1.0, 0.0, 100.1, math.nan, math.inf)),
        *(("seed", value) for value in (-1, 2**63)),
    ],
)
def test_how_a_token_is_chosen_has_bounds(name: str, value: float) -> None:
    wish = Wish(sampling=Sampling(**{name: value}))  # type: ignore[arg-type] # a float is what a careless caller gives
    with pytest.raises(ValidationError, match=rf"^{name} must be between .* not {value}"):
        wishes.check(wish)


@pytest.mark.parametrize("value", [0, -1, 2**31])
def test_an_answer_has_at_least_one_token(value: int) -> None:
    with pytest.raises(ValidationError, match=r"^max_tokens must be between 1 and"):
        wishes.check(Wish(max_tokens=value))


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        *((CacheShape(bits=bits), "kv_bits") for bits in (0, 1, 7, 16, -4)),
        *((CacheShape(group_size=size), "kv_group_size") for size in (0, 16, 63, 256)),
        *((CacheShape(quantized_from=start), "quantized_kv_start") for start in (-1, 2**31)),
        *((CacheShape(window=window), "max_kv_size") for window in (-1, 0, 7, 2**31)),
        (CacheShape(bits=4, window=512), "kv_bits and max_kv_size"),
    ],
)
def test_what_is_remembered_has_a_shape_that_can_be(shape: CacheShape, name: str) -> None:
    with pytest.raises(ValidationError, match=f"^{name} "):
        wishes.check(Wish(cache=shape))


@pytest.mark.parametrize(("shape", "name"), [(CacheShape(bits=8), "kv_bits"), (CacheShape(window=64), "max_kv_size")])
def test_a_guess_must_be_possible_to_take_back(shape: CacheShape, name: str) -> None:
    with pytest.raises(ValidationError, match=f"^{name} and draft_model do not go together") as caught:
        wishes.check(Wish(cache=shape), has_draft=True)
    assert caught.value.hint
    wishes.check(Wish(cache=shape))
    wishes.check(Wish(Sampling(temperature=1.0), max_tokens=1, stops=("a",)), has_draft=True)


@pytest.mark.parametrize("stops", [("",), ("a", "")])
def test_nothing_cannot_end_an_answer(stops: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match=r"^stop is empty") as caught:
        wishes.check(Wish(stops=stops))
    assert caught.value.hint


@pytest.mark.parametrize(
    "wish",
    [
        Wish(),
        Wish(Sampling(0.0, 0.0, 0, 0.0, 0.01, 0), CacheShape(2, 32, 0), 1, ("\n",)),
        Wish(Sampling(100.0, 1.0, 2**31 - 1, 1.0, 100.0, 2**63 - 1), CacheShape(8, 128, 2**31 - 1), 2**31 - 1),
        Wish(Sampling(temperature=1, top_p=1, min_p=0), CacheShape(window=8), stops=("a", "a", " ")),
    ],
)
def test_what_can_be_meant_is_taken(wish: Wish) -> None:
    wishes.check(wish)


def test_a_model_says_how_it_wants_to_be_asked() -> None:
    config = {"temperature": 0.6, "top_p": 1, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1, "seed": 3}
    told = wishes.declared(config | {"do_sample": True, "eos_token_id": [1, 2]})
    assert told == Sampling(0.6, 1.0, 20, 0.05, 1.1)
    assert (type(told.top_p), type(told.top_k)) == (float, int)


def test_a_model_that_does_not_sample_takes_the_likeliest() -> None:
    assert wishes.declared({"do_sample": False, "temperature": 0.6}).temperature == 0.0
    assert wishes.declared({"do_sample": None, "temperature": 0.6}).temperature == 0.6


@pytest.mark.parametrize(
    "value", [None, "0.5", True, [], {}, -1, -0.1, math.nan, math.inf, -math.inf, 10**400, 2**31, -(10**400)]
)
def test_what_a_model_cannot_mean_is_left_out(value: object) -> None:
    keys = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    assert wishes.declared(dict.fromkeys(keys, value)) == Sampling()


def test_a_wish_wins_over_the_model_and_the_model_over_the_product() -> None:
    wish = Wish(Sampling(temperature=0.0, seed=0), CacheShape(bits=4), max_tokens=7)
    settled = wishes.settled(wish, {"temperature": 0.6, "top_k": 20, "top_p": 0}, _TOKENS, 100)
    assert settled.sampling == Sampling(temperature=0.0, top_p=0.0, top_k=20, min_p=0.0, repetition_penalty=1.0, seed=0)
    assert (settled.tokens, settled.max_tokens, settled.cache) == (_TOKENS, 7, CacheShape(bits=4))


def test_where_nobody_said_anything_everything_but_the_seed_is_settled() -> None:
    settled = wishes.settled(Wish(), _NOTHING, _TOKENS, None)
    assert settled.sampling == Sampling(0.7, 0.95, 0, 0.0, 1.0, None)
    assert settled.max_tokens == MAX_TOKENS
    wishes.check(Wish(sampling=settled.sampling, max_tokens=settled.max_tokens))


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"])
def test_a_zero_is_a_wish(field: str) -> None:
    wish = Wish(sampling=attrs.evolve(Sampling(), **{field: 0}))
    assert getattr(wishes.settled(wish, {field: 0.5}, _TOKENS, None).sampling, field) == 0


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_prompt_that_fills_the_window_is_refused(window: int) -> None:
    with pytest.raises(
        ContextLengthExceeded, match=f"has 3 tokens, and the model reads at most {window} in all"
    ) as caught:
        wishes.settled(Wish(max_tokens=1), _NOTHING, _TOKENS, window)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "window", "most"),
    [
        (None, 4, 1),
        (None, 100, 97),
        (None, 10**6, MAX_TOKENS),
        (50, 100, 50),
        (97, 100, 97),
        (98, 100, 97),
        (10_000, 10**6, 10_000),
        (1, None, 1),
        (None, None, MAX_TOKENS),
        (10_000, None, 10_000),
    ],
)
def test_an_answer_is_as_long_as_was_wished_and_as_there_is_room(
    wanted: int | None, window: int | None, most: int
) -> None:
    assert wishes.settled(Wish(max_tokens=wanted), _NOTHING, _TOKENS, window).max_tokens == most
