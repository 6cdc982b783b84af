"""Renders blocks of Markdown as lines for a terminal, with rich. The text comes from a model, so it is hostile.

Nothing of it reaches the terminal raw: control characters are escaped before and after rendering, links become text,
and HTML, entities and images are shown as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from rich import markdown
from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from mlxknife.cli.render.markdown_blocks import Block, BlockKind, closes_fence
from mlxknife.cli.render.text import terminal_safe

_LANGUAGES = frozenset(
    """bash batch c c# c++ clojure cmake console cpp cs csharp css cuda dart diff docker dockerfile elixir erlang
    fortran go golang graphql haskell html ini java javascript js json jsx julia kotlin latex lua make makefile
    markdown matlab md metal nginx objective-c ocaml perl php powershell ps1 proto protobuf py python python3 r rb rs
    ruby rust scala scheme sh shell sql swift tex toml ts tsx typescript vim xml yaml yml zig zsh""".split()
)
"""The languages whose code is highlighted. Others are not looked up: some lexers take very long for hostile text."""
_CODE_THEME = "ansi_dark"
"""The colours of the terminal itself, without a background."""
_CONTEXT_LINES = 40
"""Lines of a long block of code that decide the colours of the lines after them."""
_TAB = 4
_MAX_NESTING = 20
"""The parser drops the text of deeper levels."""
_LEVEL_WIDTH = 3
"""About the columns that a level of nesting, or a column of a table, takes besides its text."""
_LEAST_WIDTH = 4
_UNESCAPED = "()[]{}\\"
"""What stays behind its backslash, because the two are mathematics more often than an escape."""
_STYLES = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "italic",
        "markdown.h5": "italic",
        "markdown.h6": "italic",
        "markdown.code": "cyan",
        "markdown.code_block": "cyan",
        "markdown.block_quote": "magenta",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.hr": "dim",
        "markdown.link": "underline",
        "markdown.link_url": "dim",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)


class MarkdownRenderer:
    """Renders the blocks of one text, one after the other."""

    def __init__(self) -> None:
        """Make the console that measures and wraps; it prints nothing."""
        self._console = Console(
            force_terminal=True, color_system="standard", theme=_STYLES, legacy_windows=False, emoji=False, width=80
        )
        self._parser = _parser()
        self._markdown = _Markdown("", hyperlinks=False)
        self._code: list[str] = []
        """The last lines of the code that goes on in the next block."""
        self._known: tuple[object, list[str]] = (None, [])
        """The rendered lines of code that do not change while the next line arrives."""

    def finished(self, block: Block, columns: int) -> list[str]:
        """Return the lines of the next finished block, without empty lines around them."""
        if _is_only_fence(block):
            return _without_empty_ends(self._lines(Text(block.text), columns))
        lines = self.rest(block, columns)
        if block.kind is BlockKind.FENCED_CODE:
            self._code = [*(self._code if block.continues else ()), *_code_lines(block)][-_CONTEXT_LINES:]
        return lines

    def rest(self, block: Block, columns: int) -> list[str]:
        """Return the lines of a block that follows the finished ones."""
        columns = max(columns, _LEAST_WIDTH)
        if block.kind is BlockKind.FENCED_CODE:
            return self._code_block(block, columns)
        self._markdown.parsed = self._parser.parse(block.text)
        has_room = _has_room(self._markdown.parsed, columns)
        return _without_empty_ends(self._lines(self._markdown if has_room else Text(block.text), columns))

    def _code_block(self, block: Block, columns: int) -> list[str]:
        """Return the lines of fenced code. The line that has not ended is coloured by itself."""
        lines, language = _code_lines(block), block.language.partition(" ")[0]
        open_lines = [] if block.text.endswith("\n") else lines[-1:]
        before = self._code if block.continues else []
        whole = [*before, *lines[: len(lines) - len(open_lines)]]
        key = (whole, len(before), language, columns)
        if self._known[0] != key:
            coloured = _highlighted(whole, language)[len(before) :]
            self._known = (key, self._lines(Text("\n").join(coloured), columns) if coloured else [])
        return [*self._known[1], *(self._lines(_highlighted(open_lines, language)[0], columns) if open_lines else ())]

    def _lines(self, renderable: Text | markdown.Markdown, columns: int) -> list[str]:
        options = self._console.options.update(width=columns, height=None)
        return [_painted(line) for line in self._console.render_lines(renderable, options, pad=False)]


class _CodeBlock(markdown.CodeBlock):
    """Code within a list or a quote, or indented code."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it without a background."""
        del console, options
        yield Text("\n").join(_highlighted(str(self.text).rstrip().split("\n"), self.lexer_name))


