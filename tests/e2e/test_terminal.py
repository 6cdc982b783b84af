"""What people see: colour and pretty layout on a terminal only, and never a character that steers it."""

from __future__ import annotations

import re
import unicodedata

import pytest

from tests.builder import chat_files, json_bytes
from tests.e2e.processes import Machine, Outcome

COLOUR = re.compile(r"\x1b\[(?:1|2|31|32|33)(?:;\d+)*m|\x1b\[0m")
STEERING = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
EVIL = "a\x1b[31m\x1b]0;title\x07\x9b2J\u202e\u2066\u2028\x08\x7f\u200f\rz"


@pytest.fixture
def mixed(machine: Machine) -> Machine:
    """Make a healthy model, a damaged one, and one that does not run for a long reason."""
    machine.cache.model("mlx-community/fine")
    machine.cache.model("mlx-community/future", chat_files(model_type="an_architecture_of_tomorrow"))
    (machine.cache.model("mlx-community/torn").snapshot / "config.json").unlink()
    return machine


def test_a_terminal_gets_colour(mixed: Machine) -> None:
    shown = mixed.on_terminal("list", "--health", "--all")
    assert shown.code == 0
    assert "\x1b[32mhealthy\x1b[0m" in shown.out
    assert "\x1b[33mhealthy*\x1b[0m" in shown.out
    assert "\x1b[31munhealthy\x1b[0m" in shown.out


def test_the_colours_do_not_move_the_columns(mixed: Machine) -> None:
    shown, piped = mixed.on_terminal("list", "--health", "--all"), mixed.run("list", "--health", "--all")
    assert COLOUR.sub("", shown.out) == piped.out


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}], ids=str)
@pytest.mark.parametrize("words", [["list", "--health", "--all"], ["health"], ["show", "fine"], ["nonsense"]], ids=str)
def test_a_terminal_can_be_asked_to_stay_plain(mixed: Machine, variables: dict[str, str], words: list[str]) -> None:
    assert "\x1b" in mixed.on_terminal(*words).out
    assert "\x1b" not in mixed.on_terminal(*words, **variables).out


def test_an_empty_no_color_asks_for_nothing(mixed: Machine) -> None:
    assert "\x1b[32m" in mixed.on_terminal("health", NO_COLOR="").out


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 200])
@pytest.mark.parametrize(
    "words",
    [
        ["list", "--verbose", "--health", "--all"],
        ["list", "--all"],
        ["health"],
        ["show", "future"],
        ["show", "torn", "--files"],
    ],
    ids=" ".join,
)
def test_no_line_is_wider_than_the_terminal(mixed: Machine, words: list[str], columns: int) -> None:
    mixed.cache.model(f"org/{'a-long-name-' * 6}end", chat_files(model_type="tomorrow"))
    shown = COLOUR.sub("", mixed.on_terminal(*words, COLUMNS=str(columns)).out)
    assert [line for line in shown.splitlines() if len(line) > columns] == []


def test_a_wide_terminal_keeps_every_row_in_one_line(mixed: Machine) -> None:
    words = ("list", "--verbose", "--health")
    assert COLOUR.sub("", mixed.on_terminal(*words, COLUMNS="200").out) == mixed.run(*words).out


def test_a_long_reason_is_broken_between_words(mixed: Machine) -> None:
    shown = COLOUR.sub("", mixed.on_terminal("list", "--verbose", "--health", COLUMNS="120").out).splitlines()
    rows = [[cell.strip() for cell in line.split(" | ")] for line in shown if " | " in line]
    assert rows[0][-3:] == ["Health", "Runtime", "Reason"]
    reasons = [row[-1] for row in rows[1:]]
    assert "an_architecture_of_tomorrow" in "".join(reasons)
    assert "Model architecture" in reasons


def test_a_narrow_terminal_gets_a_paragraph_for_each_model(mixed: Machine) -> None:
    shown = COLOUR.sub("", mixed.on_terminal("list", "--verbose", "--health", COLUMNS="60").out)
    assert "\nmlx-community/torn\n  Hash: " in shown
    assert "  Health: unhealthy" in shown
    assert " | " not in shown


