"""Chat templates: the files that may hold the template for chats, and the one that does.

The homes are those that transformers reads. A template with another name than ``default``, such as ``tool_use``, is
not the template for chats.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.domain.models.values.snapshot import JsonObject

TEMPLATE_FILE = "chat_template.jinja"
TEMPLATE_JSON = "chat_template.json"
TEXT_HOMES = (TEMPLATE_FILE, "additional_chat_templates/default.jinja")
"""Files that are a template as a whole; the first that is not empty wins over all other homes."""
JSON_HOMES = (TEMPLATE_JSON, "processor_config.json", "tokenizer_config.json")
"""Configs that may hold one under ``chat_template``, in the order in which they count."""
_DEFAULT = "default"


@attrs.frozen
class ChatTemplateFiles:
    """What a model has of the files that may hold its chat template."""

    texts: frozenset[str]
    """The files of ``TEXT_HOMES`` that are not empty."""
    configs: Mapping[str, JsonObject]
    """The objects in the files of ``JSON_HOMES``."""

    @property
    def home(self) -> str | None:
        """The file that holds the template for chats, or None."""
        found = (name for name in TEXT_HOMES if name in self.texts)
        declared = (name for name in JSON_HOMES if self.declared_in(name) is not None)
        return next(found, None) or next(declared, None)

    def declared_in(self, name: str) -> str | None:
        """Return the template for chats in a config: its only template, or the one named ``default``."""
        value = self.configs.get(name, {}).get("chat_template")
        if isinstance(value, list | tuple):
            named = (one for one in value if isinstance(one, Mapping))
            value = {one.get("name"): one.get("template") for one in named if isinstance(one.get("name"), str)}
        if isinstance(value, Mapping):
            value = value.get(_DEFAULT)
        return value if isinstance(value, str) and value else None
