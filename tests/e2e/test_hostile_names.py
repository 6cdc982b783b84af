"""Hostile model names as arguments of every command: they are refused, and no file changes."""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builder import chat_files
from tests.e2e.processes import Outcome
from tests.e2e.sandbox import GOOD, NAME, Sandbox, follows_contract, is_plain, sandbox_at
from tests.fake_hub import FakeHub
from tests.property.strategies import strange_text
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

UPWARDS = (
    "..", "../..", "../outside", "../../../outside", "..\\..", "%2e%2e", "..;", "...", "....//", "\uff0e\uff0e",
    "\u2025",
)  # fmt: skip
CONTROLS = "\0\x01\x07\x08\t\n\v\r\x1b\x7f\x80\x85\x9b\u200b\u200e\u202a\u202e\u2028\u2029\u2066\ufeff\ud800\udcff"
FORMS = ("{}", "{}/model", "org/{}", "org/model/{}", "org/{}/model", "org/model@{}", "{}@main")
ENDS = (
    "", " ", "  ", ".", "@", "@@", "a@", "@a", "org/", "/org", "org//model", "org/model/", "org/model@", "-", "--",
    "-rf", "--force", "--all", "--orphans", "--help", "-x=/", "*/../*", "..*", "*..", "**/..", "models--org--model",
    "models--..--..", "models----", "org--..", "--/--", ".locks", ".mlxk-trash", "blobs", "refs/heads/main", ".git",
    "org/.git", "org/model.git", "org/-model", "org/.model", "con", "nul", "C:", "C:\\x", "\\\\host\\x", "file:///etc",
    "http://127.0.0.1:1/x", "org/model?x=1", "org/model#x", "org/%2e%2e", "org/mo del", "$HOME", "${HOME}/x", "`id`",
    "$(id)", "a;b", "a|b", "a&b", 'a"b', "a'b", "<a>", "{a}", "[a]", "a%00b", "%s%s%n", "{0.__class__}",
    "org/model@HEAD~1", "org/model@{{u}}", "org/model@refs/../../x", "org/model@-x", "org/model@.x", "org/model@x.",
    "org/model@a/.b", "org/model@x/..", "org/model@/etc", "org/model@\\x", "\u0130", "\u00df", "\u65e5\u672c",
    "e\u0301", "\U0001f999", "\u0661", "a" * 97, "a" * 300, "a" * 5000, "a/" * 200, "org/" + "a" * 97,
    "org/model@" + "a" * 300, "x" * 200_000,
)  # fmt: skip
PATHS = (
    "./", "./..", "../", "../../../../outside", "~", "~/", "~/inner", "~nobody-of-that-name", "~/../outside", "./inner",
    "./inner/..", "./config.json", "{0}/outside", "{0}/outside/", "{0}/outside/inner/..", "{0}/./outside",
    "{0}//outside", "{0}/outside/config.json", "{0}/hub", "{0}/hub/models--good--model", "{0}/hub/../outside",
    "{0}/none/../outside", "{0}/hub/.locks", "{0}/user", "/proc/self/root{0}/outside", "/proc/self/cwd",
    "{0}/outside\0", "./\ud800",
)  # fmt: skip
WORDS = tuple(
    dict.fromkeys(
        (
            *(form.format(up) for form in FORMS for up in UPWARDS),
            *(form.format(f"a{char}b") for form in ("{}", "org/{}", "org/model@{}") for char in CONTROLS),
            *ENDS,
            *PATHS,
        )
    )
)
COMMANDS = (("show",), ("health",), ("health", "--verify"), ("pull",), ("rm",), ("rm", "--force"))
MORE_COMMANDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("list", "--all"), ()),
    (("rm", "--orphans"), ()),
    (("config", "set"), ("1",)),
    (("config", "unset"), ()),
    (("version",), ()),
    (("run",), ("Hello",)),
    (("run", "--pull"), ("Hello",)),
    (("run", "--chat"), ()),
)
"""The other commands that take words: what comes before the name, and after it."""
AS_OPTIONS = (("run", GOOD, "Hello", "--draft-model"), ("serve", "--port", "{port}", "--model"))
"""Those that take a model as an option. The port is in use, so that no server stays."""


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def sandbox(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with sandbox_at(tmp_path, hub, monkeypatch) as made:
        hub.add(NAME, chat_files())
        yield made


def check(sandbox: Sandbox, word: str) -> None:
    """Pass a name to every command, with and without ``--json``; no file changes."""
    word = word.format(sandbox.machine.root) if word in PATHS else word
    with sandbox.unchanged(sandbox.repo):
        for command in COMMANDS:
            assert follows_contract(sandbox.run(*command, "--", word)), (command, word)
            outcome = sandbox.run(*command, "--json", word)  # before a --, where it can be an option
            assert outcome.code in (0, 1, 2, 3), (command, word, outcome)
            assert word in ("--help", "-h") or json.loads(outcome.out)["status"] in ("success", "error")
            assert '"InternalError"' not in outcome.out, (command, word, outcome)
            assert is_plain(outcome.out + outcome.err)
    assert sandbox.good_is_verified()


def check_more(sandbox: Sandbox, word: str, port: int) -> Iterator[Outcome]:
    """Pass a name to the other commands; no file changes. Yield what came of each."""
    word = word.format(sandbox.machine.root) if word in PATHS else word
    options = [[*(part.format(port=port) for part in command[:-1]), f"{command[-1]}={word}"] for command in AS_OPTIONS]
    plain = [[*before, "--", word, *after] for before, after in MORE_COMMANDS]
    as_json = [[before[0], "--json", *before[1:], word, *after] for before, after in MORE_COMMANDS]
    with sandbox.unchanged(sandbox.repo):
        for words in (*options, *plain, *as_json):
            outcome = sandbox.run(*words)
            assert follows_contract(outcome), (words, outcome)
            assert "Traceback" not in outcome.out + outcome.err, (words, outcome)
            is_json = "--json" in words and "--help" not in words
            assert not is_json or json.loads(outcome.out)["status"] in ("success", "error"), (words, outcome)
            yield outcome


@pytest.fixture
def used_port() -> Iterator[int]:
    """Return a port on which something listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("word", WORDS[::70], ids=lambda word: ascii(word)[:40])
def test_a_hostile_name_touches_nothing_with_the_other_commands(sandbox: Sandbox, word: str, used_port: int) -> None:
    assert {outcome.code for outcome in check_more(sandbox, word, used_port)} <= {0, 1, 2, 3}


@pytest.mark.stress(part="hostile-names")
def test_every_hostile_name_with_every_command(sandbox: Sandbox, used_port: int, scorecard: Scorecard) -> None:
    codes = Counter[int]()
    for word in WORDS:
        check(sandbox, word)
        codes.update(outcome.code for outcome in check_more(sandbox, word, used_port))
        codes.update([tee(sandbox, word).code] if can_be_argument(word) else [])
    commands = len(COMMANDS) + len(MORE_COMMANDS) + len(AS_OPTIONS) + 1
    assert set(codes) <= {0, 1, 2, 3}
    assert codes[1] > codes.total() / 2
    scorecard.record(
        counts={"names": len(WORDS), "commands": commands, "files touched": 0, "tracebacks": 0},
        figures={f"exit code {code}": count for code, count in sorted(codes.items())},
    )


def tee(sandbox: Sandbox, word: str) -> Outcome:
    """Have ``mlx-tee`` run a command line with the name; it is a process of its own."""
    with sandbox.unchanged(sandbox.repo):
        line = shlex.join(["mlxk", "show", "--", word.format(sandbox.machine.root) if word in PATHS else word])
        outcome = sandbox.machine.run(line, program="mlx-tee", cwd=sandbox.here)
    assert follows_contract(outcome), (word, outcome)
    return outcome


def can_be_argument(word: str) -> bool:
    """Return whether a process can be given a word: it has no NUL, is no lone surrogate, and is not too long."""
    try:
        return b"\0" not in os.fsencode(word) and len(word) < 100_000
    except UnicodeEncodeError:
        return False


@pytest.mark.parametrize("word", WORDS, ids=lambda word: ascii(word)[:40])
def test_a_hostile_name_touches_nothing(sandbox: Sandbox, word: str) -> None:
    check(sandbox, word)


def test_there_are_at_least_200_names() -> None:
    assert len(WORDS) >= 200


@pytest.fixture(scope="module")
def shared(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Make a sandbox for many examples."""
    with (
        pytest.MonkeyPatch.context() as patched,
        sandbox_at(tmp_path_factory.mktemp("shared"), hub, patched) as made,
    ):
        yield made


def matches_good_model(word: str) -> bool:
    """Return whether ``rm`` may take a name for the good model: a part of its name, or a pattern."""
    return "*" in word or word.partition("@")[0].casefold() in GOOD


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_random_names_touch_nothing(shared: Sandbox, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(("{}", "org/{}", "org/model@{}", "../{}", "./{}", "~/{}", "~{}")))
    word = form.replace("{}", data.draw(strange_text(30).filter(lambda text: not matches_good_model(text))))
    if matches_good_model(word) or word.strip("./~") == "":
        return
    check(shared, word)


@pytest.mark.parametrize(
    "word",
    ["../outside", "..", "~", "org/model@../../x", "a\x1b[2Jb", "", "-rf", "models--..--..", "a" * 5000, "C:\\x"],
    ids=lambda word: ascii(word)[:20],
)
def test_a_real_process_refuses_them_as_well(sandbox: Sandbox, word: str) -> None:
    surroundings = sandbox.machine.environment(
        HF_ENDPOINT=sandbox.hub.endpoint, XDG_CONFIG_HOME=str(sandbox.machine.root)
    )
    with sandbox.unchanged(sandbox.repo):
        for command in (("pull",), ("rm", "--force")):
            outcome = sandbox.machine.run(*command, "--", word, environment=surroundings, cwd=sandbox.here)
            assert outcome.code in (1, 2), outcome
            assert follows_contract(outcome), outcome
