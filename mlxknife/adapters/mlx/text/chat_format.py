"""The chat format of a model: its chat template, and the tokens that end a turn."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

ENDS_OF_TURN = frozenset(
    "<|im_end|> <|eot_id|> <|eom_id|> <|end|> <end_of_turn> <|end_of_text|> <|endoftext|> <|return|> <|call|> "
    "<|eot|> <|turn_end|> <|END_OF_TURN_TOKEN|> <\uff5cend\u2581of\u2581sentence\uff5c> </s> <turn|>".split()
)
"""Tokens that end a turn in some family; one counts if the chat template of the model contains it."""
_CHANNELS = ("<|channel|>", "<|message|>", "<|start|>")
"""The markers of gpt-oss, where a turn has several messages."""
_END_OF_MESSAGE = "<|end|>"
_TEMPLATE_FILE, _TEMPLATE_JSON = "chat_template.jinja", "chat_template.json"


def chat_template(path: Path, loaded: object) -> str | None:
    """Return the chat template of a folder, or None.

    ``loaded`` is what transformers found, which does not read ``chat_template.json``.
    """
    if not (path / _TEMPLATE_FILE).exists():
        loaded = _in_json(path / _TEMPLATE_JSON) or loaded
    if isinstance(loaded, list):
        loaded = {one.get("name"): one.get("template") for one in loaded if isinstance(one, Mapping)}
    if isinstance(loaded, Mapping):
        loaded = loaded.get("default")
    return loaded if isinstance(loaded, str) else None


def ends_of_turn(vocabulary: Mapping[str, int], template: str, declared: Iterable[int]) -> frozenset[int]:
    """Return every token that ends a turn: those that the model declares, and those in its chat template."""
    used = (vocabulary[text] for text in _turn_ends(vocabulary) if text in vocabulary and text in template)
    return frozenset((*declared, *used))


def _turn_ends(vocabulary: Collection[str]) -> frozenset[str]:
    has_channels = all(marker in vocabulary for marker in _CHANNELS)
    return ENDS_OF_TURN - {_END_OF_MESSAGE} if has_channels else ENDS_OF_TURN


def _in_json(path: Path) -> object:
    """Return the template of a processor's JSON file; None if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("chat_template") if isinstance(content, dict) else None
