"""Answers of ``run`` that are not complete: cut by a limit, or ended because they only repeat themselves."""

from __future__ import annotations

import json
import shutil

import mlx.core as mx
import pytest

from tests.e2e.processes import Machine
from tests.e2e.test_run import Bird
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL

pytestmark = pytest.mark.timeout(1200)

_SPAN = 256


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    """Return a parrot that repeats one letter for ever: all its logits are equal, and the first token wins."""
    folder = tmp_path_factory.mktemp("stuck") / "bird"
    shutil.copytree(parrot_folder(), folder)
    weights = mx.load(str(folder / "model.safetensors"))
    assert isinstance(weights, dict)
    head = mx.zeros_like(weights["model.embed_tokens.weight"])
    mx.save_safetensors(str(folder / "model.safetensors"), weights | {"lm_head.weight": head}, {"format": "mlx"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    return Bird(Machine(tmp_path_factory.mktemp("machine")), folder)


def test_an_answer_that_only_repeats_itself_is_ended_and_noted(stuck: Bird) -> None:
    outcome = stuck.run(CAPITAL, "--temperature", "0")
    text = outcome.out.removesuffix("\n")
    assert (outcome.code, text) == (0, text[0] * _SPAN)
    assert outcome.err == f"Output ended at {_SPAN} tokens: it only repeated itself (--no-loop-guard)\n"


def test_json_names_the_repetition_and_stderr_is_silent(stuck: Bird) -> None:
    data = stuck.data(CAPITAL, "--temperature", "0")
    assert (data["finish_reason"], data["usage"]["completion_tokens"]) == ("repetition", _SPAN)


def test_without_the_loop_guard_the_window_ends_the_answer(stuck: Bird) -> None:
    outcome = stuck.run(CAPITAL, "--temperature", "0", "--no-loop-guard")
    tokens = len(outcome.out) - 1
    assert _SPAN < tokens < 2048
    assert outcome.err == f"Output cut at {tokens} tokens (the context window is full)\n"


def test_a_chat_goes_on_after_a_loop(stuck: Bird) -> None:
    talk = stuck.shell(f"printf '%s\\n' '{CAPITAL}' '/set max_tokens 3' '{CAPITAL}' | mlxk run $BIRD --temperature 0")
    first, second = talk.out.splitlines()
    assert (talk.code, len(first), len(second)) == (0, _SPAN, 3)
    assert talk.err.splitlines() == [
        f"Output ended at {_SPAN} tokens: it only repeated itself (--no-loop-guard)",
        "max_tokens: 3",
        "Output cut at 3 tokens (/set max_tokens)",
    ]


def test_a_cut_answer_is_noted_in_a_pipe_and_not_with_json(bird: Bird) -> None:
    outcome = bird.run(CAPITAL, "--max-tokens", "10")
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[CAPITAL][:10]}\n")
    assert outcome.err == "Output cut at 10 tokens (--max-tokens)\n"
    assert bird.data(CAPITAL, "--max-tokens", "10")["finish_reason"] == "length"
    whole = bird.run(CAPITAL)
    assert (whole.out, whole.err) == (f"{ANSWERS[CAPITAL]}\n", "")
