"""A constraint: the form that an answer must have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Self

import attrs

from mlxknife.domain import reprs


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
