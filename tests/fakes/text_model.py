"""A text model whose answers come from the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

import attrs

from mlxknife.adapters.mlx.text.grammars import Grammars, Matcher
from mlxknife.domain.errors import EngineError, KnifeError, ValidationError
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import KVCacheOptions
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowError, RowStep
from mlxknife.ports.engines.text import Tokenizer
from tests.fakes.tokenizer import FakeTokenizer
from tests.parrot import ANSWERS
from tests.parrot.tokens import TEMPLATE
from tests.parrot_rows import END_TOKEN, VOCABULARY_SIZE, answer_to, parrot_tokenizer, prompt_for

Tokens = tuple[int, ...]
_PLAIN = KVCacheOptions()
_LOGPROB, _LESS_LIKELY = -0.5, -9.0


def scripted(answers: Mapping[Tokens, Sequence[int]]) -> Callable[[Row], Sequence[int]]:
    """Return the answers by how a prompt ends; the longest ending counts. Other prompts get an empty answer."""

    def answer(row: Row) -> Sequence[int]:
        endings = [ending for ending in answers if row.prompt[-len(ending) :] == ending]
        return answers[max(endings, key=len)] if endings else ()

    return answer


@attrs.define
class _Running:
    row: Row
    answer: Iterator[int]
    cached: int
    unread: int
    """The tokens of the prompt that are not prefilled yet."""
    sampled: list[int] = attrs.field(factory=list)
    matcher: Matcher | None = None


@attrs.define
class FakeTextModel:
    """Fulfils ``ports.engines.text.TextModel``.

    ``answer`` returns the tokens of a row without the end token. A row with a temperature gets random tokens that
    depend on its seed and prompt. A row with a grammar gets another token where the grammar forbids this one: the end
    token, or else the first that is allowed.
    """

    answer: Callable[[Row], Sequence[int]] = lambda _: ()
    tokenizer: Tokenizer = attrs.field(factory=FakeTokenizer)
    end_token: int = 0
    chat_template: str | None = None
    tool_parser: object = None
    special_tokens: Mapping[str, str] = attrs.field(factory=dict)
    vocabulary_size: int = 264
    notes: tuple[str, ...] = ()
    can_batch: bool = True
    max_rows: int = 32
    prefill_chunk: int = 256
    failing_token: int | None = None
    """A row whose prompt has this token fails when the prompt is prefilled."""
    samples: bool = False
    """Whether a row with a temperature gets random tokens; otherwise it gets its answer too."""
    is_closed: bool = False
    rows: list[Row] = attrs.field(factory=list)
    """Every row that was added."""
    cancelled: list[int] = attrs.field(factory=list)
    """The ids of cancelled rows that ran or waited."""
    _grammars: Grammars = attrs.field(init=False)
    _matchers: dict[int, Matcher | None] = attrs.field(factory=dict, init=False)
    _waiting: dict[int, Row] = attrs.field(factory=dict, init=False)
    _running: dict[int, _Running] = attrs.field(factory=dict, init=False)
    _prefixes: list[tuple[KVCacheOptions, Tokens]] = attrs.field(factory=list, init=False)
    """The prompts and answers of ended rows."""

    def __attrs_post_init__(self) -> None:
        self._grammars = Grammars(self.tokenizer, {self.end_token}, self.vocabulary_size)

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._running

    def compile_grammar(self, grammar: str, *, keep: bool = True) -> None:
        self._grammars.compile(grammar, keep=keep)

    def add_row(self, row: Row) -> None:
        self._check_open()
        if row.id in self._waiting or row.id in self._running:
            msg = f"id {row.id} belongs to a row that has not ended"
            raise ValidationError(msg)
        row.check_vocabulary(self.vocabulary_size)
        if row.kv_cache.bits is not None:
            msg = "kv_bits does not work with this model"
            raise ValidationError(msg)
        self._matchers[row.id] = None if row.grammar is None else self._grammars.matcher(row.grammar)
        self._waiting[row.id] = row
        self.rows.append(row)

    def cancel_row(self, row_id: int) -> None:
        if self._waiting.pop(row_id, None) is not None or row_id in self._running:
            self.cancelled.append(row_id)
        self._end(row_id)

    def step(self) -> BatchStep:
        self._check_open()
        for row in list(self._waiting.values()):
            if not self._has_place(row):
                break
            self._start(self._waiting.pop(row.id))
        errors = self._failed()
        steps = tuple(self._decoded(running) for running in list(self._running.values()) if not running.unread)
        self._prefill()
        return BatchStep(steps, errors)

    def close(self) -> None:
        self.is_closed = True
        self._waiting.clear()
        self._running.clear()

    def _check_open(self) -> None:
        if self.is_closed:
            msg = "The model is closed"
            raise EngineError(msg)

    def _has_place(self, row: Row) -> bool:
        is_batched = self._is_batched(row)
        others = [running for running in self._running.values() if self._is_batched(running.row) == is_batched]
        return len(others) < (self.max_rows if is_batched else 1)

    def _is_batched(self, row: Row) -> bool:
        return self.can_batch and row.kv_cache == _PLAIN

    def _start(self, row: Row) -> None:
        known = [tokens for options, tokens in self._prefixes if options == row.kv_cache]
        cached = max((_common_length(tokens, row.prompt[:-1]) for tokens in known), default=0)
        matcher = self._matchers.pop(row.id)
        answer = iter(self._answer_of(row))
        self._running[row.id] = _Running(row, answer, cached, len(row.prompt) - cached, matcher=matcher)

    def _answer_of(self, row: Row) -> Tokens:
        if self.samples and row.sampling.temperature:
            random = Random(f"{row.sampling.seed} {row.prompt}")
            return tuple(random.randrange(self.end_token) for _ in range(row.max_tokens))
        return (*self.answer(row), self.end_token)

    def _failed(self) -> tuple[RowError, ...]:
        prefilled = [running for running in self._running.values() if not running.unread]
        nan = EngineError("The model produced NaN logits")
        failed: dict[int, KnifeError] = {
            running.row.id: nan for running in prefilled if self.failing_token in running.row.prompt
        }
        for running in prefilled:
            if running.matcher is not None:
                running.matcher.allowed(self.vocabulary_size)
                if running.matcher.error is not None:
                    failed[running.row.id] = running.matcher.error
        for row_id in failed:
            del self._running[row_id]
        return tuple(RowError(row_id, error) for row_id, error in failed.items())

    def _prefill(self) -> None:
        """Prefill one chunk, the same share of each prompt."""
        unread = [running for running in self._running.values() if running.unread]
        for running in unread:
            running.unread = max(0, running.unread - max(1, self.prefill_chunk // len(unread)))

    def _decoded(self, running: _Running) -> RowStep:
        row, token = running.row, self._next_token(running)
        running.sampled.append(token)
        reason = FinishReason.LENGTH if len(running.sampled) == row.max_tokens else None
        if token == self.end_token:
            reason = FinishReason.STOP
        if reason is not None:
            self._end(row.id)
        if row.top_logprobs is None:
            return RowStep(row.id, token, reason, cached=running.cached)
        others = [other for other in range(row.top_logprobs) if other != token]
        top = ((token, _LOGPROB), *((other, _LESS_LIKELY) for other in others))[: row.top_logprobs]
        return RowStep(row.id, token, reason, _LOGPROB, top, running.cached)

    def _next_token(self, running: _Running) -> int:
        token = next(running.answer, self.end_token)
        if running.matcher is not None:
            allowed = running.matcher.allowed(self.vocabulary_size).nonzero()[0].tolist()
            choices = (token, self.end_token, *allowed)
            token = next(choice for choice in choices if choice in allowed)
            running.matcher.consume(token)
        return token

    def _end(self, row_id: int) -> None:
        """Forget a row, and keep what was computed of it."""
        running = self._running.pop(row_id, None)
        if running is not None and not running.unread:
            self._prefixes.append((running.row.kv_cache, (*running.row.prompt, *running.sampled)))


def fake_parrot() -> FakeTextModel:
    """Return a model that gives the parrot's answers, with the parrot's tokens and chat template."""
    return FakeTextModel(
        scripted({prompt_for(question): answer_to(question)[:-1] for question in ANSWERS}),
        tokenizer=parrot_tokenizer(),
        end_token=END_TOKEN,
        chat_template=TEMPLATE,
        special_tokens={"eos_token": "<|im_end|>"},
        vocabulary_size=VOCABULARY_SIZE,
        notes=("fake",),
        samples=True,
    )


def _common_length(one: Sequence[int], other: Sequence[int]) -> int:
    longest = min(len(one), len(other))
    return next((place for place in range(longest) if one[place] != other[place]), longest)
