"""The form of an answer that ``run`` demands: a JSON schema, any JSON object, a regular expression, or choices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import msgspec

from mlxknife.cli import prompt_input
from mlxknife.domain.constraints.rules import bodies
from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.values import Constraint, ConstraintKind
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.answer import FinishReason, GenerationResult
from mlxknife.domain.hints import Hint


@attrs.frozen
class AnswerForm:
    """A form, and the option that demands it."""

    option: str
    constraint: Constraint

    @property
    def is_json(self) -> bool:
        """Whether an answer is one JSON document."""
        return self.constraint.kind in (ConstraintKind.JSON_SCHEMA, ConstraintKind.JSON_OBJECT)

    def is_complete(self, result: GenerationResult) -> bool:
        """Return whether an answer ended by itself, and has the form as far as that can be seen."""
        if result.finish_reason is not FinishReason.STOP:
            return False
        if self.is_json:
            return self.document(result) is not None
        return not self.constraint.choices or result.answer in self.constraint.choices

    def document(self, result: GenerationResult) -> msgspec.Raw | None:
        """Return an answer as the JSON document that it is; None if it is none, or need not be one."""
        try:
            return msgspec.json.decode(result.answer, type=msgspec.Raw) if self.is_json else None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None

    def incomplete(self, note: str | None) -> EngineError:
        """Return the error for an answer that is not complete; ``note`` says what cut it."""
        what = f"the answer does not have the form of {self.option}"
        return EngineError(f"{note}: {what}" if note else f"{what[0].upper()}{what[1:]}")


def answer_form(
    schema: str | None, *, json_object: bool, regex: str | None, choice: tuple[str, ...] | None
) -> AnswerForm | None:
    """Return the form that one of the options demands, or None.

    Raises ValidationError for a form that is not supported; OSError for a file that cannot be read.
    """
    if schema is not None:
        form = AnswerForm("--schema", Constraint.json_schema(_schema(schema)))
    elif json_object:
        form = AnswerForm("--json-object", Constraint.json_object())
    elif regex is not None:
        form = AnswerForm("--regex", Constraint.regex(regex))
    elif choice is not None:
        form = AnswerForm("--choice", Constraint.choice(*choice))
    else:
        return None
    with named_by_option(form):
        bodies.body(GrammarBuilder({}), form.constraint)  # what it refuses needs no model to be loaded
    return form


@contextmanager
def named_by_option(form: AnswerForm | None) -> Iterator[None]:
    """Name the option in place of the field in errors on the form."""
    try:
        yield
    except ValidationError as exc:
        if form is None or (exc.param or "").partition(".")[0] != bodies.PLACE:
            raise
        is_named = exc.message.startswith(bodies.PLACE)
        message = form.option + (exc.message.removeprefix(bodies.PLACE) if is_named else f": {exc.message}")
        raise ValidationError(message, hint=_renamed(exc.hint, form.option), param=exc.param) from exc


def _renamed(hint: Hint | None, option: str) -> Hint | None:
    if hint is None:
        return None
    return Hint(hint.code, **{name: option if value == bodies.PLACE else value for name, value in hint.fields.items()})


def _schema(text: str) -> str:
    """Return a JSON schema that is given as JSON or as the name of a file."""
    if not text.strip():
        msg = "--schema is empty"
        raise ValidationError(msg)
    if text.lstrip().startswith(("{", "[")):
        return prompt_input.checked_utf8(text, "--schema")
    schema = prompt_input.read_file(text)
    try:
        msgspec.json.decode(schema.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        msg = f"{text} is not valid JSON: {exc}"
        raise ValidationError(msg) from exc
    return schema
