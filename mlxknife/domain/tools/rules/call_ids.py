"""Ids of tool calls as the chat templates of some families demand them."""

from __future__ import annotations

import re
from hashlib import sha256

from mlxknife.domain.tools.rules.families import ToolFamily

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 9
_MISTRAL_ID = re.compile(rf"[a-zA-Z0-9]{{{_LENGTH}}}")


class CallIds:
    """The ids of the calls of one conversation, in their order."""

    def __init__(self, family: ToolFamily) -> None:
        """Take the family of the model."""
        self._family = family
        self._ids = dict[str, str]()
        self._count = 0

    def call(self, call_id: str, name: str) -> str:
        """Return the id of the next call."""
        if self._family is ToolFamily.KIMI:
            self._ids[call_id] = f"functions.{name}:{self._count}"
            self._count += 1
        return self.result(call_id)

    def result(self, call_id: str) -> str:
        """Return the id of a result: that of the call which it answers."""
        if self._family in (ToolFamily.MISTRAL, ToolFamily.MISTRAL_ARGS):
            return _nine_characters(call_id)
        return self._ids.get(call_id, call_id)


def _nine_characters(call_id: str) -> str:
    """Return nine letters and digits, always the same ones for an id; one that has this form stays."""
    if _MISTRAL_ID.fullmatch(call_id):
        return call_id
    number = int.from_bytes(sha256(call_id.encode("utf-8", "surrogatepass")).digest())
    digits = list[str]()
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(digits)
