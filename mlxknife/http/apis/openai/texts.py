"""The texts of a body, each a string or its token ids."""

from __future__ import annotations

from typing import TypeAlias, cast

from mlxknife.http.apis.openai.bodies import MAX_TOKEN_ID, TokenIds
from mlxknife.http.core.errors import BadRequest

Texts: TypeAlias = str | list[str | int | TokenIds]


def text_count(given: Texts) -> int:
    """Return how many texts a field has; a list of numbers is one text."""
    return 1 if isinstance(given, str) or isinstance(given[0], int) else len(given)


def texts(given: Texts, field: str) -> tuple[str | tuple[int, ...], ...]:
    """Return the texts of a field. Raises BadRequest, naming the one that is wrong."""
    if isinstance(given, str):
        return (_non_empty(given, field),)
    if isinstance(given[0], int):
        return (_token_ids(given, field),)
    found: list[str | tuple[int, ...]] = []
    for index, one in enumerate(given):
        place = f"{field}[{index}]"
        if type(one) is not type(given[0]):
            msg = f"{place}: the entries of {field} have different types"
            raise BadRequest(msg, param=place, hint="Send only texts, or only token ids")
        found.append(_token_ids(one, place) if isinstance(one, list) else _non_empty(str(one), place))
    return tuple(found)


def _token_ids(given: list[str | int | TokenIds] | TokenIds, place: str) -> tuple[int, ...]:
    """Check all token ids with C speed: a loop over millions of them would block the event loop."""
    if not given:
        msg = f"{place} is empty"
        raise BadRequest(msg, param=place)
    if set(map(type, given)) != {int} or not 0 <= min(given) <= max(given) <= MAX_TOKEN_ID:  # type: ignore[operator] # all are numbers
        wrong = next((at for at, one in enumerate(given) if type(one) is not int or not 0 <= one <= MAX_TOKEN_ID), 0)
        msg = f"{place}[{wrong}] is not a token id"
        raise BadRequest(msg, param=f"{place}[{wrong}]")
    return tuple(cast("TokenIds", given))


def _non_empty(text: str, place: str) -> str:
    if not text:
        msg = f"{place} is empty"
        raise BadRequest(msg, param=place)
    return text
