"""The chat format of a model: its chat template, and the tokens that end a turn."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from mlxknife.domain.models.values.chat_templates import JSON_HOMES, TEXT_HOMES, ChatTemplateFiles

ENDS_OF_TURN = frozenset(
    "<|im_end|> <|eot_id|> <|eom_id|> <|end|> <end_of_turn> <|end_of_text|> <|endoftext|> <|return|> <|call|> "
    "<|eot|> <|turn_end|> <|END_OF_TURN_TOKEN|> <\uff5cend\u2581of\u2581sentence\uff5c> </s> <turn|>".split()
)
"""Tokens that end a turn in some family; one counts if the chat template of the model contains it."""
_CHANNELS = ("<|channel|>", "<|message|>", "<|start|>")
"""The markers of gpt-oss, where a turn has several messages."""
_END_OF_MESSAGE = "<|end|>"


def chat_template(path: Path) -> str | None:
    """Return the template for chats of a folder, or None. Raises OSError or UnicodeDecodeError for one of its files."""
    texts = (name for name in TEXT_HOMES if (path / name).is_file() and (path / name).stat().st_size)
    files = ChatTemplateFiles(frozenset(texts), {name: _config(path / name) for name in JSON_HOMES})
    home = files.home
    if home is None or home in JSON_HOMES:
        return None if home is None else files.declared_in(home)
    return (path / home).read_text(encoding="utf-8")


def tool_parser(path: Path) -> object:
    """Return the name of the tool parser that a folder declares, as it is; None if there is none."""
    return _config(path / "tokenizer_config.json").get("tool_parser_type")


def ends_of_turn(vocabulary: Mapping[str, int], template: str, declared: Iterable[int]) -> frozenset[int]:
    """Return every token that ends a turn: those that the model declares, and those in its chat template."""
    used = (vocabulary[text] for text in _turn_ends(vocabulary) if text in vocabulary and text in template)
    return frozenset((*declared, *used))


def _turn_ends(vocabulary: Collection[str]) -> frozenset[str]:
    has_channels = all(marker in vocabulary for marker in _CHANNELS)
    return ENDS_OF_TURN - {_END_OF_MESSAGE} if has_channels else ENDS_OF_TURN


def _config(path: Path) -> Mapping[str, object]:
    """Return the object in a JSON file; an empty one where it has none that can be decoded."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
