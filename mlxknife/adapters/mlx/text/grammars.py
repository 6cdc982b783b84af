"""Grammars through llguidance: compiled once for a model, copied for each row, and matched token by token.

llguidance reports an error of a grammar as a state of the matcher, never as an exception.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from mlxknife.adapters.mlx.runtime.failures import library_errors
from mlxknife.domain.constraints.values import GrammarRefused, Refusal
from mlxknife.domain.errors import KnifeError, UnsupportedCapability, ValidationError
from mlxknife.ports.engines.text import Tokenizer

if TYPE_CHECKING:
    import llguidance
    import numpy as np
    from numpy.typing import NDArray

_KEPT, _KEPT_SIZE = 16, 512 * 1024
"""The number of compiled grammars that are kept for further requests, and of their characters, which take memory."""
_REFUSALS = (
    ("NoExtension", Refusal.NO_VALUE),
    ("Unsatisfiable schema", Refusal.NO_VALUE),
    ("oneOf constraints are not supported", Refusal.OVERLAPPING_BRANCHES),
    ("are not disjoint", Refusal.OVERLAPPING_NAMES),
    ("min/maxProperties only supported", Refusal.COUNTED_PROPERTIES),
    ("lookarounds not supported", Refusal.INNER_ANCHOR),
    ("regex parse error", Refusal.NO_EXPRESSION),
)
"""Words of llguidance in its errors, in the order in which they are looked for."""
_NEEDLESS = re.compile(
    r"^(failed to compile JSON schema: )?(Unsatisfiable schema: )?|^NoExtension.*|Regex is empty: .*"
)
"""Words that say no more than the refusal, and internals of llguidance."""
_MAX_REASON = 300
_AHEAD = 256
"""The characters of a demanded text that are encoded in a step: only its first token counts."""
_MARK = "\ufdd0"
"""A noncharacter of Unicode, after which a tokenizer puts no space."""
_POSITION = re.compile(r"at \d+\(\d+\): ")
_CANNOT_READ = "The tokenizer of the model cannot be used for a constraint"


class Matcher:
    """The state of one row in its grammar."""

    def __init__(self, matcher: llguidance.LLMatcher, ends: Collection[int]) -> None:
        """Take a copy of a compiled grammar, and the tokens that end a turn."""
        self._matcher = matcher
        self._ends = ends
        self._has_ended = False
        self.error: KnifeError | None = None
        """Why the row cannot go on."""

    def consume(self, token: int) -> None:
        """Take the next token of the answer. After an error, or the end of the turn, tokens are ignored."""
        if self.error is None and not self._has_ended:
            self._has_ended = token in self._ends
            self._matcher.consume_token(token)
            self._check()

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Return whether each token of a vocabulary of this size may come next."""
        import numpy as np  # noqa: PLC0415 - a request without a constraint does not need it

        if self.error is not None:
            return np.zeros(size, np.bool_)
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        allowed = np.unpackbits(bits, count=size, bitorder="little").view(np.bool_)
        if self.error is None and not allowed.any():
            msg = "No token of the model continues the answer in its form"
            self.error = ValidationError(msg)
        return allowed

    def copy(self) -> Matcher:
        """Return a matcher in the same state."""
        return Matcher(self._matcher.deep_copy(), self._ends)

    def _check(self) -> None:
        if self.error is None and self._matcher.is_error():
            self.error = _refused(self._matcher, Refusal.TOO_COMPLEX)


