from __future__ import annotations

import io
import os
import pty
import sys
from pathlib import Path

import pytest

from mlxknife.cli import prompt_input
from mlxknife.domain.errors import ValidationError

_LIMIT = 100_000_000


def _pipe(monkeypatch: pytest.MonkeyPatch, data: bytes, encoding: str = "ascii") -> None:
    """Replace stdin by a pipe. The encoding of the text stream must not matter."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding=encoding))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Hello", "Hello"),
        (" Grüße, 世界 \U0001f600\n\n".encode(), " Grüße, 世界 \U0001f600\n\n"),
        (b"\xef\xbb\xbfHello", "Hello"),
        (b"a\r\nb\rc", "a\r\nb\rc"),
        (b"\x1b[2J\x07", "\x1b[2J\x07"),
        (b"x" * 2_000_000, "x" * 2_000_000),
    ],
    ids=["ascii", "utf-8", "bom", "line ends", "control characters", "long"],
)
def test_stdin_is_read_to_its_end_unchanged(monkeypatch: pytest.MonkeyPatch, data: bytes, text: str) -> None:
    _pipe(monkeypatch, data)
    assert prompt_input.read_stdin() == text


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_user_who_types_stdin_is_told_how_to_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = pty.openpty()
    os.write(mine, b"Hello\n\x04")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", shown := _Terminal())
    with open(theirs, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert prompt_input.read_stdin() == "Hello\n"
    os.close(mine)
    assert shown.getvalue() == "reading stdin from the terminal; Ctrl-D ends it\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "stdin is empty"),
        (b" \n\t\r\n", "stdin is empty"),
        (b"\xef\xbb\xbf\n", "stdin is empty"),
        (b"a\0b", "stdin is binary, not text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "stdin is binary, not text"),
        ("Hello".encode("utf-16"), "stdin is binary, not text"),
        ("Grüße".encode("latin-1"), "stdin is not UTF-8 text"),
        (b"\xed\xa0\x80", "stdin is not UTF-8 text"),
        ("Grüße".encode()[:4] + b"\xc3", "stdin is not UTF-8 text"),
    ],
)
def test_input_that_is_not_text_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes, reason: str) -> None:
    _pipe(monkeypatch, data, "utf-8")
    with pytest.raises(ValidationError) as caught:
        prompt_input.read_stdin()
    assert caught.value.message == reason


def test_a_closed_stdin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _pipe(monkeypatch, b"Hello")
    sys.stdin.close()
    with pytest.raises(ValidationError, match="stdin is closed"):
        prompt_input.read_stdin()


def test_a_process_without_stdin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValidationError, match="stdin is closed"):
        prompt_input.read_stdin()


def test_stdin_is_read_up_to_100_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    source = io.BytesIO(b"x" * (_LIMIT + 1000))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
    with pytest.raises(ValidationError, match="longer than 100MB"):
        prompt_input.read_stdin()
    assert source.tell() < _LIMIT + 1000


@pytest.mark.parametrize(("data", "text"), [(b"", ""), (b"\xef\xbb\xbfa\n", "a\n"), ("ü\r\n".encode(), "ü\r\n")])
def test_a_file_is_read_unchanged(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert prompt_input.read_file(str(path)) == text


@pytest.mark.parametrize(("data", "reason"), [(b"\0", "is binary"), (b"\xff", "is not UTF-8 text")])
def test_a_file_that_is_not_text_is_refused_with_its_name(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(ValidationError) as caught:
        prompt_input.read_file(str(path))
    assert caught.value.message.startswith(f"{path} {reason}")


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    with path.open("wb") as file:
        file.truncate(50 * _LIMIT)
    with pytest.raises(ValidationError, match="longer than 100MB") as caught:
        prompt_input.read_file(str(path))
    assert caught.value.hint


def test_a_missing_file_or_a_directory_raises_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        prompt_input.read_file(str(tmp_path / "none"))
    with pytest.raises(IsADirectoryError):
        prompt_input.read_file(str(tmp_path))


@pytest.mark.parametrize("text", ["", "Hello", "Grüße 世界 \U0001f600", "a\nb\tc\x1b"])
def test_a_valid_argument_is_returned_unchanged(text: str) -> None:
    assert prompt_input.checked_utf8(text, "The prompt") == text


def test_an_argument_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"^The prompt is not UTF-8$"):
        prompt_input.checked_utf8(os.fsdecode("Grüße".encode("latin-1")), "The prompt")


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("", ""),
        ("plain / text", "plain / text"),
        (r"\n\n", "\n\n"),
        (r"a\tb\rc\0d", "a\tb\rc\0d"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"C:\dir\x", r"C:\dir\x"),
        ("end\\", "end\\"),
        ("\\\\", "\\"),
        ("\\\n", "\\\n"),
        ("\n---\n", "\n---\n"),
        (r"\ü", r"\ü"),
    ],
)
def test_escapes_are_replaced(escaped: str, text: str) -> None:
    assert prompt_input.unescape(escaped) == text
