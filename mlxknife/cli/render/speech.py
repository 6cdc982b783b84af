"""The words of a model as they come: safe on a terminal, complete and untouched in a pipe."""

from __future__ import annotations

from typing import TextIO

from mlxknife.cli.listener import listened_to
from mlxknife.cli.render.text import Style, wants_colour
from mlxknife.domain.generation.values.generation import Outcome, Piece, PieceKind
from mlxknife.domain.text.rules.display import is_unprintable, visible

_LAYOUT = "\n\t"


class Speech:
    """Shows pieces of an answer on a stream, reasoning faintly and apart."""

    def __init__(self, stream: TextIO, kinds: tuple[PieceKind, ...], *, at_once: bool = True) -> None:
        """Take the stream, which kinds of pieces are to be seen, and whether as they come or all at the end."""
        self._stream = stream
        self._kinds = kinds
        self._at_once = at_once
        self._kept: list[Piece] = []
        self._is_terminal = stream.isatty()
        self._has_colour = wants_colour(stream)
        self._last: PieceKind | None = None
        self._end = "\n"

    def hear(self, piece: Piece) -> None:
        """Take a piece. Raises ListenerGone when nobody listens any more."""
        if piece.kind not in self._kinds or not piece.text:
            return
        if self._at_once:
            self._show(piece)
        else:
            self._kept.append(piece)

    def end(self) -> None:
        """Show what was kept, and end the line, whatever was said. Raises ListenerGone."""
        kept, self._kept = self._kept, []
        for piece in kept:
            self._show(piece)
        ending, self._end = "" if self._end == "\n" else "\n", "\n"
        with listened_to():
            self._stream.write(ending)
            self._stream.flush()

    def _show(self, piece: Piece) -> None:
        with listened_to():
            if self._last not in (None, piece.kind):
                self._stream.write("\n\n")
            self._last, self._end = piece.kind, piece.text[-1]
            self._stream.write(self._dressed(piece))
            self._stream.flush()

    def _dressed(self, piece: Piece) -> str:
        if not self._is_terminal:
            return piece.text
        text = safe(piece.text)
        is_faint = self._has_colour and piece.kind is PieceKind.REASONING
        return f"\x1b[{Style.FAINT.value}m{text}\x1b[0m" if is_faint else text


def safe(text: str) -> str:
    """Return a text with everything that steers a terminal written out, lines and tabs aside.

    Each character is looked at alone, so that no cut of a text into pieces lets anything through.
    """
    if text.isprintable():
        return text
    return "".join(visible(char) if is_unprintable(char) and char not in _LAYOUT else char for char in text)


def statistics(outcome: Outcome) -> str:
    """Return how long an answer took, in one line."""
    usage, times = outcome.usage, outcome.timings
    decoding = times.total - times.first_token
    rate = (usage.completion_tokens - 1) / decoding if decoding > 0 and usage.completion_tokens > 1 else 0.0
    known = f" ({usage.cached_tokens} known from before)" if usage.cached_tokens else ""
    said = f"{usage.completion_tokens} answered ({outcome.finish_reason.value})"
    return (
        f"{usage.prompt_tokens} prompt tokens{known}, {said}; "
        f"loaded in {times.load:.1f}s, first token after {times.first_token:.2f}s, then {rate:.1f} tokens/s"
    )
