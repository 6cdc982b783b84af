"""Markdown on a terminal while it arrives: each line is shown once, whatever the size of the screen."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from mlxknife.cli.render.markdown_blocks import BlockSplitter
from mlxknife.cli.render.markdown_lines import MarkdownRenderer
from mlxknife.cli.render.markdown_stream import MarkdownStream
from mlxknife.cli.render.text import terminal_safe
from tests.screen import ScreenStream

_SGR = re.compile(r"\x1b\[[0-9;]*m")
_ALLOWED = re.compile(r"\x1b\[(?:[0-9;]*m|\d*A|B|J|K|\?7[hl])")
_ROWS = "".join(f"| row {number} | {number * number} |\n" for number in range(40))
_CODE = "".join(f"value_{number} = compute({number})\n" for number in range(45))
_TEXT = f"""# Title

A **bold** word, `code`, *emphasis* and a [link](https://example.org/a).
The next line stays a line.

- one
- two
  1. nested
- three

> quoted

Some words before code:
```python
{_CODE}```
After it, 世界 and 👩‍🚀, and a very long {"word " * 60}

| name | square |
|---|--:|
{_ROWS}
---
The end"""


@pytest.fixture
def stream() -> Iterator[ScreenStream]:
    with ScreenStream() as opened:
        yield opened


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _drawn(stream: ScreenStream, text: str, size: int = 3) -> str:
    """Return what the screen shows of a text that arrived in pieces; each piece is drawn."""
    markdown = MarkdownStream(stream, clock=lambda: 0.0)
    for piece in _pieces(text, size):
        markdown.write(piece)
    markdown.end()
    return stream.screen.text


def _whole(text: str, columns: int) -> list[str]:
    """Return the lines of a text without colours and without the empty lines between blocks."""
    splitter, renderer = BlockSplitter(), MarkdownRenderer()
    blocks = [*splitter.feed(terminal_safe(text)), *splitter.finish()]
    lines = [line for block in blocks for line in renderer.finished(block, columns)]
    return [shown for line in lines if (shown := _SGR.sub("", line).rstrip())]


@pytest.mark.parametrize(
    ("columns", "rows", "size"), [(20, 6, 9), (60, 24, 4), (80, 5, 50), (120, 50, 20), (60, 24, 10_000)]
)
def test_every_line_is_shown_once(columns: int, rows: int, size: int) -> None:
    with ScreenStream(columns, rows) as stream:
        shown = _drawn(stream, _TEXT, size)
    lines = [line for line in shown.split("\n") if line]
    if columns > 20:
        assert lines == _whole(_TEXT, columns - 1)
    assert "".join(lines) == "".join(_whole(_TEXT, columns - 1))  # joined emoji may be wider than they are measured


def test_an_answer_is_readable(stream: ScreenStream) -> None:
    text = "# Sum\nUse **add**:\n```python\ndef add(a, b):\n    return a + b\n```\nIt takes:\n1. `a`\n2. `b`\n\nDone."
    assert _drawn(stream, text) == (
        "Sum\nUse add:\n\ndef add(a, b):\n    return a + b\n\nIt takes:\n 1. a\n 2. b\n\nDone."
    )
    assert "\x1b[1madd\x1b[0m" in stream.getvalue()
    assert re.search(r"\x1b\[94[;0-9]*mreturn\x1b\[0m", stream.getvalue())


def test_a_list_does_not_move_while_it_grows(stream: ScreenStream) -> None:
    numbers = range(8, 12)
    text = "".join(f"{number}. item\n" for number in numbers)
    assert _drawn(stream, text, 1) == "\n".join(f" {number}. item" for number in numbers)


@pytest.mark.parametrize("columns", [20, 60])
@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{'  ' * depth}- word{depth}\n" for depth in range(30)),
        f"{'> ' * 30}word\n",
        f"| name | address |\n|---|---|\n| word | https://example.org/{'abcdef/' * 12} |\n",
        f"| {' | '.join(f'word{number}' for number in range(12))} |\n{'|---' * 12}|\n",
    ],
    ids=["a deep list", "a deep quote", "a long word in a table", "a table of many columns"],
)
def test_no_word_is_cut_off(text: str, columns: int) -> None:
    with ScreenStream(columns, 24) as stream:
        shown = _drawn(stream, text, 100)
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    letters = sorted(re.findall(r"\w", text))
    assert sorted(re.findall(r"\w", shown)) == letters


@pytest.mark.parametrize("text", ["```ls -la\n```", "```ls -la", "~~~ls -la\n\n~~~\n"])
def test_a_fence_without_code_is_shown_as_it_is_written(stream: ScreenStream, text: str) -> None:
    assert _drawn(stream, f"Run:\n{text}", 1) == f"Run:\n\n{text.strip()}"
    assert _drawn(stream, "\n```python\nx = 1\n```\n", 1).endswith("x = 1")


def test_what_is_finished_is_written_once(stream: ScreenStream) -> None:
    _drawn(stream, "first paragraph\n\nsecond\n\nthird", 1000)
    _drawn(stream, "first\n\n" + "second " * 30 + "\n\nthird", 1)
    assert stream.getvalue().count("third") == 2


@pytest.mark.parametrize("line", ["-", "1", "1.", "#", "``", "`", "**", "=", "|", ">"])
def test_a_line_that_may_become_anything_is_not_drawn(stream: ScreenStream, line: str) -> None:
    markdown = MarkdownStream(stream, clock=lambda: 0.0)
    markdown.write(f"Text\n{line}")
    assert stream.screen.text == "Text"
    markdown.end()
    assert "Text" in stream.screen.text


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]0;title\x07\x1b[2J\r\x08\x9b\u202e\u2028\x7f",
        "&#27;[31m &#x202e; &lt;",
        "[click](https://evil.example/\x1b]8;;)",
        "<https://evil.example>",
        "![image](https://evil.example/x.png)",
        "[red]rich[/red] [link=https://evil.example]x[/link] :smile:",
        "```\x1b[31m\n\x1b[2J\u202e\n```",
        "| \x1b[A | \u2066 |\n|---|---|\n| \x07 | \x00 |\n",
        "<b>bold</b> <!-- hidden --> std::vector<int>",
        "[hidden]: https://evil.example",
        "\\(x\\) and \\[y\\] and \\\\alpha",
    ],
)
def test_a_hostile_text_is_shown_and_steers_nothing(stream: ScreenStream, text: str) -> None:
    shown = _drawn(stream, text, 1)
    rest = _ALLOWED.sub("", stream.getvalue())
    assert all(char.isprintable() or char in "\n\r\u200d" for char in rest)
    assert "\x1b]" not in stream.getvalue()
    for part in re.findall(r"[a-z]{3,}|&#?\w+;|<[^>]*>|\\[^x]", text):
        assert part in shown


def test_the_rest_gives_place_to_a_shell(stream: ScreenStream) -> None:
    markdown = MarkdownStream(stream, clock=lambda: 0.0)
    markdown.write("finished\n\nan open\nparagraph")
    markdown.pause()
    assert stream.screen.text == "finished"
    stream.write("\n[1]+  Stopped\n$ fg\n")
    markdown.resume()
    markdown.write(" grows")
    markdown.end()
    assert stream.screen.text.split("\n")[-3:] == ["", "an open", "paragraph grows"]
    assert stream.screen.text.count("an open") == 1


def test_a_smaller_and_a_larger_window_lose_nothing(stream: ScreenStream) -> None:
    markdown = MarkdownStream(stream, clock=lambda: 0.0)
    words = " ".join(f"word{number}" for number in range(100))
    for number, piece in enumerate(_pieces(words, 5)):
        if number % 20 == 10:
            stream.resize(*((30, 10) if number % 40 == 10 else (100, 30)))
        markdown.write(piece)
    markdown.end()
    assert stream.screen.text.split()[-100:] == words.split()


def test_drawing_takes_a_limited_share_of_the_time(stream: ScreenStream) -> None:
    """The rest is not drawn again before four times the time that drawing took has passed."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0  # each drawing takes one second
        return now

    markdown = MarkdownStream(stream, clock)
    shown = []
    for number in range(8):
        markdown.write(f"{number} ")
        shown.append(stream.screen.text)
    assert len(set(shown)) < 5
    markdown.end()
    assert stream.screen.text == "0 1 2 3 4 5 6 7"
