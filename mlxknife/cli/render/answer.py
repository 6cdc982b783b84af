"""The answer of a model on stdout: escaped and with faint reasoning on a terminal, unchanged in a pipe."""

from __future__ import annotations

from typing import TextIO

from mlxknife.cli.render.terminal import has_colour
from mlxknife.cli.render.text import Style, terminal_safe
from mlxknife.cli.streams import map_stdout_errors
from mlxknife.domain.generation.values.generation import Outcome, Piece, PieceKind


class AnswerPrinter:
    """Prints the text of one answer, with an empty line between reasoning and answer."""

    def __init__(self, stream: TextIO, kinds: tuple[PieceKind, ...], *, is_streaming: bool = True) -> None:
        """Take the stream, the kinds of text to print, and whether to print each piece at once or all in ``end``."""
        self._stream = stream
        self._kinds = kinds
        self._is_streaming = is_streaming
        self._held: list[Piece] = []
        self._is_terminal = stream.isatty()
        self._has_colour = has_colour(stream)
        self._last: PieceKind | None = None
        self._end = "\n"

    def write(self, piece: Piece) -> None:
        """Print or hold a piece of text. Raises StdoutError."""
        if piece.kind not in self._kinds or not piece.text:
            return
        if self._is_streaming:
            self._print(piece)
        else:
            self._held.append(piece)

    def end(self) -> None:
        """Print the pieces that were held, and end the last line if it is open. Raises StdoutError."""
        held, self._held = self._held, []
        for piece in held:
            self._print(piece)
        ending, self._end = "" if self._end == "\n" else "\n", "\n"
        with map_stdout_errors():
            self._stream.write(ending)
            self._stream.flush()

    def _print(self, piece: Piece) -> None:
        with map_stdout_errors():
            if self._last not in (None, piece.kind):
                self._stream.write("\n\n")
            self._last, self._end = piece.kind, piece.text[-1]
            self._stream.write(self._styled(piece))
            self._stream.flush()

    def _styled(self, piece: Piece) -> str:
        if not self._is_terminal:
            return piece.text
        text = terminal_safe(piece.text)
        is_faint = self._has_colour and piece.kind is PieceKind.REASONING
        return f"\x1b[{Style.FAINT.value}m{text}\x1b[0m" if is_faint else text


def statistics(outcome: Outcome) -> str:
    """Return the token counts, times and decoding rate of an answer in one line."""
    usage, times = outcome.usage, outcome.timings
    decoding = times.total - times.first_token
    rate = (usage.completion_tokens - 1) / decoding if decoding > 0 and usage.completion_tokens > 1 else 0.0
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    generated = f"{usage.completion_tokens} generated ({outcome.finish_reason.value})"
    return (
        f"{usage.prompt_tokens} prompt tokens{cached}, {generated}; "
        f"loaded in {times.load:.1f}s, first token after {times.first_token:.2f}s, then {rate:.1f} tokens/s"
    )
