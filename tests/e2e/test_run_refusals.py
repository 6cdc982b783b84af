"""``run`` and what cannot be meant, asked or run: each is named, before any work, with what can be done."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import attrs
import pytest

from tests.builder import chat_files, embedding_files, speech_files, write_workspace
from tests.e2e.processes import Machine
from tests.e2e.test_run import Bird
from tests.parrot import parrot_folder
from tests.parrot.answers import CAPITAL

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("temperature", ("--temperature", "-1")),
        ("temperature", ("--temperature", "nan")),
        ("temperature", ("--temperature", "inf")),
        ("--temperature", ("--temperature", "hot")),
        ("top_p", ("--top-p", "1.1")),
        ("top_k", ("--top-k", "-1")),
        ("min_p", ("--min-p", "2")),
        ("repetition_penalty", ("--repetition-penalty", "0")),
        ("seed", ("--seed", "-1")),
        ("seed", ("--seed", str(2**63))),
        ("max_tokens", ("--max-tokens", "0")),
        ("--max-tokens", ("--max-tokens", "1.5")),
        ("stop", ("--stop", "")),
        ("kv_bits", ("--kv-bits", "7")),
        ("kv_group_size", ("--kv-group-size", "12")),
        ("quantized_kv_start", ("--quantized-kv-start", "-1")),
        ("max_kv_size", ("--max-kv-size", "4")),
        ("kv_bits and max_kv_size", ("--kv-bits", "8", "--max-kv-size", "64")),
        ("--cpu-profile", ("--cpu-profile", "slow")),
        ("--think-only", ("--show-reasoning", "--think-only")),
        ("kv_bits and draft_model", ("--kv-bits", "8", "--draft-model", "other")),
        ("max_kv_size and draft_model", ("--max-kv-size", "64", "--draft-model", "other")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_value_that_can_mean_nothing_is_named(bird: Bird, name: str, words: tuple[str, ...]) -> None:
    outcome = bird.run(CAPITAL, *words, "--json")
    error = outcome.error()
    assert (outcome.code, error["type"]) == (1, "ValidationError")
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", str(error["message"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("",), "prompt is empty"),
        (("  \n",), "prompt is empty"),
        (("--json",), "no --json"),
        (("--chat", "--out", "x"), "no --json, --out"),
        ((CAPITAL, "--system", "@missing.txt"), "missing.txt"),
        ((CAPITAL, "--in", "missing.txt"), "missing.txt"),
        ((CAPITAL, "--in", "binary"), "binary is binary"),
        ((CAPITAL, "--system", "@latin"), "latin is not UTF-8"),
        ((b"caf\xe9".decode("utf-8", "surrogateescape"),), "prompt is not UTF-8"),
    ],
    ids=ascii,
)
def test_a_question_that_cannot_be_asked_is_told(bird: Bird, words: tuple[str, ...], message: str) -> None:
    (bird.machine.root / "binary").write_bytes(b"\x00\x01text")
    (bird.machine.root / "latin").write_bytes(b"caf\xe9")
    outcome = bird.run(*words)
    assert outcome.code == (3 if "missing.txt" in message else 1)
    if "--json" in words:
        assert message in str(outcome.error()["message"])
    else:
        assert outcome.out == ""
        assert message in outcome.err.splitlines()[0]


def test_a_prompt_longer_than_the_window_is_refused(bird: Bird, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("a" * 2100)
    outcome = bird.run(CAPITAL, "--in", str(tmp_path / "long.txt"), "--json")
    error = outcome.error()
    assert (outcome.code, error["type"]) == (1, "context_length_exceeded")
    assert "maximum context length is 2048" in str(error["message"])


def test_a_prompt_longer_than_the_window_is_told_by_us_alone(bird: Bird, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("a" * 2100)
    message = bird.refusal(CAPITAL, "--in", str(tmp_path / "long.txt"))
    assert [line.partition(":")[0] for line in message.splitlines()] == ["error", "hint"]


def test_an_answer_that_never_begins_leaves_the_file_as_it_was(bird: Bird, tmp_path: Path) -> None:
    out, long = tmp_path / "out.txt", tmp_path / "long.txt"
    out.write_text("precious")
    long.write_text("a" * 2100)
    bird.refusal(CAPITAL, "--in", str(long), "--out", str(out))
    assert out.read_text() == "precious"


def test_a_model_that_cannot_be_run_is_told_with_what_can_be_done(bird: Bird, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bird.folder, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    embedding = write_workspace(tmp_path / "embedding", embedding_files())
    speech = write_workspace(tmp_path / "speech", speech_files())
    unwhole = write_workspace(tmp_path / "unwhole", {"config.json": chat_files()["config.json"]})
    for folder, words in (
        (broken, ("cannot be run",)),
        (unwhole, ("cannot be run",)),
        (embedding, ("does not generate text", "embeddings")),
        (speech, ("does not generate text", "speech")),
    ):
        message = attrs.evolve(bird, folder=folder).refusal(CAPITAL)
        assert all(word in message for word in words), (folder.name, message)
    missing = bird.machine.run("run", "org/absent", CAPITAL, "--json")
    assert (missing.code, missing.error()["type"]) == (1, "model_not_found")


def test_weights_that_do_not_fit_the_architecture_are_told_as_an_error(bird: Bird, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(bird.folder, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}))
    outcome = attrs.evolve(bird, folder=other).run(CAPITAL, "--json")
    assert (outcome.code, outcome.error()["type"]) == (1, "model_not_runnable")
    assert "shape" in str(outcome.error()["message"])
