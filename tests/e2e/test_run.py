"""``run`` with a question: what the model says comes out exactly, and every option does what its help tells."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.builder import chat_files, embedding_files, speech_files, write_workspace
from tests.e2e.processes import Machine, Outcome
from tests.parrot import ANSWERS, STOP_STRING, answer_of, parrot_4bit_folder, parrot_folder
from tests.parrot.answers import CAPITAL, CODE, ECHO, LONG, REASONING, STOP, UNICODE

pytestmark = pytest.mark.timeout(1200)

NONSENSE = "qqq zz"
"""Nothing that the parrot was taught: here it is not sure, so that chance shows."""
THOUGHT = "First 17 + 20 = 37. Then 37 + 5 = 42."
SUM = answer_of(REASONING, thinking=False)
STATISTICS = re.compile(
    r"(\d+) prompt tokens, (\d+) answered \((\w+)\); "
    r"loaded in \d+\.\ds, first token after \d+\.\d\ds, then [\d.]+ tokens/s"
)


@attrs.frozen
class Bird:
    """A parrot on somebody's machine."""

    machine: Machine
    folder: Path

    def environment(self, **variables: str) -> dict[str, str]:
        return self.machine.environment(OPENBLAS_NUM_THREADS="1", **variables)

    def run(self, *words: str, **variables: str) -> Outcome:
        return self.machine.run("run", str(self.folder), *words, environment=self.environment(**variables))

    def says(self, *words: str) -> str:
        """Return what comes on stdout; stderr is silent."""
        outcome = self.run(*words)
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.out

    def data(self, *words: str) -> dict[str, Any]:
        outcome = self.run(*words, "--json")
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.data()

    def refusal(self, *words: str) -> str:
        outcome = self.run(*words)
        assert (outcome.code, outcome.out) == (1, "")
        return outcome.err

    def shell(self, script: str, **variables: str) -> Outcome:
        """Run a line of bash, where ``$BIRD`` is the model."""
        return self.machine.shell(script, BIRD=str(self.folder), OPENBLAS_NUM_THREADS="1", **variables)


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


def rendered(question: str, system: str | None = None) -> int:
    """Return how many tokens a question has as the template renders it: a byte each, and a token for each mark."""
    first = 0 if system is None else len(b"\x00system\n" + system.encode() + b"\x00\n")
    return first + len(b"\x00user\n" + question.encode() + b"\x00\n\x00assistant\n")


# --- the answer


def test_the_document_tells_the_answer_and_what_it_took(bird: Bird) -> None:
    data = bird.data(CAPITAL)
    timings = data.pop("timings")
    prompt, said = rendered(CAPITAL), len(ANSWERS[CAPITAL]) + 1
    assert data == {
        "model": str(bird.folder),
        "response": ANSWERS[CAPITAL],
        "reasoning": None,
        "finish_reason": "stop",
        "usage": {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said},
    }
    assert set(timings) == {"load", "first_token", "total"}
    assert timings["load"] > 0
    assert 0 < timings["first_token"] < timings["total"]


def test_it_is_streamed_written_to_a_file_and_counted(bird: Bird, tmp_path: Path) -> None:
    outcome = bird.run(LONG, "--out", str(tmp_path / "story.txt"), "--verbose")
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[LONG]}\n")
    assert (tmp_path / "story.txt").read_text(encoding="utf-8") == ANSWERS[LONG]
    *notes, last = outcome.err.splitlines()
    counted = STATISTICS.fullmatch(last)
    assert counted is not None
    assert counted.groups() == (str(rendered(LONG)), str(len(ANSWERS[LONG]) + 1), "stop")
    assert all(note.startswith(("no GPU: CPU profile 'fast'", "BLAS: ")) for note in notes)


def test_not_streamed_it_is_the_same(bird: Bird, tmp_path: Path) -> None:
    out = tmp_path / "code.md"
    out.write_text("what was there before, and is much longer than the answer" * 9)
    assert bird.says(CODE, "--no-stream", "--out", str(out)) == f"{ANSWERS[CODE]}\n"
    assert out.read_text(encoding="utf-8") == ANSWERS[CODE]


def test_letters_of_several_bytes_come_whole(bird: Bird) -> None:
    assert bird.says(UNICODE) == f"{ANSWERS[UNICODE]}\n"
    before, _, _ = ANSWERS[UNICODE].partition("\N{PARROT}")
    assert bird.says(UNICODE, "--stop", "\N{PARROT}") == f"{before}\n"


def test_it_ends_after_so_many_tokens(bird: Bird) -> None:
    data = bird.data(CAPITAL, "--max-tokens", "10")
    assert (data["response"], data["finish_reason"]) == (ANSWERS[CAPITAL][:10], "length")
    assert data["usage"]["completion_tokens"] == 10


