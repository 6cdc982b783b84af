"""The grammar of the answer that a constraint demands."""

from __future__ import annotations

import re

from mlxknife.domain.constraints.rules import patterns, schemas
from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.values import Constraint, ConstraintKind
from mlxknife.domain.errors import ValidationError

PLACE = "constraint"
"""The field of the options that errors name."""
_MAX_REGEX = 4_096
_MAX_GRAMMAR = 64 * 1024
_MAX_RULES = 1_000
"""The rules and brackets of a grammar: the compiler follows them by recursion, and some 2,000 overflow its stack."""
_MAX_TOGETHER = 12
"""The signs ``&`` and ``~`` of a grammar: each expression more that must match too takes twice the time."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_LARK = re.compile(
    r"""
    (?P<text> "(?:\\.|[^"\\\n])*"i? | /(?![/*])(?:\\.|[^/\\\n])+/[imslux]* | //[^\n]* )
    | (?P<import> %import\s+common\b )
    | (?P<ignore> %ignore\b )
    | (?P<other> [<@%"/{}] )
    | (?P<rule> [:(\[] )
    | (?P<together> [&~] )
    """,
    re.VERBOSE,
)
"""The parts of a Lark grammar that matter: what may contain any character, and what is refused outside of it."""


def body(builder: GrammarBuilder, constraint: Constraint) -> str:
    """Return an expression for the answers that fulfil a constraint.

    Raises ValidationError, naming the place in the constraint, for one that is not supported or exceeds a limit.
    """
    match constraint.kind:
        case ConstraintKind.JSON_SCHEMA:
            return builder.json(schemas.parse(constraint.text, PLACE))
        case ConstraintKind.JSON_OBJECT:
            return builder.json({"type": "object"})
        case ConstraintKind.REGEX:
            return _regex(builder, constraint.text)
        case ConstraintKind.CHOICE:
            return _choice(builder, constraint.choices)
        case ConstraintKind.GRAMMAR:
            return _lark(builder, constraint.text)


def _regex(builder: GrammarBuilder, pattern: str) -> str:
    _check_text("a regular expression", pattern, _MAX_REGEX)
    if not patterns.is_supported(pattern):
        msg = f"{PLACE} must be {patterns.SUPPORTED}"
        raise ValidationError(msg, param=PLACE)
    return builder.rule(builder.regex(pattern))


def _choice(builder: GrammarBuilder, choices: tuple[str, ...]) -> str:
    if not choices or len(choices) > schemas.MAX_CHOICES:
        msg = f"{PLACE} must have 1 to {schemas.MAX_CHOICES} choices, not {len(choices)}"
        raise ValidationError(msg, param=PLACE)
    if not all(isinstance(choice, str) and choice for choice in choices):
        msg = f"{PLACE} has a choice that is empty, or not a text"
        raise ValidationError(msg, param=PLACE)
    _check_text("choices", "".join(choices), schemas.MAX_TEXT)
    return builder.rule(" | ".join(map(builder.text, dict.fromkeys(choices))))


def _lark(builder: GrammarBuilder, source: str) -> str:
    """Return an expression for a grammar of the user, which has its own names for rules.

    It can't name tokens, so it can't write control tokens; it can't use rules outside of it or other languages.
    """
    _check_text("a grammar", source, _MAX_GRAMMAR)
    depth = rules = together = 0
    for part in _LARK.finditer(source):
        char = part["other"]
        rules += part["rule"] is not None
        together += part["together"] is not None
        depth += {"{": 1, "}": -1}.get(char or "", 0)
        if char is not None and (char not in "{}" or depth < 0):
            line = source.count("\n", 0, part.start()) + 1
            msg = f"{PLACE} has '{char}' in line {line}, which a grammar may use in texts and regular expressions only"
            raise ValidationError(msg, param=PLACE)
    for what, count, limit in (("rules and brackets", rules, _MAX_RULES), ("& and ~", together, _MAX_TOGETHER)):
        if count > limit:
            msg = f"{PLACE} has {count} {what}, and may have {limit}"
            raise ValidationError(msg, param=PLACE)
    if depth:
        msg = f"{PLACE} has a bracket that is not closed"
        raise ValidationError(msg, param=PLACE)
    return builder.rule(f"%lark {{\n{source}\n}}")


def _check_text(what: str, text: str, limit: int) -> None:
    if not text or len(text) > limit:
        msg = f"{PLACE} must be {what} of 1 to {limit} characters, not {len(text)}"
        raise ValidationError(msg, param=PLACE)
    if _SURROGATE.search(text):
        msg = f"{PLACE} has half a character: a lone surrogate"
        raise ValidationError(msg, param=PLACE)