@pytest.mark.parametrize(
    "words",
    [["list", "--all", "--verbose", "--health"], ["list"], ["health"], ["show", "fine"], ["show", "torn"], ["version"]],
    ids=" ".join,
)
def test_a_pipe_gets_plain_whole_lines(mixed: Machine, words: list[str]) -> None:
    outcome = mixed.run(*words)
    assert "\x1b" not in outcome.out
    assert all(line == line.rstrip() for line in outcome.out.splitlines())


def test_a_pipe_gets_the_whole_reason_in_one_line(mixed: Machine) -> None:
    lines = mixed.run("list", "--verbose", "--health").out.splitlines()
    assert len(lines) == 2 + 3
    (future,) = [line for line in lines if "mlx-community/future" in line]
    assert "Model architecture 'an_architecture_of_tomorrow' not supported by mlx-lm" in future


def test_an_error_on_a_terminal_has_colour_and_a_piped_one_has_none(mixed: Machine) -> None:
    assert "\x1b[31merror: \x1b[0m" in mixed.on_terminal("show", "nothing").out
    assert mixed.run("show", "nothing").err.startswith("error: No model found matching 'nothing'\n")


@pytest.fixture
def evil(machine: Machine) -> Machine:
    """Make a model that writes steering characters wherever a stranger can."""
    card = f'---\nlicense: "{EVIL}"\nbase_model: "{EVIL}"\nlicense_name: {EVIL}\n---\n'
    files = chat_files(model_type=EVIL, note=EVIL, quantization={"bits": 4, "group_size": 64, "mode": EVIL})
    built = machine.cache.model("org/evil", files | {"README.md": card.encode("utf-8", "surrogatepass")})
    (built.snapshot / EVIL).write_bytes(b"x")
    (built.snapshot / "caf\udce9.txt").write_bytes(b"x")
    folder = machine.workspace("plain")
    (folder / ".mlxk_workspace.json").write_bytes(json_bytes({"source_repo": EVIL}))
    folder.rename(machine.home / EVIL)
    torn = machine.cache.model("org/torn", chat_files() | {f"{EVIL}.index.json": b"{"})
    torn.repo.rename(machine.hub / f"models--org--{EVIL}")
    odd = machine.cache.model("org/odd", chat_files() | {f"{EVIL}.safetensors.partial": b""})
    (odd.repo / "refs" / EVIL).write_text("x")
    return machine


def harmless(outcome: Outcome) -> None:
    rest = COLOUR.sub("", outcome.out + outcome.err)
    steering = {char for char in rest if unicodedata.category(char) in STEERING and char != "\n"}
    assert steering == set()
    assert rest.strip()


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["list", "--all", "--verbose", "--health"],
        ["health"],
        ["show", "org/evil"],
        ["show", "org/evil", "--files"],
        ["show", "org/evil", "--config"],
        ["show", "%1B"],
        ["show", EVIL],
        ["show", f"./{EVIL}"],
        ["show", f"org/evil@{EVIL}"],
        ["show", "org/odd@fff"],
        ["health", EVIL],
        ["list", EVIL],
        ["list", f"--{EVIL}"],
        [EVIL],
        [f"--{EVIL}"],
    ],
    ids=lambda words: ascii(" ".join(words))[:30],
)
@pytest.mark.parametrize("place", ["terminal", "pipe", "json"])
def test_no_stranger_steers_the_terminal(evil: Machine, words: list[str], place: str) -> None:
    if place == "json":
        assert evil.run("--json", *words).document()
        harmless(evil.run("--json", *words))
    else:
        harmless(evil.on_terminal(*words) if place == "terminal" else evil.run(*words))


def test_what_was_hidden_in_the_card_is_shown_written_out(evil: Machine) -> None:
    shown = evil.run("show", "org/evil").out
    assert "\\x1b[31m" in shown
    assert "\\u202e" in shown


@pytest.mark.parametrize(
    "variables", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}]
)
def test_a_terminal_without_unicode_is_no_crash(evil: Machine, variables: dict[str, str]) -> None:
    evil.workspace("größe-模型")
    for words in (["list", "--all"], ["show", "org/evil", "--config", "--files"], ["health"], ["list", "--json"]):
        outcome = evil.run(*words, environment=evil.environment(**variables))
        assert (outcome.code, outcome.err) == (0, "")