def test_nothing_of_a_stop_string_is_shown(bird: Bird, tmp_path: Path) -> None:
    before, _, _ = ANSWERS[STOP].partition(STOP_STRING)
    assert "EN" in before  # it began before, and was let through
    shown = bird.says(STOP, "--stop", "not said", STOP_STRING, "--out", str(tmp_path / "out"))
    assert shown == f"{before}\n"
    assert (tmp_path / "out").read_text() == before
    data = bird.data(STOP, "--stop", "four", "--stop", "three")
    assert (data["response"], data["finish_reason"]) == (before.removesuffix("three "), "stop")


# --- what it is asked


def test_a_system_text_is_told_or_read_from_a_file(bird: Bird, tmp_path: Path) -> None:
    system = "Du bist Polly, ein Papagei. \N{PARROT}"
    (tmp_path / "system.txt").write_text(system, encoding="utf-8")
    for value in (system, f"@{tmp_path / 'system.txt'}"):
        data = bird.data(CAPITAL, "--system", value)
        assert (data["response"], data["usage"]["prompt_tokens"]) == (ANSWERS[CAPITAL], rendered(CAPITAL, system))


def test_words_are_one_question_and_files_stand_before_it(bird: Bird, tmp_path: Path) -> None:
    assert bird.says(*CAPITAL.split()) == f"{ANSWERS[CAPITAL]}\n"
    (tmp_path / "one.txt").write_text("Eins\n")
    (tmp_path / "two.txt").write_text("Zwei\n\n")
    one, two = str(tmp_path / "one.txt"), str(tmp_path / "two.txt")
    data = bird.data(CAPITAL, "--in", one, two)
    asked = f"{one}:\n\nEins\n\n{two}:\n\nZwei\n\n{CAPITAL}"
    assert data["usage"]["prompt_tokens"] == rendered(asked)


def test_without_the_template_the_prompt_is_what_was_written(bird: Bird) -> None:
    data = bird.data(CAPITAL, "--no-chat-template", "--max-tokens", "40")
    assert data["usage"]["prompt_tokens"] == len(CAPITAL)
    assert data["response"] != ANSWERS[CAPITAL]


# --- what it thinks


def test_in_a_pipe_only_the_answer_is_shown_unless_somebody_asks(bird: Bird, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert bird.says(REASONING) == f"{SUM}\n"
    assert bird.says(REASONING, "--show-reasoning", "--out", str(out)) == f"{THOUGHT}\n\n{SUM}\n"
    assert out.read_text() == SUM
    assert bird.says(REASONING, "--think-only") == f"{THOUGHT}\n"


def test_a_document_has_thoughts_and_answer_apart(bird: Bird) -> None:
    data = bird.data(REASONING, "--hide-reasoning")
    assert (data["response"], data["reasoning"]) == (SUM, THOUGHT)
    assert data["finish_reason"] == "stop"


def test_on_a_terminal_thoughts_are_faint_unless_they_are_hidden(bird: Bird) -> None:
    shown = bird.machine.on_terminal("run", str(bird.folder), REASONING, OPENBLAS_NUM_THREADS="1").out
    assert re.sub(r"\x1b\[\d*m", "", shown) == f"{THOUGHT}\n\n{SUM}\n"
    faint = "".join(re.findall(r"\x1b\[2m(.*?)\x1b\[0m", shown, re.DOTALL))
    assert faint == THOUGHT
    hidden = bird.machine.on_terminal(
        "run", str(bird.folder), REASONING, "--hide-reasoning", OPENBLAS_NUM_THREADS="1"
    ).out
    assert hidden == f"{SUM}\n"


# --- how it is chosen


def test_chance_is_the_same_for_the_same_seed(bird: Bird) -> None:
    def said(*words: str) -> str:
        text = bird.data(NONSENSE, "--temperature", "1.5", "--top-p", "1", "--max-tokens", "60", *words)["response"]
        assert isinstance(text, str)
        return text

    first = said("--seed", "1")
    assert first == said("--seed", "1")
    assert len({first, said("--seed", "2"), said("--seed", "3")}) == 3


def test_the_likeliest_is_what_no_chance_chooses(bird: Bird) -> None:
    greedy = bird.data(NONSENSE, "--temperature", "0", "--max-tokens", "60")["response"]
    hot = ("--temperature", "1.5", "--max-tokens", "60")
    assert bird.data(NONSENSE, *hot, "--top-k", "1")["response"] == greedy
    assert bird.data(NONSENSE, *hot, "--min-p", "1", "--seed", "4")["response"] == greedy


def test_what_was_said_becomes_less_likely(bird: Bird) -> None:
    assert bird.says(ECHO, "--repetition-penalty", "1") == f"{ANSWERS[ECHO]}\n"
    data = bird.data(ECHO, "--repetition-penalty", "5", "--max-tokens", "60")
    assert data["response"][:3] == ANSWERS[ECHO][:3]
    assert not data["response"].startswith("Echo, echo")


def test_it_need_not_remember_much(bird: Bird) -> None:
    assert bird.says(LONG, "--max-kv-size", "64") == f"{ANSWERS[LONG]}\n"


def test_it_remembers_no_more_than_it_may(bird: Bird) -> None:
    assert bird.says(LONG, "--max-kv-size", "8", "--max-tokens", "60") != f"{ANSWERS[LONG][:60]}\n"


def test_what_cannot_be_quantised_is_refused_by_name(bird: Bird) -> None:
    told = bird.refusal(CAPITAL, "--kv-bits", "8", "--kv-group-size", "32", "--quantized-kv-start", "1000")
    assert told.startswith("error: kv_group_size 32 does not go with this model: its heads remember 12 numbers\n")
    assert "Leave kv_bits out" in told


@pytest.mark.parametrize("profile", ["fast", "compact", "as-is"])
def test_every_cpu_profile_speaks(bird: Bird, profile: str) -> None:
    small = attrs.evolve(bird, folder=parrot_4bit_folder())
    outcome = small.run(CAPITAL, "--cpu-profile", profile, "--verbose")
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[CAPITAL]}\n")
    *notes, last = outcome.err.splitlines()
    assert STATISTICS.fullmatch(last)
    assert notes[:1] in ([], [f"no GPU: CPU profile '{profile}'"])  # with a GPU there is nothing to decide


