"""The answer stream: turns the tokens of one answer into deltas."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.generation.rules.answer_splitter import AnswerSplitter
from mlxknife.domain.generation.rules.logprobs import LogprobAligner
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
        self._logprobs = LogprobAligner()
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
        if end is not FinishReason.STOP:  # a token that ends the turn belongs to no text
            if end is None and self._loop_guard is not None and self._loop_guard.feed(step.token):
                end = FinishReason.REPETITION
            text = self._detokenizer.feed(step.token)
            if step.logprob is not None:
                self._logprobs.add(self._logprob(step), text)
            parts += self._splitter.feed(text)
        if end is not None and not self._splitter.has_ended:
            text = self._detokenizer.finish()
            self._logprobs.extend(text)
            parts += self._splitter.feed(text)
            parts += self._splitter.flush()
        reason = self._reason(end)
        logprobs = self._settled_logprobs(parts, has_ended=reason is not None)
        if self._echo:
            parts.insert(0, TextDelta(TextKind.ANSWER, self._echo))
            self._echo = ""
        usage = Usage(self._prompt_tokens, self._count, step.cached)
        texts = tuple(part for part in parts if isinstance(part, TextDelta))
        calls = tuple(part for part in parts if isinstance(part, ToolCallDelta))
        return Delta(self._index, texts, logprobs, reason, usage, calls)

    def _reason(self, end: FinishReason | None) -> FinishReason | None:
        """Return why the answer ends with this step, if it does."""
        reason = FinishReason.STOP if self._splitter.has_ended else end
        return FinishReason.TOOL_CALLS if reason is FinishReason.STOP and self._splitter.has_called else reason

    def _settled_logprobs(
        self, parts: Sequence[TextDelta | ToolCallDelta], *, has_ended: bool
    ) -> tuple[TokenLogprob, ...]:
        """Return the logprobs of the tokens of which it is certain by now whether they are text of the answer."""
        if self._logprobs.is_empty:
            return ()
        for part in parts:
            if isinstance(part, TextDelta):
                self._logprobs.show(part)
            else:
                self._logprobs.drop_earlier()
        return self._logprobs.settled(holds_text=self._splitter.holds_text, has_ended=has_ended)

    def _logprob(self, step: RowStep) -> TokenLogprob:
        top = tuple(self._named(token, logprob) for token, logprob in step.top)
        return self._named(step.token, step.logprob or 0.0, top)

    def _named(self, token: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        content = self._tokenizer.token_bytes(token)
        return TokenLogprob(content.decode("utf-8", "replace"), content, logprob, top)
