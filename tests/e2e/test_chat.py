"""The chat on a terminal: the tests type the bytes of a keyboard and read what appears between two prompts."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pytest

from tests.e2e.breeding import endless_parrot, is_beginning
from tests.e2e.processes import BIN, Machine
from tests.e2e.test_run import SUM, THOUGHT, Bird, rendered
from tests.parrot import ANSWERS, parrot_4bit_folder, parrot_folder
from tests.parrot.answers import CAPITAL, CODE, GREETING, LONG, REASONING
from tests.screen import Screen

pytestmark = pytest.mark.timeout(1200)

_PASTE_ON, _PASTE_OFF, _CURSOR = "\x1b[?2004h", "\x1b[?2004l", "\x1b[?25h"
"""What prompt_toolkit writes when it begins to ask, when it was answered, and when all is drawn."""
_OWN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the terminal the one whose Ctrl-C reaches the program."""
_CTRL_C, _CTRL_D, _ALT_ENTER, _UP = "\x03", "\x04", "\x1b\r", "\x1b[A"
_WHERE_IS_THE_CURSOR = b"\x1b[6n"
"""A question that not every terminal answers."""
_WAITING = re.compile(r"loading [^\r\n]*\r\x1b\[K")
"""What a slow machine says meanwhile, and wipes."""
_RATE = re.compile(r"(?:^|(?<=\n))\d+\.\d tokens/s\n")
"""What follows an answer."""
_MUST_COME = 60


