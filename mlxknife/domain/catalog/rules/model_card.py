"""Model cards: the few fields of the YAML front matter that the catalog uses.

The parser is not a YAML library on purpose: cards are untrusted, a full loader takes longer to import than a whole
``list``, and only plain scalars and flat lists matter. Everything else is skipped.
"""

from __future__ import annotations

from mlxknife.domain.models.values.info import ModelCard

_FENCE = "---"


def parse(text: str) -> ModelCard:
    """Return the front matter of a card; an empty card where it is missing or malformed."""
    fields = _fields(text.lstrip("\ufeff").splitlines())
    return ModelCard(
        library_name=_first(fields, "library_name"),
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
    if value.startswith("["):
        inside, closed, rest = value[1:].rpartition("]")
        plain = closed and (not rest.strip() or rest.lstrip().startswith("#"))
        return [scalar for part in inside.split(",") for scalar in _scalar(part.strip())] if plain else []
    return _scalar(value)


def _scalar(value: str) -> list[str]:
    if value[:1] in ("'", '"'):
        inside, _, rest = value[1:].partition(value[0])
        return [inside] if value.count(value[0]) > 1 and not rest.partition("#")[0].strip() else []
    value = value.partition(" #")[0].rstrip()
    return [value] if value and value[0] not in "|>{&*![" and value not in ("null", "~") else []