class Grammars:
    """The compiled grammars of one model. Several threads may use it."""

    def __init__(self, tokenizer: Tokenizer, ends: Collection[int], size: int, *, is_supported: bool = True) -> None:
        """Take the tokenizer, the tokens that end a turn, and the number of tokens.

        ``is_supported`` says whether an answer is the bytes of its tokens, one after the other.
        """
        self._tokenizer = tokenizer
        self._ends = frozenset(token for token in ends if 0 <= token < size)
        self._size = size
        self._is_supported = is_supported
        self._lock = threading.Lock()
        self._vocabulary: llguidance.LLTokenizer | None = None
        self._compiled: OrderedDict[str, Matcher] = OrderedDict()
        """The most recently used last."""

    @property
    def kept(self) -> int:
        """The number of compiled grammars that are kept."""
        return len(self._compiled)

    def compile(self, grammar: str, *, keep: bool = True) -> None:
        """See ``TextModel.compile_grammar``."""
        if keep:
            self._prototype(grammar)
        else:
            self._compile(grammar)

    def matcher(self, grammar: str) -> Matcher:
        """Return a matcher at the start of a grammar. Raises what ``compile`` raises."""
        return self._prototype(grammar).copy()

    def _prototype(self, grammar: str) -> Matcher:
        with self._lock:
            known = self._compiled.get(grammar)
            if known is not None:
                self._compiled.move_to_end(grammar)
                return known
        made = self._compile(grammar)
        with self._lock:
            self._compiled[grammar] = made
            while len(self._compiled) > 1 and self._is_full():
                self._compiled.popitem(last=False)
        return made

    def _is_full(self) -> bool:
        return len(self._compiled) > _KEPT or sum(map(len, self._compiled)) > _KEPT_SIZE

    def _compile(self, grammar: str) -> Matcher:
        """Return a matcher that has computed its first mask, which meets most limits."""
        import llguidance  # noqa: PLC0415 - a request without a constraint does not need it

        vocabulary = self._loaded()
        source = llguidance.LLMatcher.grammar_from_lark(grammar)
        compiled = llguidance.LLMatcher(vocabulary, source, log_level=0, limits=_limits())
        if compiled.is_error():
            raise _refused(compiled, Refusal.OTHER)
        matcher = Matcher(compiled, self._ends)
        matcher.allowed(self._size)
        if matcher.error is not None:
            raise matcher.error
        return matcher

    def _loaded(self) -> llguidance.LLTokenizer:
        """Return the tokens as llguidance needs them. It takes up to a second, once."""
        with self._lock:
            if self._vocabulary is None:
                if not self._is_supported or not self._ends:
                    msg = "The tokenizer of this model does not support constraints"
                    raise UnsupportedCapability(msg)
                with library_errors(_CANNOT_READ):
                    self._vocabulary = _vocabulary(self._tokenizer, self._ends, self._size)
            return self._vocabulary


class _Tokens:
    """What llguidance asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, ends: Collection[int], size: int) -> None:
        """Take what ``Grammars`` takes. Added tokens become special, except blanks: no text matches one."""
        self._tokenizer = tokenizer
        self.tokens = [tokenizer.token_bytes(token) for token in range(size)]
        self.eos_token_id = min(ends)
        added = tokenizer.added_tokens.items()
        control = {token for name, token in added if not name.isspace() and 0 <= token < size}
        self.special_token_ids = sorted(control.union(ends))

    def __call__(self, text: str | bytes) -> list[int]:
        """Return the tokens of a text that the grammar demands. It may stand anywhere, so no space comes before it."""
        plain = text if isinstance(text, str) else text.decode("utf-8", "ignore")
        plain = plain[:_AHEAD]
        data = plain.encode()
        for marked, mark in ((plain, ""), (_MARK + plain, _MARK)):
            tokens = self._tokenizer.encode(marked, add_special_tokens=False, mark=mark)
            if b"".join(self.tokens[token] for token in tokens) == data:
                return list(tokens)
        return self._longest(data)

    def _longest(self, data: bytes) -> list[int]:
        """Return the longest token at each place; a byte that no token has ends the text."""
        tokens = list[int]()
        while data:
            size = next((size for size in range(self._max_size, 0, -1) if data[:size] in self._numbers), 0)
            if not size:
                break
            tokens.append(self._numbers[data[:size]])
            data = data[size:]
        return tokens

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        special = set(self.special_token_ids)
        return {data: token for token, data in enumerate(self.tokens) if data and token not in special}

    @cached_property
    def _max_size(self) -> int:
        return max(map(len, self._numbers), default=0)


def _limits() -> llguidance.LLParserLimits:
    """Return the limits: a grammar beyond them fails when it is compiled, or in the step that exceeds them."""
    import llguidance  # noqa: PLC0415 - a request without a constraint does not need it

    return llguidance.LLParserLimits(
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=200_000,
        step_max_items=50_000,
        max_items_in_row=10_000,  # an object takes four for each optional property
        max_lexer_states=50_000,
        max_grammar_size=200_000,
        verbose_errors=False,
    )


def _vocabulary(tokenizer: Tokenizer, ends: Collection[int], size: int) -> llguidance.LLTokenizer:
    import llguidance  # noqa: PLC0415 - a request without a constraint does not need it

    tokens = llguidance.TokenizerWrapper(_Tokens(tokenizer, ends, size))
    return llguidance.LLTokenizer(tokens, n_vocab=size, eos_token=sorted(ends))


def _refused(matcher: llguidance.LLMatcher, otherwise: Refusal) -> GrammarRefused:
    """Return the error of a matcher; ``otherwise`` is the reason if its words say none."""
    said = _reason(matcher)
    refusal = next((refusal for words, refusal in _REFUSALS if words in said), otherwise)
    return GrammarRefused(refusal, _NEEDLESS.sub("", said))


def _reason(matcher: llguidance.LLMatcher) -> str:
    """Return the first line of an error, without its position in the grammar; the others show the grammar."""
    lines = [line.strip() for line in matcher.get_error().splitlines() if line.strip()]
    return _POSITION.sub("", lines[0])[:_MAX_REASON] if lines else "llguidance gives no reason"
