"""``run`` and how its tokens are chosen and remembered: every option is seen in the text that comes."""

from __future__ import annotations

import attrs
import pytest

from tests.e2e.breeding import wide_parrot
from tests.e2e.processes import Machine
from tests.e2e.test_run import NONSENSE, Bird, rendered
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, ECHO, LONG

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


@pytest.fixture(scope="module")
def wide(bird: Bird, tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return attrs.evolve(bird, folder=wide_parrot(tmp_path_factory.mktemp("wide") / "bird"))


@pytest.fixture(scope="module")
def greedy(bird: Bird) -> str:
    """Return what is said where chance has no part."""
    text = bird.data(NONSENSE, "--temperature", "0", "--max-tokens", "60")["response"]
    assert isinstance(text, str)
    return text


# --- chance


def test_chance_is_the_same_for_the_same_seed(bird: Bird) -> None:
    def said(*words: str) -> str:
        text = bird.data(NONSENSE, "--temperature", "1.5", "--top-p", "1", "--max-tokens", "60", *words)["response"]
        assert isinstance(text, str)
        return text

    first = said("--seed", "1")
    assert first == said("--seed", "1")
    assert len({first, said("--seed", "2"), said("--seed", "3")}) == 3


def test_the_likeliest_is_what_no_chance_chooses(bird: Bird, greedy: str) -> None:
    hot = ("--temperature", "1.5", "--max-tokens", "60")
    assert bird.data(NONSENSE, *hot, "--top-k", "1")["response"] == greedy
    assert bird.data(NONSENSE, *hot, "--min-p", "1", "--seed", "4")["response"] == greedy


@pytest.mark.parametrize("seed", ["1", "2"])
def test_of_a_small_share_only_the_likeliest_are_left(bird: Bird, greedy: str, seed: str) -> None:
    hot = ("--temperature", "2", "--max-tokens", "60", "--seed", seed)
    assert bird.data(NONSENSE, *hot, "--top-p", "0.01")["response"] == greedy
    assert bird.data(NONSENSE, *hot, "--top-p", "1")["response"] != greedy


def test_what_was_said_becomes_less_likely(bird: Bird) -> None:
    assert bird.says(ECHO, "--repetition-penalty", "1") == f"{ANSWERS[ECHO]}\n"
    data = bird.data(ECHO, "--repetition-penalty", "5", "--max-tokens", "60")
    assert data["response"][:3] == ANSWERS[ECHO][:3]
    assert not data["response"].startswith("Echo, echo")


# --- memory


def test_it_need_not_remember_much(bird: Bird) -> None:
    assert bird.says(LONG, "--max-kv-size", "64") == f"{ANSWERS[LONG]}\n"


def test_it_remembers_no_more_than_it_may(bird: Bird) -> None:
    assert bird.says(LONG, "--max-kv-size", "8", "--max-tokens", "60") != f"{ANSWERS[LONG][:60]}\n"


def test_what_cannot_be_quantised_is_refused_by_name(bird: Bird) -> None:
    message = bird.refusal(CAPITAL, "--kv-bits", "8", "--kv-group-size", "32", "--quantized-kv-start", "1000")
    assert message.startswith("error: kv_group_size 32 does not work with this model: its head size is 12\n")
    assert "Leave out kv_bits" in message


def shared(text: str) -> int:
    """Return how many letters of the long answer a text begins with."""
    return next(
        (number for number, pair in enumerate(zip(text, ANSWERS[LONG], strict=False)) if len(set(pair)) > 1), 60
    )


def test_what_it_remembers_in_many_bits_is_enough(wide: Bird) -> None:
    assert wide.says(LONG) == f"{ANSWERS[LONG]}\n"
    assert wide.says(LONG, "--kv-bits", "8") == f"{ANSWERS[LONG]}\n"
    assert wide.says(LONG, "--kv-bits", "8", "--kv-group-size", "32") == f"{ANSWERS[LONG]}\n"


def test_what_it_remembers_in_two_bits_is_not_and_shows_in_which_groups(wide: Bird) -> None:
    said = {
        size: wide.says(LONG, "--kv-bits", "2", "--kv-group-size", size, "--max-tokens", "60") for size in ("32", "64")
    }
    assert said["64"] == wide.says(LONG, "--kv-bits", "2", "--max-tokens", "60")  # the default
    assert len({*said.values(), f"{ANSWERS[LONG][:60]}\n"}) == 3


def test_it_is_quantised_from_the_token_on_that_was_named(wide: Bird) -> None:
    two_bits = ("--kv-bits", "2", "--max-tokens", "60", "--quantized-kv-start")
    never, late, at_once = (wide.says(LONG, *two_bits, start) for start in ("1000", str(rendered(LONG) + 20), "0"))
    assert never == f"{ANSWERS[LONG][:60]}\n"
    assert shared(at_once) < 20 <= shared(late) < 60


def test_a_group_that_is_no_part_of_a_head_is_refused_with_those_that_are(wide: Bird) -> None:
    message = wide.refusal(CAPITAL, "--kv-bits", "4", "--kv-group-size", "128")
    assert message == (
        "error: kv_group_size 128 does not work with this model: its head size is 64\nhint: Possible values: 32, 64\n"
    )
