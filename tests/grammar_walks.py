"""Random answers under a grammar: what a model could write that knows nothing but the grammar."""

from __future__ import annotations

from functools import cache
from random import Random

from mlxknife.adapters.mlx.text.grammars import Grammars
from tests.fakes.tokenizer import FakeTokenizer

SPECIAL = (
    *("<eos>", "<think>", "</think>", "<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>"),
    *("<|END_RESPONSE|>", "<|channel>", "<channel|>"),
)
CHANNELS = ("<eos>", "<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|constrain|>")
_BYTES = 256
_LIKELY = '"}],: 0'
"""Without a preference for these, a random text in a string would rarely end."""


@cache
def tokenizer_of(special: tuple[str, ...] = SPECIAL) -> FakeTokenizer:
    """Return a tokenizer whose first special token ends the turn."""
    return FakeTokenizer(special)


@cache
def grammars_of(special: tuple[str, ...] = SPECIAL) -> Grammars:
    return Grammars(tokenizer_of(special), {_BYTES}, _BYTES + len(special))


def walk(
    grammar: str, seed: int, limit: int = 300, special: tuple[str, ...] = SPECIAL, likely: str = _LIKELY
) -> str | None:
    """Return a random text that the grammar accepts as a whole, or None if the walk is longer than the limit."""
    random, matcher, tokens = Random(seed), grammars_of(special).matcher(grammar), list[int]()
    usual = {*map(ord, likely), *range(_BYTES, _BYTES + len(special))}
    for step in range(limit):
        allowed = matcher.allowed(_BYTES + len(special)).nonzero()[0].tolist()
        if matcher.error is not None:
            raise matcher.error
        preferred = [token for token in allowed if token in usual]
        is_late = step > limit // 2
        choices = preferred if preferred and random.random() < (0.9 if is_late else 0.3) else allowed
        token = random.choice(choices)
        if token == _BYTES:
            return _text(tokens, special)
        tokens.append(token)
        matcher.consume(token)
    return None


def accepts(grammar: str, text: str, special: tuple[str, ...] = SPECIAL) -> bool:
    """Whether a text is an answer under a grammar; special tokens in it are tokens."""
    matcher = grammars_of(special).matcher(grammar)
    for token in tokenizer_of(special).encode(text, add_special_tokens=False):
        if not matcher.allowed(_BYTES + len(special))[token]:
            return False
        matcher.consume(token)
    return bool(matcher.allowed(_BYTES + len(special))[_BYTES])


def _text(tokens: list[int], special: tuple[str, ...]) -> str:
    return b"".join(map(tokenizer_of(special).token_bytes, tokens)).decode()
