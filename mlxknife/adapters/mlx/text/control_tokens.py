"""Control tokens in what a user writes: their names are found, broken by a mark, and encoded as text.

A chat template joins its own control tokens with the texts of messages, and an encoder finds the names of both. So the
names in messages are broken by a mark before the template is rendered. The encoder drops the mark, and never merges
across it: no name is whole for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from mlxknife.adapters.mlx.text.chat_format import ENDS_OF_TURN
from mlxknife.domain.errors import ValidationError

if TYPE_CHECKING:
    import tokenizers


_TURN = re.compile(r"<\|.*\|>|<\uff5c.*\uff5c>")
"""The form of a name that always structures a prompt, even if the tokenizer does not declare it as special."""
_MARKUP = re.compile(r"<\S+>|\[/?[A-Z_]+\]")
"""The form of a name that a template may use like a control token, such as ``<tool_call>``."""
_TOOL_MARKUP = frozenset(f"<{sign}{name}>" for name in ("tools", "tool_call", "tool_response") for sign in ("", "/"))
"""The markup of calls with a template that has none."""
_GROUP = 3
"""The number of characters by which names are grouped in a pattern."""
_MAX_MARKS = 2**16


class Encode(Protocol):
    """Encodes a text without marks, as ``Tokenizer.encode`` does."""

    def __call__(self, text: str, /, *, add_special_tokens: bool) -> tuple[int, ...]:
        """Return the tokens."""
        ...


class ControlTokens:
    """The names of a model's control tokens."""

    def __init__(self, special: Collection[str], others: Iterable[str], template: str) -> None:
        """Take the names of special tokens, and of others, which count if prompts use them as markup."""
        others = frozenset(others)
        structural = {name for name in others if name in ENDS_OF_TURN or _TURN.fullmatch(name)}
        turns = {name for name in (*special, *structural) if len(name) > 1 and not name.isspace()}
        markup = {name for name in others if _MARKUP.fullmatch(name) and (name in template or name in _TOOL_MARKUP)}
        self._in_answers = _pattern(turns)
        self._anywhere = _pattern(turns | markup)

    def marked(self, text: str, mark: str, *, is_answer: bool) -> str:
        """See ``Tokenizer.mark_control_tokens``."""
        pattern = self._in_answers if is_answer else self._anywhere
        if pattern is None:
            return text
        count, found = 0, 1
        while found:  # a broken name may reveal one that overlaps it
            text, found = pattern.subn(lambda name: f"{name[0][0]}{mark}{name[0][1:]}", text)
            count += found
            if count > _MAX_MARKS:
                msg = f"The messages contain more than {_MAX_MARKS} names of control tokens"
                raise ValidationError(msg, param="messages")
        return text


class TextInTheMiddle:
    """Encodes what follows a mark as if it followed text: no space comes before it."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """Take the tokenizer of a model."""
        self._backend = backend
        self._continuing = _continuing(backend)
        self._added = _pattern({token.content for token in backend.get_added_tokens_decoder().values()} - {""})

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text, which may contain added tokens. Raises what the library raises."""
        found = None if self._added is None else self._added.search(text)
        cut = len(text) if found is None else found.start()
        head = self._continuing.encode(text[:cut], add_special_tokens=False).ids
        tail = self._backend.encode(text[cut:], add_special_tokens=False).ids if cut < len(text) else ()
        return (*head, *tail)


def encoded(
    text: str, mark: str, encode: Encode, encode_rest: Callable[[str], tuple[int, ...]], *, add_special_tokens: bool
) -> tuple[int, ...]:
    """Return the tokens of a marked text; ``encode_rest`` encodes what follows a mark."""
    first, *others = text.split(mark)
    plain = encode(first, add_special_tokens=False)
    tokens = list(plain)
    for part in others:
        tokens += encode_rest(part)
    special = encode(first, add_special_tokens=True) if add_special_tokens else plain
    return _surrounded(tuple(tokens), plain, special)


def _surrounded(tokens: tuple[int, ...], plain: tuple[int, ...], special: tuple[int, ...]) -> tuple[int, ...]:
    """Return tokens between those that ``special`` has around ``plain``."""
    for start in range(len(special) - len(plain) + 1):
        end = start + len(plain)
        if special[start:end] == plain:
            return (*special[:start], *tokens, *special[end:])
    return tokens


def _continuing(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return a tokenizer with the same model, without added tokens, that puts nothing before a text."""
    from tokenizers import Tokenizer, models  # noqa: PLC0415 - few requests need it

    parts = {name: getattr(backend, name) for name in ("normalizer", "pre_tokenizer")}
    states = {name: None if part is None else json.loads(part.__getstate__()) for name, part in parts.items()}
    empty = json.loads(Tokenizer(models.BPE()).to_str())
    changed = Tokenizer.from_str(json.dumps(empty | {name: _without_prefix(state) for name, state in states.items()}))
    made = Tokenizer(backend.model)
    if changed.normalizer is not None:
        made.normalizer = changed.normalizer
    if changed.pre_tokenizer is not None:
        made.pre_tokenizer = changed.pre_tokenizer
    return made


def _without_prefix(rule: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a normalizer or pre-tokenizer that puts nothing before a text."""
    match rule:
        case None | {"type": "Prepend"}:
            return None
        case {"type": "Metaspace"}:
            return rule | {"prepend_scheme": "never"}
        case {"type": "ByteLevel"}:
            return rule | {"add_prefix_space": False}
    for name in ("normalizers", "pretokenizers"):
        if name in rule:
            return rule | {name: [one for one in map(_without_prefix, rule[name]) if one is not None]}
    return rule


def _pattern(names: Collection[str]) -> re.Pattern[str] | None:
    """Return a pattern for any of the names; those that begin alike are tried together, as models have a thousand."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names, key=len, reverse=True):
        groups.setdefault(name[:_GROUP], []).append(re.escape(name[_GROUP:]))
    choices = [f"{re.escape(begin)}(?:{'|'.join(rests)})" for begin, rests in groups.items()]
    return re.compile("|".join(choices)) if choices else None