class Terminal:
    """A chat on a terminal."""

    def __init__(self, bird: Bird, *words: str, out: IO[bytes] | None = None, **variables: str) -> None:
        """Begin it, with what is said on the terminal too, or in a file."""
        self._mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        settings = termios.tcgetattr(theirs)
        settings[3] |= termios.NOFLSH  # a Ctrl-C drops nothing that was printed before
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _OWN_TERMINAL, str(BIN / "mlxk"), "run", str(bird.folder), *words],
            env=bird.environment(**({"NO_COLOR": "1"} | variables)),
            cwd=bird.machine.root,
            stdin=theirs,
            stdout=theirs if out is None else out,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.greeting = self._until(_is_asking).partition(_PASTE_ON)[0].partition(_CURSOR)[2].replace("\r\n", "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._mine)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as a shell expects it."""
        return bool(termios.tcgetattr(self._mine)[3] & termios.ECHO)

    def end(self, number: int) -> int:
        """Send a signal; return the exit code."""
        self._process.send_signal(number)
        self._until(lambda _: False)
        return self._process.wait(_MUST_COME)

    def press(self, keys: str) -> None:
        os.write(self._mine, keys.encode())

    def enter(self, line: str) -> str:
        """Type a line; return what is shown until the next prompt, untouched but for the line breaks."""
        self.press(f"{line}\r")
        return self.message()

    def message(self) -> str:
        """Return what is shown between a line that was given and the next prompt, but for the rate of an answer."""
        return _RATE.sub("", self.message_with_rate())

    def message_with_rate(self) -> str:
        """Return what is shown between a line that was given and the next prompt."""
        shown = self._until(lambda text: _PASTE_OFF in text and _is_asking(text.partition(_PASTE_OFF)[2]))
        return shown.partition(_PASTE_OFF)[2].partition(_PASTE_ON)[0].replace("\r\n", "\n")

    def interrupt(self, line: str, after: str) -> str:
        """Type a line, press Ctrl-C as soon as a text is seen, and return what is shown until the next prompt."""
        return self.do_after(line, after, lambda: self.press(_CTRL_C))

    def do_after(self, line: str, after: str, work: Callable[[], None]) -> str:
        """Type a line, do something as soon as a text is seen, and return what is shown until the next prompt."""
        self.press(f"{line}\r")
        shown = self._until(lambda text: after in text.partition(_PASTE_OFF)[2])
        work()
        shown += self._until(_is_asking)
        return shown.partition(_PASTE_OFF)[2].partition(_PASTE_ON)[0].replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        """Wait until a text is shown behind a line that was given."""
        self._until(lambda shown: text in shown.partition(_PASTE_OFF)[2])

    def leave(self, keys: str) -> tuple[int, str]:
        """Press the last keys; return the exit code and what was shown afterwards."""
        self.press(keys)
        shown = self._until(lambda _: False)
        return self._process.wait(_MUST_COME), shown.partition(_PASTE_OFF)[2]

    def _until(self, is_enough: Callable[[str], bool]) -> str:
        """Read until a text is enough, or until the program is gone."""
        data = b""
        while not is_enough(data.decode(errors="replace")):
            ready, _, _ = select.select([self._mine], [], [], _MUST_COME)
            assert ready, data
            try:
                chunk = os.read(self._mine, 65536)
            except OSError:  # how Linux says that the other side is gone
                chunk = b""
            if not chunk:
                break
            data += chunk
        assert _WHERE_IS_THE_CURSOR not in data
        return _WAITING.sub("", data.decode())


def _is_asking(text: str) -> bool:
    before, is_there, prompt = text.rpartition(_PASTE_ON)
    del before
    return bool(is_there) and prompt.endswith(_CURSOR)


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


@pytest.fixture(scope="module")
def endless(bird: Bird) -> Bird:
    return Bird(bird.machine, endless_parrot(bird.machine.root / "endless"))


@pytest.fixture
def terminal(bird: Bird) -> Iterator[Terminal]:
    with Terminal(bird) as opened:
        yield opened


def turn(question: str, answer: str) -> int:
    """Return how many tokens a turn of the past has."""
    return rendered(question) + len(f"{answer}\x00\n")


def stats(terminal: Terminal) -> tuple[int, int, int]:
    """Return how many tokens the last question had, how many of them were known, and how many were answered."""
    counted = re.match(r"(\d+) prompt tokens(?: \((\d+) cached\))?, (\d+) generated", terminal.enter("/stats"))
    assert counted is not None
    return int(counted[1]), int(counted[2] or 0), int(counted[3])


def test_every_question_is_answered_after_all_that_was_said(bird: Bird, terminal: Terminal) -> None:
    assert terminal.greeting == f"{bird.folder} (/help lists the commands, Ctrl-D leaves)\n"
    assert terminal.enter("/stats") == "Nothing was answered yet\n"
    terminal.press(f"{CAPITAL}\r")
    assert re.fullmatch(rf"{ANSWERS[CAPITAL]}\n\d+\.\d tokens/s\n", terminal.message_with_rate())
    assert stats(terminal) == (rendered(CAPITAL), 0, len(ANSWERS[CAPITAL]) + 1)
    past = turn(CAPITAL, ANSWERS[CAPITAL])
    assert terminal.enter(REASONING) == f"{THOUGHT}\n\n{SUM}\n"
    prompt = past + rendered(REASONING)
    assert stats(terminal)[:2] == (prompt, past - 1)  # all but the line break behind what it said
    past += turn(REASONING, SUM)  # what it thought is not repeated to it
    assert terminal.enter(GREETING) == f"{ANSWERS[GREETING]}\n"
    assert stats(terminal)[:2] == (past + rendered(GREETING), prompt)
    assert terminal.enter("") == terminal.enter("   ") == ""
    too_long = terminal.enter("a" * 2100)
    assert too_long.startswith("error: The prompt is too long: it has ")
    past += turn(GREETING, ANSWERS[GREETING])
    assert terminal.enter(CAPITAL) == f"{ANSWERS[CAPITAL]}\n"
    assert stats(terminal)[:2] == (past + rendered(CAPITAL), past - 1)
    assert terminal.leave(_CTRL_D) == (0, "")


def test_commands_shape_the_conversation(bird: Bird, terminal: Terminal) -> None:
    small = parrot_4bit_folder()
    helped = terminal.enter("/help")
    for command in "help system set show save load clear model stats exit".split():
        assert f"\n/{command}" in f"\n{helped}"
    assert terminal.enter("/set temperature 0") == "temperature: 0\n"
    assert terminal.enter("/set max-tokens 12") == "max-tokens: 12\n"
    assert terminal.enter("/set temperature warm") == "error: temperature must be a number, not 'warm'\n"
    assert terminal.enter("/set top_p 7") == "error: top_p must be between 0.0 and 1.0, not 7.0\n"
    assert terminal.enter("/set colour red").startswith("error: There is no setting 'colour'\nhint: Possible values: ")
    assert terminal.enter("/system Be kind.") == "system prompt set\n"
    assert terminal.enter(CAPITAL) == f"{ANSWERS[CAPITAL][:12]}\nOutput cut at 12 tokens (/set max_tokens)\n"
    assert stats(terminal) == (rendered(CAPITAL, "Be kind."), 0, 12)
    settings = "temperature: 0.0\nmax_tokens: 12\n"
    said = f"[user] {CAPITAL}\n[assistant] The capital\n"  # the blank at the end is kept, and not shown
    shown = f"model: {bird.folder}\nsystem: Be kind.\n{settings}{said}"
    assert terminal.enter("/show") == shown
    assert terminal.enter("/save kept.json") == "saved in kept.json\n"
    assert terminal.enter("/save kept.json") == ""
    assert terminal.enter("n") == "not saved\n"
    assert terminal.enter("/sav\tkep\t") == ""
    assert terminal.enter("y") == "saved in kept.json\n"
    assert json.loads((bird.machine.root / "kept.json").read_text())["messages"][1]["content"] == "The capital "
    assert terminal.enter("/clear") == "messages removed\n"
    assert terminal.enter("/system") == "system prompt removed\n"
    assert terminal.enter("/set max_tokens") == "max_tokens: the default\n"
    assert terminal.enter("/show") == f"model: {bird.folder}\nsystem: -\ntemperature: 0.0\n"
    assert terminal.enter("/load kept.json") == "loaded 2 messages\n"
    assert terminal.enter("/show") == shown.replace("max_tokens: 12\n", "")
    assert terminal.enter("/load missing.json") == "error: No such file or directory: missing.json\n"
    assert terminal.enter("/save") == "error: /save needs a FILE\nhint: Write /save FILE\n"
    assert "error: " in terminal.enter("/model not/on/any/hub")
    assert terminal.enter(f"/model {small}") == f"now talking to {small}\n"
    assert terminal.enter(CAPITAL) == f"{ANSWERS[CAPITAL]}\n"
    assert terminal.enter("/show").startswith(f"model: {small}\nsystem: Be kind.\n")
    assert terminal.enter("/unkown") == "error: Unknown command /unkown\nhint: /help lists the commands\n"
    assert terminal.enter("/sav") == "error: Unknown command /sav\nhint: Did you mean /save?\n"
    assert terminal.enter("/set tempe 1") == "error: There is no setting 'tempe'\nhint: Did you mean temperature?\n"
    assert terminal.leave("/exit\r") == (0, "")


def test_a_question_may_have_several_lines(terminal: Terminal) -> None:
    assert terminal.enter('"""What is\r17 + 25?"""') == f"{THOUGHT}\n\n{SUM}\n"
    assert terminal.enter(f'"""\r{CAPITAL}"""') == f"{ANSWERS[CAPITAL]}\n"
    assert terminal.enter(f"Polly:{_ALT_ENTER}{GREETING}")
    said = terminal.enter("/show")
    assert f"\n[user] What is\n17 + 25?\n[assistant] {SUM}\n[user] {CAPITAL}\n" in said
    assert f"\n[user] Polly:\n{GREETING}\n" in said
    terminal.press(f'"""never\r{_CTRL_C}')
    assert terminal.message() == "Ctrl-D or /exit leaves\n"
    assert terminal.enter("/show") == said
    block = '"""two\rlines"""'
    terminal.enter(block)
    terminal.enter(f"{_UP}")
    assert terminal.enter("/show").count("[user] two\nlines\n") == 2


def test_ctrl_c_ends_the_answer_and_nothing_else(bird: Bird, endless: Bird) -> None:
    with Terminal(endless) as terminal:
        shown = terminal.interrupt(LONG, "Once")
        assert shown.endswith("\nstopped\n")
        said = shown.removesuffix("\nstopped\n")
        assert said.startswith("Once")
        assert is_beginning(said)
        line = "\n".join(part.rstrip() for part in f"[assistant] {said}".split("\n"))  # /show drops blanks at the end
        assert terminal.enter("/show").endswith(f"[user] {LONG}\n{line}\n")
        assert stats(terminal)[0] == rendered(LONG)
        assert "(stopped)" in terminal.enter("/stats")
        assert terminal.enter("/save stopped.json") == "saved in stopped.json\n"
        kept = json.loads((bird.machine.root / "stopped.json").read_text())
        assert kept["messages"][-1]["content"] == said
        terminal.press(_CTRL_C)
        assert terminal.message() == "Ctrl-D or /exit leaves\n"
        terminal.enter(f"/set max_tokens {len(ANSWERS[CAPITAL])}")
        assert terminal.enter(CAPITAL).startswith(f"{ANSWERS[CAPITAL]}\nOutput cut at ")
        prompt, known, _ = stats(terminal)
        assert prompt - rendered(CAPITAL) - 2 <= known < prompt  # a character, and the end of the turn, it did not say
        assert terminal.leave(_CTRL_D) == (0, "")


def test_keys_during_an_answer_are_neither_shown_nor_sent(endless: Bird) -> None:
    with Terminal(endless) as terminal:

        def type_and_stop() -> None:
            assert not terminal.echoes
            terminal.press("typed meanwhile\rand not ended")
            terminal.press(_CTRL_C)

        said = terminal.do_after(LONG, "Once", type_and_stop)
        assert said.endswith("\nstopped\n")
        assert is_beginning(said.removesuffix("\nstopped\n"))
        terminal.enter("/set max_tokens 4")
        assert terminal.enter(CAPITAL).startswith(f"{ANSWERS[CAPITAL][:4]}\nOutput cut at 4 tokens ")
        assert terminal.enter("/show").count("[user]") == 2
        assert terminal.leave(_CTRL_D) == (0, "")
        assert terminal.echoes


@pytest.mark.parametrize("is_answering", [True, False])
def test_a_signal_leaves_the_terminal_as_it_was(endless: Bird, *, is_answering: bool) -> None:
    with Terminal(endless) as terminal:
        if is_answering:
            terminal.press(f"{LONG}\r")
            terminal.wait_for("Once")
        assert not terminal.echoes
        assert terminal.end(signal.SIGTERM) == 143
        assert terminal.echoes


def test_markdown_is_drawn_on_a_terminal_with_colours(bird: Bird) -> None:
    with Terminal(bird, NO_COLOR="") as terminal:
        screen = Screen(200, 24)
        shown = terminal.enter(CODE)
        screen.feed(shown)
        assert screen.text.startswith("def add(a, b):\n    return a + b\n\nIt returns the sum.\n")
        assert re.search(r"\n\x1b\[2m\d+\.\d tokens/s\x1b\[0m\n$", shown)
        assert terminal.leave(_CTRL_D) == (0, "")
    with Terminal(bird, "--plain", NO_COLOR="") as terminal:
        assert terminal.enter(CODE).startswith(f"{ANSWERS[CODE]}\n\x1b[2m")


def test_only_answers_go_where_stdout_goes(bird: Bird, tmp_path: Path) -> None:
    message = tmp_path / "message"
    with message.open("wb") as out, Terminal(bird, out=out) as terminal:
        assert terminal.greeting == f"{bird.folder} (/help lists the commands, Ctrl-D leaves)\n"
        assert terminal.enter(CAPITAL) == ""
        assert stats(terminal)[0] == rendered(CAPITAL)
        terminal.press(_CTRL_C)
        assert terminal.message() == "Ctrl-D or /exit leaves\n"
        assert terminal.enter(GREETING) == ""
        assert terminal.leave(_CTRL_D) == (0, "")
    assert message.read_text() == f"{ANSWERS[CAPITAL]}\n{ANSWERS[GREETING]}\n"


def test_a_conversation_of_a_stranger_never_steers_the_terminal(bird: Bird, terminal: Terminal) -> None:
    evil = "evil \x1b[2J\x1b]0;title\x07 \x9b31m \u202e\x08"
    messages = [{"role": "user", "content": evil}, {"role": f"assistant{evil}", "content": "two\nlines"}]
    saved = {"version": 1, "model": evil, "system": evil, "messages": messages}
    (bird.machine.root / "evil.json").write_text(json.dumps(saved))
    assert terminal.enter("/load evil.json") == "loaded 2 messages\n"
    shown = terminal.enter("/show")
    assert shown.count("evil \\x1b[2J\\x1b]0;title\\x07 \\x9b31m") == 3
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "two\nlines\n" in shown
    for name, text in (("other", json.dumps(saved | {"version": 2})), ("key", '{"\x1b": 1}'), ("none", "\udcff[")):
        (bird.machine.root / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        refused = terminal.enter(f"/load {name}")
        assert refused.startswith("error: ")
        assert all(char.isprintable() or char == "\n" for char in refused)
    assert terminal.enter("/show") == shown


def test_what_was_typed_can_be_had_again_by_nobody_else(tmp_path: Path) -> None:
    bird = Bird(Machine(tmp_path), parrot_folder())
    with Terminal(bird) as terminal:
        assert terminal.enter(CAPITAL) == f"{ANSWERS[CAPITAL]}\n"
        assert terminal.leave(_CTRL_D) == (0, "")
    (history,) = tmp_path.rglob("chat_history")
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert f"+{CAPITAL}\n" in history.read_text()
    with Terminal(bird) as terminal:
        assert terminal.enter(_UP) == f"{ANSWERS[CAPITAL]}\n"
        assert terminal.leave(_CTRL_D) == (0, "")
    kept = history.read_bytes()
    with Terminal(bird, "--no-history") as terminal:
        assert terminal.enter(_UP) == ""
        assert terminal.enter(GREETING) == f"{ANSWERS[GREETING]}\n"
        assert terminal.leave(_CTRL_D) == (0, "")
    assert history.read_bytes() == kept
