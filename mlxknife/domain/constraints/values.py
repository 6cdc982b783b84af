"""A constraint: the form that an answer must have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Self

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.errors import ValidationError


class ConstraintKind(Enum):
    """The kinds of form."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    REGEX = "regex"
    CHOICE = "choice"
    GRAMMAR = "grammar"


@attrs.frozen
class Constraint:
    """The form of a whole answer. The reasoning of a model comes before it and is free."""

    kind: ConstraintKind
    text: str = ""
    """A JSON schema as JSON, a regular expression, or a Lark grammar."""
    choices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return the kind with its text or choices."""
        return reprs.call(self, **{self.kind.value: self.choices or self.text})

    @classmethod
    def json_schema(cls, schema: str | Mapping[str, object]) -> Self:
        """Demand a JSON document that is valid under a schema, which is given as JSON or as an object."""
        return cls(ConstraintKind.JSON_SCHEMA, schema if isinstance(schema, str) else json.dumps(schema))

    @classmethod
    def json_object(cls) -> Self:
        """Demand a JSON object."""
        return cls(ConstraintKind.JSON_OBJECT)

    @classmethod
    def regex(cls, pattern: str) -> Self:
        """Demand a text that a regular expression matches as a whole."""
        return cls(ConstraintKind.REGEX, pattern)

    @classmethod
    def choice(cls, *choices: str) -> Self:
        """Demand one of several texts."""
        return cls(ConstraintKind.CHOICE, choices=choices)

    @classmethod
    def grammar(cls, source: str) -> Self:
        """Demand a text of a Lark grammar whose first rule is ``start``."""
        return cls(ConstraintKind.GRAMMAR, source)


class Refusal(Enum):
    """Why a grammar cannot be compiled, as a sentence about a keyword or a schema continues."""

    NO_VALUE = "allows no value"
    OVERLAPPING_BRANCHES = "has branches that one value may fulfil together; use anyOf"
    OVERLAPPING_NAMES = "has expressions that one name may match together"
    COUNTED_PROPERTIES = "cannot be held beside properties that are not required"
    INNER_ANCHOR = "has ^ or $ inside of the expression"
    NO_EXPRESSION = "is not a regular expression"
    TOO_COMPLEX = "is too complex"
    OTHER = "cannot be compiled"


class GrammarRefused(ValidationError):
    """A grammar cannot be compiled."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        """Take the reason, and what the compiler says about it."""
        is_of_the_whole = refusal in (Refusal.NO_VALUE, Refusal.TOO_COMPLEX)
        said = refusal if is_of_the_whole else Refusal.OTHER
        super().__init__(f"The form of the answer {said.value}{detail and f': {detail}'}")
        self.refusal = refusal
        self.detail = detail

    def at(self, path: str) -> ValidationError:
        """Return the error for the keyword or the schema that is refused."""
        said = self.detail if self.refusal in (Refusal.NO_VALUE, Refusal.OTHER, Refusal.TOO_COMPLEX) else ""
        return ValidationError(f"{path} {self.refusal.value}{said and f': {said}'}", param=path)
