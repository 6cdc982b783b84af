"""The answer of a model on stdout: Markdown and faint reasoning on a terminal, unchanged in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from mlxknife.cli.render.terminal import has_colour
from mlxknife.cli.render.text import Style, terminal_safe
from mlxknife.cli.streams import map_stdout_errors
from mlxknife.domain.generation.values.answer import (
    FinishReason,
    GenerationResult,
    TextDelta,
    TextKind,
    Timings,
    Usage,
)

if TYPE_CHECKING:
    from mlxknife.cli.render.markdown_stream import MarkdownStream


class AnswerPrinter:
    """Prints the text of one answer, with an empty line between reasoning and answer."""

    def __init__(
        self, stream: TextIO, kinds: tuple[TextKind, ...], *, is_streaming: bool = True, is_plain: bool = False
    ) -> None:
        """Take the stream, and the kinds of text to print.

        ``is_streaming``: print each delta at once, not all of them in ``end``. ``is_plain``: print Markdown as it is
        written, as in a pipe and on a terminal without colours.
        """
        self._stream = stream
        self._kinds = kinds
        self._is_streaming = is_streaming
        self._held: list[TextDelta] = []
        self._is_terminal = stream.isatty()
        self._has_colour = has_colour(stream)
        self._renders_markdown = self._has_colour and not is_plain
        self._markdown: MarkdownStream | None = None
        """Draws the answer that has begun."""
        self._last: TextKind | None = None
        self._end = "\n"

    def write(self, delta: TextDelta) -> None:
        """Print or hold a delta of text. Raises StdoutError."""
        if delta.kind not in self._kinds or not delta.text:
            return
        if self._is_streaming:
            self._print(delta)
        else:
            self._held.append(delta)

    def end(self) -> None:
        """Print the pieces that were held, and end the last line if it is open. Raises StdoutError."""
        held, self._held = self._held, []
        for delta in held:
            self._print(delta)
        with map_stdout_errors():
            self._end_markdown()
            ending, self._end = "" if self._end == "\n" else "\n", "\n"
            self._stream.write(ending)
            self._stream.flush()

    def drop(self) -> None:
        """Forget the deltas that are held."""
        self._held = []

    def pause(self) -> None:
        """Give the terminal to a shell for a while. Raises StdoutError."""
        if self._markdown is not None:
            with map_stdout_errors():
                self._markdown.pause()

    def resume(self) -> None:
        """Go on after ``pause``. Raises StdoutError."""
        if self._markdown is not None:
            with map_stdout_errors():
                self._markdown.resume()

    def _print(self, delta: TextDelta) -> None:
        with map_stdout_errors():
            if self._last not in (None, delta.kind):
                self._end_markdown()
                self._stream.write("\n" if self._end == "\n" and self._renders_markdown else "\n\n")
            self._last = delta.kind
            if delta.kind is TextKind.ANSWER and self._renders_markdown:
                self._draw(delta.text)
                return
            self._end = delta.text[-1]
            self._stream.write(self._styled(delta))
            self._stream.flush()

    def _draw(self, text: str) -> None:
        if self._markdown is None:
            from mlxknife.cli.render.markdown_stream import MarkdownStream  # noqa: PLC0415 - a tenth of a second

            self._markdown, self._end = MarkdownStream(self._stream), "\n"
        self._markdown.write(text)

    def _end_markdown(self) -> None:
        if self._markdown is not None:
            self._markdown.end()
            self._markdown = None

    def _styled(self, delta: TextDelta) -> str:
        if not self._is_terminal:
            return delta.text
        text = terminal_safe(delta.text)
        is_faint = self._has_colour and delta.kind is TextKind.REASONING
        return f"\x1b[{Style.FAINT.value}m{text}\x1b[0m" if is_faint else text


def cut_note(result: GenerationResult, context_length: int | None, option: str) -> str | None:
    """Return why an answer is not complete, or None; ``option`` names what limits its length."""
    count = result.usage.completion_tokens
    tokens = f"{count} token{'' if count == 1 else 's'}"
    if result.finish_reason is FinishReason.REPETITION:
        return f"Output ended at {tokens}: it only repeated itself (--no-loop-guard)"
    if result.finish_reason is not FinishReason.LENGTH:
        return None
    is_full = context_length is not None and result.usage.total_tokens >= context_length
    return f"Output cut at {tokens} ({'the context window is full' if is_full else option})"


def statistics(result: GenerationResult) -> str:
    """Return the token counts, times and decoding rate of an answer in one line."""
    return answer_statistics(result.usage, result.timings, result.finish_reason.value)


def answer_statistics(usage: Usage, times: Timings, ending: str) -> str:
    """Return what ``statistics`` returns for an answer that ended so, such as ``stopped``."""
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    return (
        f"{usage.prompt_tokens} prompt tokens{cached}, {usage.completion_tokens} generated ({ending}); "
        f"loaded in {times.load:.1f}s, first token after {times.first_token:.2f}s, "
        f"then {tokens_per_second(usage, times):.1f} tokens/s"
    )


def tokens_per_second(usage: Usage, times: Timings) -> float:
    """Return the rate of the tokens after the first."""
    decoding = times.total - times.first_token
    return (usage.completion_tokens - 1) / decoding if decoding > 0 and usage.completion_tokens > 1 else 0.0
