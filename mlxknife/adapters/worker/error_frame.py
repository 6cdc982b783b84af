"""Errors of the contract as a part of messages."""

from __future__ import annotations

from msgspec import Struct

from mlxknife.adapters.worker.sendable import clean
from mlxknife.domain.errors import EngineError, KnifeError
from mlxknife.domain.hints import Hint, HintCode


class ErrorFrame(Struct, array_like=True, frozen=True):
    """An error of the contract."""

    code: str
    message: str
    hint: HintCode | None
    hint_fields: dict[str, str]
    param: str | None
    retry_after: float | None

    @classmethod
    def of(cls, error: KnifeError) -> ErrorFrame:
        """Encode an error."""
        hint = error.hint
        fields = {} if hint is None else {name: clean(text) for name, text in hint.fields.items()}
        code = None if hint is None else hint.code
        return cls(error.code, clean(error.message), code, fields, error.param, error.retry_after)

    def error(self) -> KnifeError:
        """Return the error, of the class that its code belongs to."""
        kind = _KINDS.get(self.code, EngineError)
        error = kind.__new__(kind)  # some classes ask for more than a message
        hint = None if self.hint is None else Hint(self.hint, **self.hint_fields)
        KnifeError.__init__(error, self.message, hint=hint, param=self.param, retry_after=self.retry_after)
        return error


def _kinds() -> dict[str, type[KnifeError]]:
    """Return the most general class of each code."""
    found: dict[str, type[KnifeError]] = {}
    kinds: list[type[KnifeError]] = [KnifeError]
    for kind in kinds:
        found.setdefault(kind.code, kind)
        kinds += kind.__subclasses__()
    return found


_KINDS = _kinds()