# --- what is refused


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
    ("words", "told"),
    [
        (("",), "prompt is empty"),
        (("  \n",), "prompt is empty"),
        (("word", "-"), "- must be the first word"),
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
def test_a_question_that_cannot_be_asked_is_told(bird: Bird, words: tuple[str, ...], told: str) -> None:
    (bird.machine.root / "binary").write_bytes(b"\x00\x01text")
    (bird.machine.root / "latin").write_bytes(b"caf\xe9")
    outcome = bird.run(*words)
    assert outcome.code == (3 if "missing.txt" in told else 1)
    if "--json" in words:
        assert told in str(outcome.error()["message"])
    else:
        assert outcome.out == ""
        assert told in outcome.err.splitlines()[0]


def test_a_prompt_longer_than_the_window_is_refused(bird: Bird, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("a" * 2100)
    outcome = bird.run(CAPITAL, "--in", str(tmp_path / "long.txt"), "--json")
    error = outcome.error()
    assert (outcome.code, error["type"]) == (1, "context_length_exceeded")
    assert "at most 2048" in str(error["message"])


def test_a_prompt_longer_than_the_window_is_told_by_us_alone(bird: Bird, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("a" * 2100)
    told = bird.refusal(CAPITAL, "--in", str(tmp_path / "long.txt"))
    assert [line.partition(":")[0] for line in told.splitlines()] == ["error", "hint"]


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
        (embedding, ("does not generate text", "mlxk embed")),
        (speech, ("does not generate text", "speech")),
    ):
        told = attrs.evolve(bird, folder=folder).refusal(CAPITAL)
        assert all(word in told for word in words), (folder.name, told)
    missing = bird.machine.run("run", "nobody/nothing", CAPITAL, "--json")
    assert (missing.code, missing.error()["type"]) == (1, "model_not_found")


def test_weights_that_do_not_fit_the_architecture_are_told_as_an_error(bird: Bird, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(bird.folder, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}))
    outcome = attrs.evolve(bird, folder=other).run(CAPITAL, "--json")
    assert (outcome.code, outcome.error()["type"]) == (1, "generation_failed")
    assert "shape" in str(outcome.error()["message"])


# --- the program


def test_mlx_run_is_mlxk_run(bird: Bird) -> None:
    outcome = bird.machine.run(str(bird.folder), CAPITAL, program="mlx-run", environment=bird.environment())
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{ANSWERS[CAPITAL]}\n", "")


def test_options_may_stand_between_the_model_and_the_question(bird: Bird) -> None:
    outcome = bird.run("--max-tokens", "10", CAPITAL)
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[CAPITAL][:10]}\n")


def test_the_help_names_every_option(bird: Bird) -> None:
    options = """--chat --system --in --out --separator --max-tokens --temperature --top-p --top-k --min-p
        --repetition-penalty --seed --stop --no-stream --no-chat-template --show-reasoning --hide-reasoning --think-only
        --kv-bits --kv-group-size --quantized-kv-start --max-kv-size --draft-model --cpu-profile --verbose --json"""
    assert set(options.split()) <= set(re.findall(r"--[a-z-]+", bird.machine.run("run", "--help").out))
