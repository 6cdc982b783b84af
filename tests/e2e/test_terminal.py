"""Colour and layout on a terminal only, and no control character that a stranger wrote."""

from __future__ import annotations

import re
import sys
import unicodedata
from io import StringIO

import pytest

import mlxknife
from mlxknife import App
from mlxknife.cli.main import run_command_line
from tests.builder import chat_files, json_bytes
from tests.e2e.processes import Machine, Outcome

COLOUR = re.compile(r"\x1b\[(?:1|2|31|32|33)(?:;\d+)*m|\x1b\[0m")
CONTROLS = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
EVIL = "a\x1b[31m\x1b]0;title\x07\x9b2J\u202e\u2066\u2028\x08\x7f\u200f\rz"


@pytest.fixture
def mixed(machine: Machine) -> Machine:
    """Make a healthy model, a damaged one, and one that does not run for a long reason."""
    machine.cache.model("mlx-community/fine")
    machine.cache.model("mlx-community/future", chat_files(model_type="an_architecture_of_tomorrow"))
    (machine.cache.model("mlx-community/torn").snapshot / "config.json").unlink()
    return machine


def test_a_terminal_gets_the_lines_of_a_pipe_in_colour(mixed: Machine) -> None:
    shown, piped = mixed.on_terminal("list", "--health", "--all"), mixed.run("list", "--health", "--all")
    assert shown.code == 0
    assert "\x1b[32mhealthy\x1b[0m" in shown.out
    assert "\x1b[33mhealthy*\x1b[0m" in shown.out
    assert "\x1b[31munhealthy\x1b[0m" in shown.out
    assert COLOUR.sub("", shown.out) == piped.out


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_a_variable_turns_the_colours_of_a_terminal_off(mixed: Machine, variables: dict[str, str]) -> None:
    assert "\x1b[32m" in mixed.on_terminal("health", NO_COLOR="").out
    for words in (["list", "--health", "--all"], ["health"], ["show", "fine"], ["nonsense"]):
        shown = mixed.on_terminal(*words, **variables).out
        assert shown
        assert "\x1b" not in shown


def test_the_width_of_the_terminal_limits_the_lines(mixed: Machine) -> None:
    words = ("list", "--verbose", "--health", "--all")
    assert max(map(len, mixed.run(*words).out.splitlines())) > 120
    for columns in (60, 120):
        shown = COLOUR.sub("", mixed.on_terminal(*words, COLUMNS=str(columns)).out)
        assert [line for line in shown.splitlines() if len(line) > columns] == []


@pytest.mark.parametrize("words", [["list", "--verbose", "--health"], ["health"], ["show", "future"]], ids=" ".join)
def test_a_pipe_gets_whole_lines_without_colour(mixed: Machine, words: list[str]) -> None:
    outcome = mixed.run(*words)
    assert "\x1b" not in outcome.out
    assert all(line == line.rstrip() for line in outcome.out.splitlines())
    assert words == ["health"] or "'an_architecture_of_tomorrow' not supported by mlx-lm" in outcome.out


def test_an_error_is_coloured_on_a_terminal_only(mixed: Machine) -> None:
    assert "\x1b[31merror: \x1b[0m" in mixed.on_terminal("show", "nothing").out
    assert mixed.run("show", "nothing").err.startswith("error: No model found matching 'nothing'\n")


@pytest.fixture
def hostile(machine: Machine) -> Machine:
    """Make models with control characters in every place that a stranger can write to."""
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
    """Fail if anything but our own colours could control a terminal."""
    rest = COLOUR.sub("", outcome.out + outcome.err)
    controls = {char for char in rest if unicodedata.category(char) in CONTROLS and char != "\n"}
    assert controls == set()
    assert rest.strip()


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run_here(machine: Machine, stream: type[StringIO], *words: str) -> Outcome:
    """Run a command line in this process, with both streams of a kind."""

    def app(*, reads_config: bool = True) -> App:
        return mlxknife.open_app(
            hub_cache=machine.hub, workspace_home=machine.home, environment={}, reads_config=reads_config
        )

    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err = stream(), stream()
    try:
        code = run_command_line([*words], app)
    finally:
        sys.stdout, sys.stderr = before
    return Outcome(code, out.getvalue(), err.getvalue())


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
def test_no_control_character_of_a_stranger_is_printed(
    hostile: Machine, monkeypatch: pytest.MonkeyPatch, words: list[str], place: str
) -> None:
    monkeypatch.chdir(hostile.root)
    for name in ("NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    outcome = run_here(hostile, Terminal if place == "terminal" else StringIO, *words, *["--json"] * (place == "json"))
    harmless(outcome)
    assert outcome.code in (0, 1)
    if place == "json":
        assert outcome.document()


@pytest.mark.parametrize("words", [["list", "--all", "--verbose", "--health"], ["show", "org/evil"], ["show", EVIL]])
def test_a_real_terminal_and_a_real_pipe_get_no_control_character_either(hostile: Machine, words: list[str]) -> None:
    harmless(hostile.on_terminal(*words))
    harmless(hostile.run(*words))
    harmless(hostile.run("--json", *words))


def test_control_characters_of_a_model_card_are_escaped(hostile: Machine) -> None:
    shown = hostile.run("show", "org/evil").out
    assert "\\x1b[31m" in shown
    assert "\\u202e" in shown


@pytest.mark.parametrize(
    "variables", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}]
)
def test_a_terminal_without_unicode_is_no_crash(hostile: Machine, variables: dict[str, str]) -> None:
    hostile.workspace("größe-模型")
    for words in (["list", "--all"], ["show", "org/evil", "--config", "--files"], ["health"], ["list", "--json"]):
        outcome = hostile.run(*words, environment=hostile.environment(**variables))
        assert (outcome.code, outcome.err) == (0, "")
