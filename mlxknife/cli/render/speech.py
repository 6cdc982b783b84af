"""The words of a model as they come: safe on a terminal, complete and untouched in a pipe."""

from __future__ import annotations

from typing import TextIO

from mlxknife.cli.render.text import Style, wants_colour
from mlxknife.domain.model.generation import Outcome, Piece, PieceKind
from mlxknife.domain.rules.display import is_unprintable, visible

_LAYOUT = "\n\t"


class Speech:
    """Shows pieces of an answer on a stream, reasoning faintly and apart."""

    def __init__(self, stream: TextIO, kinds: tuple[PieceKind, ...]) -> None:
        """Take the stream, and which kinds of pieces are to be seen."""
        self._stream = stream
        self._kinds = kinds
        self._is_terminal = stream.isatty()
        self._has_colour = wants_colour(stream)
        self._last: PieceKind | None = None
        self._end = "\n"

    def hear(self, piece: Piece) -> None:
        """Show a piece at once. Raises BrokenPipeError when nobody listens any more."""
        if piece.kind not in self._kinds or not piece.text:
            return
        if self._last not in (None, piece.kind):
            self._stream.write("\n\n")
        self._last, self._end = piece.kind, piece.text[-1]
        self._stream.write(self._dressed(piece))
        self._stream.flush()

    def end(self) -> None:
        """End the line, whatever was said."""
        if self._end != "\n":
            self._stream.write("\n")
        self._stream.flush()
        self._end = "\n"

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
    return (
        f"{usage.prompt_tokens} prompt tokens, {usage.completion_tokens} answered ({outcome.finish_reason.value}); "
        f"loaded in {times.load:.1f}s, first token after {times.first_token:.2f}s, then {rate:.1f} tokens/s"
    )
