"""``run`` with a question: what the model says comes out exactly, and every option does what its help tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.processes import Machine, Outcome
from tests.parrot import ANSWERS, STOP_STRING, answer_of, parrot_4bit_folder, parrot_folder
from tests.parrot.answers import CAPITAL, CODE, LONG, REASONING, STOP, UNICODE

pytestmark = pytest.mark.timeout(1200)

NONSENSE = "qqq zz"
"""Nothing that the parrot was taught: here it is not sure, so that chance shows."""
THOUGHT = "First 17 + 20 = 37. Then 37 + 5 = 42."
SUM = answer_of(REASONING, thinking=False)
CUT = re.compile(r"Output cut at \d+ tokens? \(--max-tokens\)\n")
STATISTICS = re.compile(
    r"(\d+) prompt tokens, (\d+) generated \((\w+)\); "
    r"loaded in \d+\.\ds, first token after \d+\.\d\ds, then [\d.]+ tokens/s"
)


@attrs.frozen
class Bird:
    """A parrot in the cache of a sandbox."""

    machine: Machine
    folder: Path

    def environment(self, **variables: str) -> dict[str, str]:
        return self.machine.environment(OPENBLAS_NUM_THREADS="1", **variables)

    def run(self, *words: str, **variables: str) -> Outcome:
        return self.machine.run("run", str(self.folder), *words, environment=self.environment(**variables))

    def says(self, *words: str) -> str:
        """Return what comes on stdout; stderr says at most that the answer was cut."""
        outcome = self.run(*words)
        assert (outcome.code, CUT.sub("", outcome.err)) == (0, "")
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
        "prompt": CAPITAL,
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


def _left_on_terminal(bird: Bird, *words: str) -> str:
    """Return what stands on a terminal in the end: a machine that is slow to load says so, and wipes it."""
    shown = bird.machine.on_terminal("run", str(bird.folder), *words, OPENBLAS_NUM_THREADS="1").out
    return re.sub(r"^loading [^\n]*?\r\x1b\[K", "", shown)


def test_on_a_terminal_thoughts_are_faint_unless_they_are_hidden(bird: Bird) -> None:
    shown = _left_on_terminal(bird, REASONING, "--plain")
    assert re.sub(r"\x1b\[\d*m", "", shown) == f"{THOUGHT}\n\n{SUM}\n"
    faint = "".join(re.findall(r"\x1b\[2m(.*?)\x1b\[0m", shown, re.DOTALL))
    assert faint == THOUGHT
    assert _left_on_terminal(bird, REASONING, "--plain", "--hide-reasoning") == f"{SUM}\n"


# --- on which machine


@pytest.mark.parametrize("profile", ["fast", "compact", "as-is"])
def test_every_cpu_profile_speaks(bird: Bird, profile: str) -> None:
    small = attrs.evolve(bird, folder=parrot_4bit_folder())
    outcome = small.run(CAPITAL, "--cpu-profile", profile, "--verbose")
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[CAPITAL]}\n")
    *notes, last = outcome.err.splitlines()
    assert STATISTICS.fullmatch(last)
    assert notes[:1] in ([], [f"no GPU: CPU profile '{profile}'"])  # with a GPU there is nothing to decide


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
