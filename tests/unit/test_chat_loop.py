"""The loop of a chat over fakes: which model is loaded when, and what a failure leaves."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs
import pytest

from mlxknife.cli.chat.loop import ChatLoop, ChatModels
from mlxknife.cli.chat.state import Conversation
from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.cli.streams import StdoutError
from mlxknife.domain.errors import EngineError, WorkerLost
from mlxknife.domain.generation.services.sessions import Sessions
from mlxknife.domain.generation.values.answer import Delta, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message
from tests.fakes.clients import HELLO, FakeClient, FakeClients, says
from tests.fakes.system import FakeSystem
from tests.unit.session_setup import SIZE, make_sessions

_KINDS = (TextKind.ANSWER,)
_FREE_NAME = "hint: Name another file, or remove this one"


class TypedLines:
    """Lines that a user types; an exception is raised in the place of a line.

    ``answer``: what the user answers to every question.
    """

    def __init__(self, *lines: str | BaseException, answer: bool | None = None) -> None:
        self._lines = list(lines)
        self._answer = answer
        self.questions: list[str] = []

    def confirm(self, question: str) -> bool | None:
        self.questions.append(question)
        return self._answer

    def read(self, prompt: str, more: str) -> str:
        del prompt, more
        line = self._lines.pop(0) if self._lines else EOFError()
        if isinstance(line, BaseException):
            raise line
        return line


@attrs.define(eq=False, slots=False)
class OneModelClient(FakeClient):
    """Takes memory while its model is loaded."""

    system: FakeSystem = attrs.field(factory=FakeSystem)
    failure: BaseException | None = None
    """Raised by loading."""
    is_loaded: bool = False

    def load(self, request: LoadRequest) -> ModelLoaded:
        loaded = super().load(request)
        if self.failure is not None:
            raise self.failure
        assert self.system.available is not None
        self.is_loaded = True
        self.system.available -= SIZE
        return loaded

    def close(self) -> None:
        assert self.system.available is not None
        self.system.available += SIZE if self.is_loaded else 0
        self.is_loaded = False
        super().close()


@attrs.define(slots=False)
class OneModelMachine(FakeClients):
    """A machine with memory for one model. ``failures``: what loading raises, by the number of models before."""

    failures: Mapping[int, BaseException] = attrs.field(factory=dict)
    system: FakeSystem = attrs.field(factory=lambda: FakeSystem(available=SIZE))

    def start(self) -> FakeClient:
        client = OneModelClient(self.script, system=self.system, failure=self.failures.get(len(self.started)))
        self.started.append(client)
        return client

    def names(self) -> list[str]:
        """Return the names of the models that were loaded, in order."""
        return [request.location.token.split("--")[2].split("/")[0] for request in self.load_requests]


def _loop(
    sessions: Sessions,
    lines: Sequence[str | BaseException] | TypedLines,
    out: io.StringIO,
    *,
    prints_statistics: bool = False,
    prints_rate: bool = False,
) -> ChatLoop:
    models = ChatModels(sessions.check, sessions.open, "one")
    new_printer = partial(AnswerPrinter, out, _KINDS)
    conversation = Conversation(GenerationOptions())
    typed = lines if isinstance(lines, TypedLines) else TypedLines(*lines)
    return ChatLoop(
        models, conversation, typed, new_printer, prints_statistics=prints_statistics, prints_rate=prints_rate
    )


def _chatted(machine: OneModelMachine, *lines: str | BaseException) -> tuple[ChatLoop, str]:
    """Return the loop after a user typed lines, and what was printed."""
    out = io.StringIO()
    loop = _loop(make_sessions(machine, system=machine.system), lines, out)
    loop.run()
    return loop, out.getvalue()


def _machine(*texts: str, failures: Mapping[int, BaseException] | None = None) -> OneModelMachine:
    return OneModelMachine(says(*texts or ("Hello",)), failures=failures or {})


# --- which model


def test_another_model_needs_no_memory_beside_the_old_one(capsys: pytest.CaptureFixture[str]) -> None:
    machine = _machine()
    loop, printed = _chatted(machine, "Hi", "/model two", "Hi", "/show")
    assert (loop.model, printed) == ("other/two", "Hello\nHello\n")
    assert machine.names() == ["one", "two"]
    notes = capsys.readouterr().err.splitlines()
    assert notes[:2] == ["now talking to other/two", "model: other/two"]
    assert notes.count("[assistant] Hello") == 2  # the messages stay
    loop.close()
    assert machine.system.available == SIZE


@pytest.mark.parametrize("name", ["", "none", "a//b", "o"])
def test_an_invalid_name_unloads_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    machine = _machine()
    loop, printed = _chatted(machine, f"/model {name}", "Hi")
    assert (loop.model, printed, machine.names()) == ("mlx-community/one", "Hello\n", ["one"])
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("error", "note"),
    [(EngineError("no such layer"), "error: no such layer"), (KeyboardInterrupt(), "stopped")],
    ids=["broken", "Ctrl-C"],
)
def test_after_a_failed_switch_the_old_model_is_loaded_again(
    error: BaseException, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = _machine(failures={1: error})
    loop, printed = _chatted(machine, "Hi", "/model two", "Hi")
    assert (loop.model, printed) == ("mlx-community/one", "Hello\nHello\n")
    assert machine.names() == ["one", "two", "one"]
    assert capsys.readouterr().err.splitlines() == ["going back to mlx-community/one", note]


def test_the_conversation_survives_if_the_old_model_cannot_be_loaded_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = EngineError("the disk is gone")
    machine = _machine(failures={1: EngineError("no such layer"), 2: gone, 3: gone})
    loop, printed = _chatted(machine, "Hi", "/model two", "Hi", "Hi", "/model two", "Hi", "/show")
    assert (loop.model, printed) == ("other/two", "Hello\n" * 3)
    assert machine.names() == ["one", "two", "one", "one", "one", "two"]  # each question tries to load it again
    notes = capsys.readouterr().err.splitlines()
    assert notes[:4] == [
        "going back to mlx-community/one",
        "error: the disk is gone",
        "error: the disk is gone",
        "now talking to other/two",
    ]
    assert notes.count("[assistant] Hello") == 3


def test_show_lists_only_what_was_set(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ("/show", "/set top-k 5", "/set temperature 0", "/set stop END", "/set max_tokens 9", "/set top_k", "/show")
    _chatted(_machine(), *lines)
    notes = capsys.readouterr().err.splitlines()
    assert notes[:2] == ["model: mlx-community/one", "system: -"]
    assert notes[2:7] == ["top-k: 5", "temperature: 0", "stop: END", "max_tokens: 9", "top_k: the default"]
    assert notes[7:] == ["model: mlx-community/one", "system: -", "temperature: 0.0", "max_tokens: 9", "stop: 'END'"]


# --- a model process that crashes


def test_after_a_crash_the_next_question_loads_the_model_again(capsys: pytest.CaptureFixture[str]) -> None:
    machine = _machine()

    def script(request: GenerationRequest) -> Iterator[Delta]:
        crashes = len(machine.started) == 1 and len(request.messages) > 1
        yield from says("Hello", error=WorkerLost("The model process was killed by SIGKILL") if crashes else None)(
            request
        )

    machine.script = script
    loop, printed = _chatted(machine, "first", "second", "third", "/show")
    assert printed == "Hello\n" * 3  # what was printed before the crash stays
    assert machine.names() == ["one", "one"]
    notes = capsys.readouterr().err.splitlines()
    assert notes[0] == "error: The model process was killed by SIGKILL"
    assert [note for note in notes if note.startswith("[user]")] == ["[user] first", "[user] third"]
    loop.close()
    assert machine.system.available == SIZE


def test_every_crash_frees_the_memory_of_the_model() -> None:
    machine = _machine()
    machine.script = says("Hello", error=WorkerLost("gone"))
    loop, printed = _chatted(machine, "first", "second", "third")
    assert printed == "Hello\n" * 3
    assert machine.names() == ["one"] * 3
    loop.close()
    assert machine.system.available == SIZE


def test_after_a_crash_another_model_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    machine = _machine()
    machine.script = says("Hel", error=WorkerLost("gone"))
    loop = _loop(make_sessions(machine, system=machine.system), ("Hi", "/model two", "Hi"), io.StringIO())
    loop.run()
    assert machine.names() == ["one", "two"]
    assert capsys.readouterr().err.splitlines() == ["error: gone", "now talking to other/two", "error: gone"]


# --- questions and answers


def test_a_first_question_is_answered_before_one_is_read() -> None:
    out = io.StringIO()
    machine = _machine()
    _loop(make_sessions(machine, system=machine.system), ("Why?",), out).run("Who are you?")
    assert out.getvalue() == "Hello\nHello\n"
    first = Message("user", "Who are you?")
    assert [request.messages for request in machine.client.requests] == [
        (first,),
        (first, Message("assistant", "Hello"), Message("user", "Why?")),
    ]


def test_statistics_follow_each_answer_with_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    machine = _machine()
    lines = ("Hi", "/set temperature warm", "Hi")
    sessions = make_sessions(machine, system=machine.system)
    _loop(sessions, lines, io.StringIO(), prints_statistics=True).run()
    notes = capsys.readouterr().err.splitlines()
    assert [note.split(" ")[0] for note in notes] == ["1", "error:", "3"]


def test_the_rate_follows_each_answer_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    system = FakeSystem()
    sessions = make_sessions(FakeClients(clock=system, step_seconds=0.5), system=system)
    _loop(sessions, ("Hi", "/set max_tokens 1", "Hi"), io.StringIO(), prints_rate=True).run()
    notes = capsys.readouterr().err.splitlines()
    assert notes == ["1.5 tokens/s", "max_tokens: 1", "Output cut at 1 token (/set max_tokens)"]


# --- commands


def test_set_alone_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    _chatted(_machine(), "/set top-p 0.5", "/set stop END", "/set")
    assert capsys.readouterr().err.splitlines()[2:] == [
        "temperature: 0.7 (default)",
        "top_p: 0.5",
        "top_k: 0 (default)",
        "min_p: 0.0 (default)",
        "repetition_penalty: 1.0 (default)",
        "seed: random (default)",
        "max_tokens: the limit of the model (default)",
        "stop: 'END'",
    ]


@pytest.mark.parametrize(
    ("answer", "notes"),
    [
        (True, ["saved in {}"]),
        (False, ["not saved"]),
        (
            None,
            ["error: Nothing saved, confirmation required: {} exists", "hint: Name another file, or remove this one"],
        ),
    ],
)
def test_a_file_is_overwritten_only_after_a_yes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, answer: bool | None, notes: list[str]
) -> None:
    file = tmp_path / "kept.json"
    machine = _machine()
    lines = TypedLines(f"/save {file}", f"/save {file}", answer=answer)
    file.write_text("before")
    _loop(make_sessions(machine, system=machine.system), lines, io.StringIO()).run()
    assert lines.questions == [f"{file} exists. Overwrite it?"] * 2
    assert capsys.readouterr().err.splitlines() == [note.format(file) for note in notes] * 2
    assert (file.read_text() == "before") is (answer is not True)


def test_a_new_file_is_saved_without_a_question(tmp_path: Path) -> None:
    machine = _machine()
    lines = TypedLines(f"/save {tmp_path / 'new.json'}")
    _loop(make_sessions(machine, system=machine.system), lines, io.StringIO()).run()
    assert lines.questions == []
    assert (tmp_path / "new.json").exists()


def test_a_broken_pipe_ends_the_chat() -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    machine = _machine(*HELLO)
    loop = _loop(make_sessions(machine, system=machine.system), ("Hi", "Hi"), Closed())
    with pytest.raises(StdoutError):
        loop.run()
    assert (machine.client.sent, machine.client.cancelled) == (1, 1)


# --- Ctrl-C


def test_ctrl_c_at_the_prompt_prints_how_to_leave(capsys: pytest.CaptureFixture[str]) -> None:
    _, printed = _chatted(_machine(), KeyboardInterrupt(), "Hi", "/exit", "Hi")
    assert printed == "Hello\n"
    assert capsys.readouterr().err == "Ctrl-D or /exit leaves\n"


@pytest.fixture
def _default_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def _pressing_ctrl_c(times: int) -> FakeClients:
    """Return a model during whose second delta Ctrl-C is pressed."""

    def script(request: GenerationRequest) -> Iterator[Delta]:
        for number, delta in enumerate(says(*HELLO)(request)):
            for _ in range(times if number == 1 else 0):
                signal.raise_signal(signal.SIGINT)
            yield delta

    return FakeClients(script)


def _stopped(clients: FakeClients) -> str:
    """Return what is printed of an answer that is stopped."""
    out = io.StringIO()
    _loop(make_sessions(clients), ("Hi", "/show"), out).run()
    return out.getvalue()


@pytest.mark.usefixtures("_default_ctrl_c")
def test_ctrl_c_ends_an_answer_after_the_next_delta(capsys: pytest.CaptureFixture[str]) -> None:
    clients = _pressing_ctrl_c(1)
    assert _stopped(clients) == "Hello, \n"
    assert (clients.client.cancelled, clients.client.sent) == (1, 2)
    notes = capsys.readouterr().err.splitlines()
    assert (notes[0], notes[-1]) == ("stopped", "[assistant] Hello,")


@pytest.mark.usefixtures("_default_ctrl_c")
@pytest.mark.parametrize(("times", "tokens"), [(1, 2), (2, 1)])
def test_the_statistics_after_a_stopped_answer_are_its_own(
    capsys: pytest.CaptureFixture[str], times: int, tokens: int
) -> None:
    clients = _pressing_ctrl_c(times)
    _loop(make_sessions(clients), ("Hi there", "/stats"), io.StringIO()).run()
    stopped, statistics = capsys.readouterr().err.splitlines()
    assert stopped == "stopped"
    assert statistics.startswith(f"2 prompt tokens, {tokens} generated (stopped); ")


@pytest.mark.usefixtures("_default_ctrl_c")
def test_ctrl_c_twice_waits_for_no_delta(capsys: pytest.CaptureFixture[str]) -> None:
    clients = _pressing_ctrl_c(2)
    assert _stopped(clients) == "Hello\n"
    assert (clients.client.cancelled, clients.client.sent) == (1, 1)
    assert capsys.readouterr().err.startswith("stopped\n")


@pytest.mark.usefixtures("_default_ctrl_c")
def test_another_handler_of_ctrl_c_keeps_it() -> None:
    received: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        assert _stopped(_pressing_ctrl_c(1)) == "Hello, world!\n"
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert received == [signal.SIGINT]
    with ThreadPoolExecutor(1) as pool:  # only the main thread may handle signals
        assert pool.submit(_stopped, _pressing_ctrl_c(0)).result() == "Hello, world!\n"


def test_a_cut_answer_is_noted_with_the_setting_that_cut_it(capsys: pytest.CaptureFixture[str]) -> None:
    _, printed = _chatted(_machine("one", " two"), "/set max_tokens 1", "Hi", "/set max_tokens", "Hi")
    assert printed == "one\none two\n"
    notes = capsys.readouterr().err.splitlines()
    assert notes == ["max_tokens: 1", "Output cut at 1 token (/set max_tokens)", "max_tokens: the default"]
