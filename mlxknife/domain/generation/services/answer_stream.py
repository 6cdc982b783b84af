"""The answer stream: turns the tokens of one answer into deltas."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.generation.rules.answer_splitter import AnswerSplitter
from mlxknife.domain.generation.rules.loop_guard import LoopGuard
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, TokenLogprob, Usage
from mlxknife.domain.generation.values.rows import RowStep
from mlxknife.domain.tools.rules.splitter import ToolCallSplitter
from mlxknife.domain.tools.values import ToolCallDelta
from mlxknife.ports.engines.text import Tokenizer


class AnswerStream:
    """One answer. The joined text does not depend on how the tokens arrive."""

    def __init__(  # noqa: PLR0913 - all of them describe one answer
        self,
        tokenizer: Tokenizer,
        prompt_tokens: int,
        *,
        index: int = 0,
        markers: ReasoningMarkers | None = None,
        stops: Sequence[str] = (),
        calls: ToolCallSplitter | None = None,
        echo: str = "",
        after: Sequence[int] = (),
        has_loop_guard: bool = False,
    ) -> None:
        """Take what the text depends on.

        ``index`` is the number of the answer in its request, ``calls`` finds tool calls in it, ``echo`` is the text
        that it begins with, ``after`` are the tokens that it continues, and with ``has_loop_guard`` a loop ends it.
        """
        self._tokenizer = tokenizer
        self._detokenizer = tokenizer.detokenizer(after)
        self._splitter = AnswerSplitter(markers, stops, calls)
        self._loop_guard = LoopGuard() if has_loop_guard else None
        self._has_stops = any(stops)
        self._held_logprobs = list[tuple[int, TokenLogprob]]()
        """The logprobs of tokens whose text is held back, each with the position where its text begins."""
        self._prompt_tokens = prompt_tokens
        self._index = index
        self._echo = echo
        self._count = 0

    def feed(self, step: RowStep) -> Delta:
        """Return what a token adds, which may be nothing. Raises EngineError if the tokenizer fails.

        A finish reason that the step does not have comes from a stop string, the only call or the loop guard: the
        caller must cancel the row.
        """
        self._count += 1
        end, parts = step.finish_reason, list[TextDelta | ToolCallDelta]()
        if self._echo:
            parts.append(TextDelta(TextKind.ANSWER, self._echo))
            self._echo = ""
        if end is not FinishReason.STOP:  # a token that ends the turn belongs to no text
            if end is None and self._loop_guard is not None and self._loop_guard.feed(step.token):
                end = FinishReason.REPETITION
            if step.logprob is not None:
                self._held_logprobs.append((self._splitter.fed, self._logprob(step)))
            parts += self._splitter.feed(self._detokenizer.feed(step.token))
        if end is not None and not self._splitter.has_ended:
            parts += self._splitter.feed(self._detokenizer.finish())
            parts += self._splitter.flush()
        has_stopped = self._splitter.has_stopped
        reason = self._reason(end)
        passes_all = not self._has_stops or (reason is not None and not has_stopped)
        logprobs = self._passed_logprobs(passes_all=passes_all) if self._held_logprobs else ()
        usage = Usage(self._prompt_tokens, self._count, step.cached)
        texts = tuple(part for part in parts if isinstance(part, TextDelta))
        calls = tuple(part for part in parts if isinstance(part, ToolCallDelta))
        return Delta(self._index, texts, logprobs, reason, usage, calls)

    def _reason(self, end: FinishReason | None) -> FinishReason | None:
        """Return why the answer ends with this step, if it does."""
        reason = FinishReason.STOP if self._splitter.has_ended else end
        return FinishReason.TOOL_CALLS if reason is FinishReason.STOP and self._splitter.has_called else reason

    def _passed_logprobs(self, *, passes_all: bool) -> tuple[TokenLogprob, ...]:
        """Return the logprobs of tokens whose text has begun to pass; the others may belong to a stop string."""
        passed = tuple(one for start, one in self._held_logprobs if passes_all or start < self._splitter.passed)
        del self._held_logprobs[: len(passed)]
        return passed

    def _logprob(self, step: RowStep) -> TokenLogprob:
        top = tuple(self._named(token, logprob) for token, logprob in step.top)
        return self._named(step.token, step.logprob or 0.0, top)

    def _named(self, token: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        content = self._tokenizer.token_bytes(token)
        return TokenLogprob(content.decode("utf-8", "replace"), content, logprob, top)
