"""Model cards: the few facts of the YAML front matter that the catalog asks for.

Read without a YAML library on purpose: cards are written by strangers, a full loader costs more to import than a
whole ``list`` takes, and only plain scalars and flat lists are of interest. Anything else is left unread.
"""

from __future__ import annotations

from mlxknife.domain.model.info import Card

_FENCE = "---"


def parse(text: str) -> Card:
    """Read the front matter of a card; an absent or odd one gives an empty card."""
    fields = _fields(text.lstrip("\ufeff").splitlines())
    return Card(
        library=_first(fields, "library_name"),
        tags=tuple(fields.get("tags", ())),
        license=_first(fields, "license_name") or _first(fields, "license"),
        base_models=tuple(fields.get("base_model", ())),
    )


def _first(fields: dict[str, list[str]], key: str) -> str | None:
    return next(iter(fields.get(key, ())), None)


def _fields(lines: list[str]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    if not lines or lines[0].rstrip() != _FENCE:
        return fields
    current: list[str] = []
    for line in lines[1:]:
        if line.rstrip() in (_FENCE, "..."):
            return fields
        stripped = line.strip()
        if stripped.startswith("- "):
            current.extend(_scalars(stripped[2:]))
        elif stripped and not line[0].isspace() and not stripped.startswith("#"):
            key, colon, value = stripped.partition(":")
            current = []
            if colon and (not value or value[0].isspace()):
                current = fields.setdefault(key.strip(), [])
                current.extend(_scalars(value))
    return {}


def _scalars(value: str) -> list[str]:
    value = value.strip()
    if value.startswith("[") and value.endswith("]"):
        return [scalar for part in value[1:-1].split(",") for scalar in _scalars(part)]
    if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
        return [value[1:-1]]
    value = value.partition(" #")[0].rstrip()
    return [value] if value and value[0] not in "|>{&*!" and value not in ("null", "~") else []