class _Heading(markdown.Heading):
    """A heading, always on the left."""

    LEVEL_ALIGN: ClassVar = dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "left")


class _ListItem(markdown.ListItem):
    """An item of a list; its number has a full stop."""

    def render_number(self, console: Console, options: ConsoleOptions, number: int, last_number: int) -> RenderResult:
        """Render an item of a numbered list. The items that follow do not move it."""
        del last_number
        width = len(str(number)) + 3
        style = console.get_style("markdown.item.number")
        inner = options.update(width=max(1, options.max_width - width))
        for index, line in enumerate(console.render_lines(self.elements, inner, style=self.style)):
            yield Segment(f"{number}. ".rjust(width) if index == 0 else " " * width, style)
            yield from line
            yield Segment.line()


class _Table(markdown.TableElement):
    """A table that folds a word which is wider than its column."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it without cutting off any text."""
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


class _Markdown(markdown.Markdown):
    """Markdown with the elements above. Its tokens come from a parser of our own."""

    elements: ClassVar = {
        **markdown.Markdown.elements,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "heading_open": _Heading,
        "list_item_open": _ListItem,
        "table_open": _Table,
    }


def _parser() -> MarkdownIt:
    parser = MarkdownIt(options_update={"maxNesting": _MAX_NESTING}).enable(["strikethrough", "table"])
    parser.disable(["html_block", "html_inline", "entity", "autolink", "image", "reference"])
    parser.core.ruler.before("text_join", "keep_text", _keep_text)
    return parser


def _has_room(tokens: Sequence[Token], columns: int) -> bool:
    """Return whether a block can be laid out without cutting off text. Other blocks are shown as they are written."""
    cells = 0
    for token in tokens:
        cells = 0 if token.type == "tr_open" else cells + (token.type == "th_open")
        if token.level >= _MAX_NESTING - 1 or _LEVEL_WIDTH * (token.level + cells) > columns:
            return False
    return True


def _keep_text(state: StateCore) -> None:
    """Keep line breaks, and backslashes that are rather mathematics."""
    for block in state.tokens:
        for token in block.children or ():
            if token.type == "softbreak":
                token.type = "hardbreak"
            elif token.type == "text_special" and token.info == "escape" and token.content in _UNESCAPED:
                token.content = token.markup


def _code_lines(block: Block) -> list[str]:
    """Return the lines of a block of fenced code without its fences."""
    lines = block.text.removesuffix("\n").split("\n")
    if not block.continues:
        lines = lines[1:]
    if lines and closes_fence(lines[-1], block.fence):
        lines = lines[:-1]
    return lines


def _is_only_fence(block: Block) -> bool:
    """Return whether a block of fenced code has all its text beside the fence, as in the answers of some models."""
    is_whole = block.kind is BlockKind.FENCED_CODE and not block.continues
    return is_whole and bool(block.language) and not any(line.strip() for line in _code_lines(block))


def _highlighted(lines: list[str], language: str) -> list[Text]:
    """Return lines of code in the colours of their language."""
    code = "\n".join(line.expandtabs(_TAB) for line in lines)
    if language.lower() in _LANGUAGES:
        text = Syntax("", language.lower(), theme=_CODE_THEME, background_color="default").highlight(code)
        text.rstrip()
    else:
        text = Text(code, style="markdown.code_block")
    text.no_wrap = False
    coloured = list(text.split("\n", allow_blank=True))
    return [*coloured[: len(lines)], *(Text("") for _ in range(len(lines) - len(coloured)))]


def _painted(line: list[Segment]) -> str:
    """Return a line with its escape sequences, without blanks at its end."""
    pieces = list[str]()
    is_end = True
    for segment in reversed(line):
        text = "" if segment.control else terminal_safe(segment.text).replace("\n", " ").expandtabs(_TAB)
        style = segment.style or Style.null()
        if is_end and not (style.reverse or style.underline):
            text = text.rstrip(" ")
        is_end = is_end and not text
        if text:
            pieces.append(style.update_link(None).render(text, color_system=ColorSystem.STANDARD))
    return "".join(reversed(pieces))


def _without_empty_ends(lines: list[str]) -> list[str]:
    filled = [number for number, line in enumerate(lines) if line]
    return lines[filled[0] : filled[-1] + 1] if filled else []
