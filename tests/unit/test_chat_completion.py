"""What Tab completes in a chat."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from mlxknife.cli.chat.completion import ChatCompleter, Completions
from mlxknife.cli.chat.lines import continuation, is_open_block
from mlxknife.domain.errors import StorageError

_MODELS = ("mlx-community/one", "mlx-community/two", "starter")


def _completed(text: str) -> list[str]:
    """Return the lines that a text becomes."""
    completer = ChatCompleter(Completions(lambda: _MODELS))
    found = completer.get_completions(Document(text), CompleteEvent(completion_requested=True))
    return [text[: len(text) + one.start_position] + one.text for one in found]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("/s", ["/system ", "/set ", "/show", "/save ", "/stats"]),
        ("/he", ["/help"]),
        ("/x", []),
        ("/set t", ["/set temperature ", "/set top_p ", "/set top_k "]),
        ("/set temperature 0", []),
        ("/model mlx", ["/model mlx-community/one", "/model mlx-community/two"]),
        ("/model st", ["/model starter"]),
        ("/show st", []),
        ("What is /s", []),
        ("s", []),
        ("/s\n", []),
        ("", []),
    ],
)
def test_commands_and_their_arguments_are_completed(text: str, lines: list[str]) -> None:
    assert _completed(text) == lines


def test_files_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("file.json", ".hidden", "evil\x1b[2J", "evil\u202e", "folder/inner"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "folder"))
    assert _completed("/load ") == ["/load file.json", "/load folder/"]
    assert _completed("/save f") == ["/save file.json", "/save folder/"]
    assert _completed(f"/load {tmp_path}/folder/") == [f"/load {tmp_path}/folder/inner"]
    assert _completed("/load ~/i") == ["/load ~/inner"]
    assert _completed("/load .h") == ["/load .hidden"]
    assert _completed("/load e") == []
    assert _completed("/load none/x") == _completed("/load a\0b/") == []


def test_models_that_cannot_be_listed_are_no_crash() -> None:
    def unreadable() -> tuple[str, ...]:
        msg = "the cache cannot be read"
        raise StorageError(msg)

    assert list(Completions(unreadable).of("/model s")) == []


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ('"""', True),
        ('  """What', True),
        ('"""a\nb', True),
        ('"""a\nb""" ', False),
        ('""""""', False),
        ('""', False),
        ("word", False),
        ("", False),
    ],
)
def test_enter_ends_a_block_only_after_its_last_quotation_marks(text: str, *, is_open: bool) -> None:
    assert is_open_block(text) is is_open


def test_only_a_line_of_its_own_begins_with_the_second_prompt() -> None:
    begin = continuation("... ")
    assert (begin(4, 0, 1), begin(4, 0, 2), begin(4, 1, 0)) == ("    ", "    ", "... ")
