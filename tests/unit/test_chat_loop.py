"""The loop of a conversation over fakes: which model is loaded when, and what survives."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs
import pytest
from mlxknife.domain.generation.values.generation import Message, PieceKind, Step, TokenRequest, Wish

from mlxknife.cli.chat.loop import Loop, Models
from mlxknife.cli.chat.state import Conversation, load, save
from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.cli.streams import StdoutError
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.services.session import Chat
from mlxknife.domain.models.values.snapshot import Location
from tests.fakes.engine import FakeEngine, FakeModel
from tests.fakes.system import FakeSystem
from tests.unit.chatting import chat

_SIZE = 88
"""What a model takes."""
_KINDS = (PieceKind.ANSWER,)


class Typed:
    """Lines that somebody typed; an exception is what a key raises."""

    def __init__(self, *lines: str | BaseException) -> None:
        self._lines = list(lines)

    def read(self, prompt: str) -> str:
        del prompt
        line = self._lines.pop(0) if self._lines else EOFError()
        if isinstance(line, BaseException):
            raise line
        return line


@attrs.define(slots=False)
class Small(FakeEngine):
    """An engine on a machine that has room for one model."""

    room: FakeSystem = attrs.field(factory=lambda: FakeSystem(available=_SIZE))
    models: list[FakeModel] = attrs.field(factory=list)
    breaks: dict[int, BaseException] = attrs.field(factory=dict)
    """What happens when so many models were loaded before."""

    def load(self, location: Location, profile: str, *, draft: Location | None = None) -> FakeModel:
        if (error := self.breaks.get(len(self.loaded))) is not None:
            self.loaded.append((location, "broken"))
            raise error
        super().load(location, profile, draft=draft)
        assert self.room.available is not None
        self.room.available -= _SIZE
        self.models.append(Roomy(("Hello",), room=self.room))
        return self.models[-1]

    def places(self) -> list[str]:
        return [location.token.split("--")[2].split("/")[0] for location, _ in self.loaded]


@attrs.define(slots=False)
class Roomy(FakeModel):
    """A model that takes room until it is closed."""

    room: FakeSystem = attrs.field(factory=FakeSystem)

    def close(self) -> None:
        assert self.room.available is not None
        self.room.available += 0 if self.is_closed else _SIZE
        super().close()


def _loop(
    service: Chat, lines: Sequence[str | BaseException], out: io.StringIO, *, says_statistics: bool = False
) -> Loop:
    models = Models(service.check, service.open, "one")
    speech = partial(AnswerPrinter, out, _KINDS)
    return Loop(models, Conversation(Wish()), Typed(*lines), speech, says_statistics=says_statistics)


def _talked(engine: Small, *lines: str | BaseException) -> tuple[Loop, str]:
    """Return the loop after somebody typed lines, and what was answered."""
    out = io.StringIO()
    loop = _loop(chat(engine, system=engine.room), lines, out)
    loop.run()
    return loop, out.getvalue()


def test_another_model_needs_no_room_beside_the_old(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Small()
    loop, said = _talked(engine, "Hi", "/model two", "Hi", "/show")
    assert (loop.model, said) == ("other/two", "Hello\nHello\n")
    assert engine.places() == ["one", "two"]
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == ["now talking to other/two", "model: other/two"]
    assert told.count("[assistant] Hello") == 2  # what was said stays
    loop.close()
    assert engine.room.available == _SIZE


@pytest.mark.parametrize("name", ["", "none", "a//b", "o"])
def test_a_name_that_means_nothing_costs_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Small()
    loop, said = _talked(engine, f"/model {name}", "Hi")
    assert (loop.model, said, engine.places()) == ("mlx-community/one", "Hello\n", ["one"])
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("error", "told"),
    [(EngineError("no such layer"), "error: no such layer"), (KeyboardInterrupt(), "stopped")],
    ids=["broken", "Ctrl-C"],
)
def test_who_cannot_have_another_model_goes_on_with_the_old(
    error: BaseException, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Small(breaks={1: error})
    loop, said = _talked(engine, "Hi", "/model two", "Hi")
    assert (loop.model, said) == ("mlx-community/one", "Hello\nHello\n")
    assert engine.places() == ["one", "two", "one"]
    assert capsys.readouterr().err.splitlines() == ["going back to mlx-community/one", told]


def test_where_the_old_one_does_not_come_back_the_conversation_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Small(breaks={1: EngineError("no such layer"), 2: EngineError("the disk is gone")})
    loop, said = _talked(engine, "Hi", "/model two", "Hi", "/model two", "Hi")
    assert (loop.model, said, engine.places()) == ("other/two", "Hello\nHello\n", ["one", "two", "one", "two"])
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "going back to mlx-community/one",
        "error: the disk is gone",
        "error: closed",
        "now talking to other/two",
    ]


def test_a_first_question_is_answered_before_one_is_read() -> None:
    out = io.StringIO()
    engine = Small()
    _loop(chat(engine, system=engine.room), ("Why?",), out).run("Who are you?")
    assert out.getvalue() == "Hello\nHello\n"
    assert [text for text, _ in engine.models[0].read] == ["Who are you?", "Who are you?\n\nHello\n\nWhy?"]


def test_statistics_follow_each_answer_where_they_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Small()
    lines = ("Hi", "/set temperature warm", "Hi")
    _loop(chat(engine, system=engine.room), lines, io.StringIO(), says_statistics=True).run()
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[0] for line in told] == ["2", "error:", "4"]


def test_ctrl_c_at_the_prompt_tells_how_to_leave(capsys: pytest.CaptureFixture[str]) -> None:
    _, said = _talked(Small(), KeyboardInterrupt(), "Hi", "/exit", "Hi")
    assert said == "Hello\n"
    assert capsys.readouterr().err == "Ctrl-D or /exit leaves\n"


@attrs.define(slots=False)
class Stopped(FakeModel):
    """A model during whose second word Ctrl-C is pressed."""

    times: int = 1
    was_closed: bool = False

    def _steps(self, request: TokenRequest, cached: int) -> Generator[Step]:
        try:
            for step in super()._steps(request, cached):
                for _ in range(self.times if self.told == 2 else 0):
                    signal.raise_signal(signal.SIGINT)
                yield step
        except GeneratorExit:
            self.was_closed = True
            raise


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def _stopped(model: Stopped) -> str:
    """Return what is said by a model that is stopped."""
    out = io.StringIO()
    _loop(chat(FakeEngine(model)), ("Hi", "/show"), out).run()
    return out.getvalue()


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_ends_an_answer_between_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    model = Stopped()
    assert _stopped(model) == "Hello, \n"
    assert (model.was_closed, model.told) == (True, 2)
    told = capsys.readouterr().err.splitlines()
    assert (told[0], told[-1]) == ("stopped", "[assistant] Hello,")


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_twice_waits_for_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    model = Stopped(times=2)
    assert _stopped(model) == "Hello\n"
    assert (model.was_closed, model.told) == (False, 2)
    assert capsys.readouterr().err.startswith("stopped\n")


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_is_left_to_whoever_has_it() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        assert _stopped(Stopped()) == "Hello, world!\n"
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert heard == [signal.SIGINT]
    with ThreadPoolExecutor(1) as pool:  # only the main thread may take it
        assert pool.submit(_stopped, Stopped(times=0)).result() == "Hello, world!\n"


class Closed(io.StringIO):
    """A stream that nobody reads any more."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_reader_that_went_ends_the_conversation() -> None:
    engine = Small()
    loop = _loop(chat(engine, system=engine.room), ("Hi", "Hi"), Closed())
    with pytest.raises(StdoutError):
        loop.run()
    assert engine.models[0].told == 1


