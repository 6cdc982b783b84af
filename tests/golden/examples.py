"""The examples of seed 2, copied into ``seed2/``, and the fields that our documents add to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

HERE = Path(__file__).parent
SCHEMA = HERE.parents[1] / "docs" / "json-api.schema.json"

ADDITIVE = frozenset(
    {
        "integrity", "quantization", "context_length", "origin",  # of a model; integrity of a health entry, too
        "size_bytes",  # of a file
        "display_name", "managed", "system",  # of a workspace, of a health entry, of the list
        "hint", "suggestions", "available_hashes",  # of an error
        "vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers", "architecture",  # of metadata
    }
)  # fmt: skip


def example(name: str) -> dict[str, Any]:
    """Return an example of the seed."""
    value = json.loads((HERE / "seed2" / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def validator() -> Draft202012Validator:
    """Return a validator of the schema in docs/."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def differences(expected: object, answer: object, place: str = "$") -> list[str]:
    """Return the places where a document is not the example plus additive fields."""
    if isinstance(expected, dict) and isinstance(answer, dict):
        missing = [f"{place}.{key} is missing" for key in expected if key not in answer]
        added = [f"{place}.{key} is new" for key in answer if key not in expected and key not in ADDITIVE]
        shared = [key for key in expected if key in answer]
        inside = [found for key in shared for found in differences(expected[key], answer[key], f"{place}.{key}")]
        return missing + added + inside
    if isinstance(expected, list) and isinstance(answer, list) and len(expected) == len(answer):
        pairs = zip(_in_order(expected), _in_order(answer), strict=True)
        return [
            found
            for number, (one, other) in enumerate(pairs)
            for found in differences(one, other, f"{place}[{number}]")
        ]
    same = type(expected) is type(answer) and expected == answer
    return [] if same else [f"{place}: the seed has {expected!r}, the answer {answer!r}"]


def _in_order(items: list[Any]) -> list[Any]:
    """Sort named objects, because the seed promises no order of models and files."""
    return sorted(items, key=lambda item: item["name"] if isinstance(item, dict) else "")
