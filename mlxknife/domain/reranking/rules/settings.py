"""What the files of a reranker say."""

from __future__ import annotations

from collections.abc import Mapping

from mlxknife.domain.encoders.rules import rerankers
from mlxknife.domain.encoders.rules.modules import json_object
from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.reranking.values import RerankerSettings

DOCUMENTS = (filenames.CONFIG, filenames.TOKENIZER_CONFIG)
"""The JSON files that the settings come from."""
_MAX_TOKENS = 32_768
"""The longest pair of all models: the attention of a longer one takes hours on a CPU."""


def read(documents: Mapping[str, object]) -> RerankerSettings:
    """Return the settings from the JSON files of a model by name. Raises ModelNotRunnable."""
    config, tokenizer = (json_object(documents, name) for name in DOCUMENTS)
    found = rerankers.read(config)
    declared = configs.count(tokenizer, "model_max_length") or _MAX_TOKENS
    return RerankerSettings(found, min(declared, found.encoder.max_tokens, _MAX_TOKENS))