def test_a_system_text_that_was_saved_empty_is_none() -> None:
    assert [turn.role for turn in Conversation(Wish(), system="").asked("Hi")] == ["user"]
    assert [turn.role for turn in Conversation(Wish(), system="Be kind.").asked("Hi")] == ["system", "user"]


_SAID = Conversation(Wish(), "Be brief.", (Message("user", "Grüße"), Message("assistant", "世界")))


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    place.write_text("another")
    save(str(place), os.fsdecode(b"caf\xe9"), _SAID)
    assert json.loads(place.read_text())["model"] == r"caf\udce9"
    assert load(str(place), Conversation(Wish())) == _SAID
    assert os.listdir(tmp_path) == ["kept"]


def test_half_a_character_is_written_out(tmp_path: Path) -> None:
    place = str(tmp_path / "kept")
    save(place, "model", attrs.evolve(_SAID, system="a\udce9", messages=(Message("user", "\ud83d"),)))
    assert load(place, _SAID) == Conversation(Wish(), r"a\udce9", (Message("user", r"\ud83d"),))


@pytest.mark.parametrize(("name", "told"), [(".", " is a folder"), ("pipe", " is no file"), ("a\0b", "such a name")])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, name: str, told: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValidationError, match=told):
        save(str(tmp_path / name), "model", _SAID)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["none/kept", "a" * 300])
def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=name) as caught:
        save(str(tmp_path / name), "model", _SAID)
    assert caught.value.filename == str(tmp_path / name)
    assert os.listdir(tmp_path) == []
