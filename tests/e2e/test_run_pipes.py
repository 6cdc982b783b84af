"""``run`` among other programs: in real pipes of bash, with every state that stdin and stdout can be in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.processes import Machine
from tests.e2e.test_run import NONSENSE, SUM, Bird, rendered
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, CODE, LONG, REASONING, UNICODE

pytestmark = pytest.mark.timeout(1200)

_CLOSED = "error: cannot write the answer: stdout is closed\n"


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


def counted(bird: Bird, script: str) -> tuple[dict[str, Any], int]:
    """Return the data of a document that a script writes, and how many tokens the prompt had."""
    outcome = bird.shell(script)
    assert (outcome.code, outcome.err) == (0, "")
    data = outcome.data()
    usage = data["usage"]
    assert isinstance(usage, dict)
    return data, usage["prompt_tokens"]


# --- stdin


def test_stdin_is_the_question_without_its_last_line_break(bird: Bird) -> None:
    data, tokens = counted(bird, f"echo '{CAPITAL}' | mlxk run $BIRD - --json")
    assert (data["response"], tokens) == (ANSWERS[CAPITAL], rendered(CAPITAL))


def test_further_words_stand_behind_stdin_after_the_separator(bird: Bird) -> None:
    spaced = bird.shell("echo 'What is 17' | mlxk run $BIRD - '+' '25?' --separator ' '")
    assert (spaced.code, spaced.out, spaced.err) == (0, f"{SUM}\n", "")
    ask = "printf 'a text\\n\\n' | mlxk run $BIRD - 'and more' --json --max-tokens 5"
    assert counted(bird, ask)[1] == rendered("a text\n\nand more")
    assert counted(bird, f"{ask} --separator '\\n---\\n'")[1] == rendered("a text\n---\nand more")
    assert counted(bird, f"{ask} --no-chat-template --separator '\\t'")[1] == len("a text\tand more")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("</dev/null", "stdin is empty"),
        ("< <(printf ' \\n\\n')", "stdin is empty"),
        ("<&-", "stdin is closed"),
        ("< <(head -c 2000 /dev/zero)", "stdin is binary, not text"),
        ("< <(printf 'caf\\xe9')", "stdin is not UTF-8 text"),
        ("< <(head -c 100000001 /dev/zero | tr '\\0' a)", "stdin is longer than 100MB"),
    ],
)
def test_a_stdin_that_is_no_question_is_told(bird: Bird, source: str, message: str) -> None:
    outcome = bird.shell(f"mlxk run $BIRD - {source}")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ")
    assert message in outcome.err.splitlines()[0]
    document = bird.shell(f"mlxk run $BIRD - --json {source}")
    assert (document.code, document.error()["type"]) == (1, "ValidationError")


def test_megabytes_are_too_long_for_the_model(bird: Bird) -> None:
    outcome = bird.shell("head -c 10000000 /dev/zero | tr '\\0' a | mlxk run $BIRD - --json; exit ${PIPESTATUS[2]}")
    error = outcome.error()
    assert (outcome.code, error["type"]) == (1, "context_length_exceeded")
    assert "10000000 characters" in str(error["message"])
    assert "2048 tokens" in str(error["message"])


def test_a_mark_of_bytes_at_the_head_of_stdin_is_no_part_of_the_question(bird: Bird) -> None:
    data, tokens = counted(bird, f"printf '\\xef\\xbb\\xbf{CAPITAL}' | mlxk run $BIRD - --json")
    assert (data["response"], tokens) == (ANSWERS[CAPITAL], rendered(CAPITAL))


def test_pipes_can_be_switched_off(bird: Bird) -> None:
    ask = f"echo '{CAPITAL}' | mlxk run $BIRD - --json"
    off = bird.shell(ask, MLXK2_ENABLE_PIPES="0")
    assert (off.code, off.error()["type"]) == (1, "feature_disabled")
    assert off.error()["message"] == "MLXK2_ENABLE_PIPES turns off reading from stdin"
    assert off.error()["hint"] == "Set MLXK2_ENABLE_PIPES to 1, or unset it"
    plain = bird.shell(f"mlxk run $BIRD '{CAPITAL}'", MLXK2_ENABLE_PIPES="0")
    assert (plain.code, plain.out) == (0, f"{ANSWERS[CAPITAL]}\n")
    assert bird.shell(ask, MLXK2_ENABLE_PIPES="1").data()["response"] == ANSWERS[CAPITAL]


@pytest.mark.parametrize(
    ("closed", "is_heard"),
    [("<&-", True), ("<&- 2>&-", True), ("<&- >&-", False), ("<&- >&- 2>&-", False), (">&- 2>&-", False)],
)
def test_a_question_needs_no_stream(bird: Bird, closed: str, is_heard: bool) -> None:  # noqa: FBT001 - a row
    outcome = bird.shell(f"rm -f message; mlxk run $BIRD '{CAPITAL}' --out message {closed}")
    error = "" if is_heard or "2>&-" in closed else _CLOSED
    assert (outcome.code, outcome.err) == (0 if is_heard else 3, error)
    assert outcome.out == (f"{ANSWERS[CAPITAL]}\n" if is_heard else "")
    assert (bird.machine.root / "message").read_text() == ANSWERS[CAPITAL]


# --- stdout


def test_a_reader_that_has_enough_ends_it_quietly(bird: Bird) -> None:
    gone = bird.shell(f"mlxk run $BIRD '{LONG}' | true; exit ${{PIPESTATUS[0]}}")
    assert (gone.code, gone.out, gone.err) == (141, "", "")
    outcome = bird.shell(f"mlxk run $BIRD '{LONG}' | head -c 5; code=${{PIPESTATUS[0]}}; echo; exit $code")
    assert (outcome.out, outcome.err) == (f"{ANSWERS[LONG][:5]}\n", "")
    assert outcome.code in (0, 141)  # 0 where all was in the pipe before the reader went


def test_a_closed_stdout_fails_after_the_answer_is_in_the_file(bird: Bird) -> None:
    closed = bird.shell(f"mlxk run $BIRD '{CAPITAL}' --out message >&-")
    assert (closed.code, closed.out, closed.err) == (3, "", _CLOSED)
    assert (bird.machine.root / "message").read_text() == ANSWERS[CAPITAL]


def test_a_full_stdout_is_told_once(bird: Bird) -> None:
    full = bird.shell(f"mlxk run $BIRD '{CAPITAL}' >/dev/full")
    assert (full.code, full.err) == (3, "error: cannot write the answer: No space left on device\n")


def test_stderr_may_be_closed(bird: Bird) -> None:
    closed = bird.shell(f"mlxk run $BIRD '{CAPITAL}' --verbose 2>&-")
    assert (closed.code, closed.out) == (0, f"{ANSWERS[CAPITAL]}\n")


def test_only_the_answer_goes_on_whatever_is_told_besides(bird: Bird) -> None:
    outcome = bird.shell(f"set -o pipefail; mlxk run $BIRD '{CODE}' --verbose 2>message | tee kept | grep -c return")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{ANSWERS[CODE].count('return')}\n", "")
    assert (bird.machine.root / "kept").read_text() == f"{ANSWERS[CODE]}\n"
    assert "prompt tokens" in (bird.machine.root / "message").read_text()


def test_three_of_them_in_a_chain(bird: Bird) -> None:
    chain = f"mlxk run $BIRD '{REASONING}' | mlxk run $BIRD - --max-tokens 30 | mlxk run $BIRD - '{CAPITAL}' --json"
    outcome = bird.shell(f"set -o pipefail; {chain}")
    assert (outcome.code, outcome.err) == (0, "Output cut at 30 tokens (--max-tokens)\n")
    first = bird.data(SUM, "--max-tokens", "30")["response"]
    usage = outcome.data()["usage"]
    assert isinstance(usage, dict)
    assert usage["prompt_tokens"] == rendered(f"{first}\n\n{CAPITAL}".lstrip("\n"))


def test_a_locale_without_letters_changes_no_byte(bird: Bird) -> None:
    outcome = bird.shell(f"mlxk run $BIRD '{UNICODE}'", LC_ALL="C", PYTHONUTF8="1")
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[UNICODE]}\n")


# --- a conversation that is no terminal's


def test_a_conversation_on_stdin(bird: Bird) -> None:
    lines = (CAPITAL, "", REASONING, "/set temperature 1.5", "/set seed 7", "/set max_tokens 40")
    chance = (NONSENSE, "/clear") * 2
    script = "\n".join((*lines, "/clear", *chance, "/unknown", "/show", "/exit", "never asked"))
    (bird.machine.root / "talk").write_text(f"{script}\n")
    outcome = bird.shell("mlxk run $BIRD <talk")
    assert outcome.code == 0
    sure = f"{ANSWERS[CAPITAL]}\n{SUM}\n"
    assert outcome.out.startswith(sure)
    rest = outcome.out.removeprefix(sure)
    assert rest
    assert rest[: len(rest) // 2] == rest[len(rest) // 2 :]  # the same seed, the same answer, also from a warm cache
    assert outcome.err.splitlines() == [
        "temperature: 1.5",
        "seed: 7",
        "max_tokens: 40",
        *["messages removed"] * 3,
        "error: Unknown command /unknown",
        "hint: /help lists the commands",
        f"model: {bird.folder}",
        "system: -",
        "temperature: 1.5",
        "seed: 7",
        "max_tokens: 40",
    ]


def test_what_a_conversation_keeps_is_what_another_goes_on_with(bird: Bird) -> None:
    talk = bird.shell(f"printf '%s\\n' '/system Be brief.' '{REASONING}' '/save kept.json' | mlxk run $BIRD -c")
    assert (talk.code, talk.out, talk.err) == (0, f"{SUM}\n", "system prompt set\nsaved in kept.json\n")
    saved = json.loads((bird.machine.root / "kept.json").read_text())
    assert saved == {
        "version": 1,
        "model": str(bird.folder),
        "system": "Be brief.",
        "messages": [{"role": "user", "content": REASONING}, {"role": "assistant", "content": SUM}],
    }
    again = bird.shell(f"printf '%s\\n' '/load kept.json' '{CAPITAL}' /show | mlxk run $BIRD -c")
    assert (again.code, again.out) == (0, f"{ANSWERS[CAPITAL]}\n")
    assert again.err.splitlines() == [
        "loaded 2 messages",
        f"model: {bird.folder}",
        "system: Be brief.",
        f"[user] {REASONING}",
        f"[assistant] {SUM}",
        f"[user] {CAPITAL}",
        f"[assistant] {ANSWERS[CAPITAL]}",
    ]
