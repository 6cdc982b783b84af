"""What the files of sentence-transformers say about a model: its prompts, its longest text, its dimensions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mlxknife.domain.embedding.values import Dimensions, EmbeddingRequest, EmbeddingSettings
from mlxknife.domain.encoders.rules import modules
from mlxknife.domain.encoders.values import EmbedderConfig, Family
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.models.rules import configs, filenames

DOCUMENTS = (
    filenames.CONFIG,
    filenames.TOKENIZER_CONFIG,
    filenames.MODULES,
    filenames.PROMPTS,
    filenames.SENTENCE,
    filenames.POOLING,
    *(f"{folder}/{filenames.CONFIG}" for folder in filenames.DENSE_FOLDERS),
)
"""The JSON files that the settings come from."""
_DOCUMENT_PROMPTS = ("document", "passage")
_QUERY_PROMPT = "query"
_MAX_PROMPT = 10_000
_MAX_TOKENS = 32_768
"""The longest text of all models: the attention of a longer one takes hours on a CPU."""
_MATRYOSHKA_TAG = re.compile(r"^\s*-\s*[\"']?(?:loss:)?matryoshka", re.IGNORECASE | re.MULTILINE)
"""A tag of the model card, such as ``loss:MatryoshkaLoss``, which sentence-transformers writes."""
_MATRYOSHKA_FAMILIES = (Family.QWEN3, Family.GEMMA3)
"""Their embedding models are trained for shorter vectors, which no file but their card's text says."""


def read(documents: Mapping[str, object], card: str = "") -> EmbeddingSettings:
    """Return the settings from the JSON files of a model by name, and the header of its card.

    Raises ModelNotRunnable.
    """
    model = modules.read(documents)
    prompts, sentence = (modules.json_object(documents, name) for name in (filenames.PROMPTS, filenames.SENTENCE))
    found, default = prompts.get("prompts"), prompts.get("default_prompt_name")
    texts = found if isinstance(found, Mapping) else {}
    return EmbeddingSettings(
        model,
        _dimensions(model, modules.json_object(documents, filenames.CONFIG), card),
        _max_tokens(documents, sentence, model),
        {str(name): text for name, text in texts.items() if isinstance(text, str) and len(text) <= _MAX_PROMPT},
        default if isinstance(default, str) else None,
        sentence.get("do_lower_case") is True,
    )


def prompt(settings: EmbeddingSettings, request: EmbeddingRequest) -> str:
    """Return the text that goes before each text of a request."""
    if request.instruction is not None:
        return f"Instruct: {request.instruction}\nQuery:"
    if request.is_query:
        return settings.prompts.get(_QUERY_PROMPT, "")
    names = (settings.default_prompt, *_DOCUMENT_PROMPTS)
    return next((settings.prompts[name] for name in names if name is not None and name in settings.prompts), "")


def dimensions(settings: EmbeddingSettings, request: EmbeddingRequest) -> int:
    """Return the length of the vectors of a request. Raises ValidationError for one that the model is not made for."""
    allowed, wanted = settings.dimensions, request.dimensions
    if wanted is None or wanted == allowed.full:
        return allowed.full
    if allowed.shorter is None:
        if 0 < wanted < allowed.full:
            return wanted
        known = f"1 to {allowed.full}"
    elif wanted in allowed.shorter:
        return wanted
    else:
        known = ", ".join(map(str, sorted({*allowed.shorter, allowed.full})))
    msg = f"The embeddings of this model cannot have {wanted} dimensions; it makes {known}"
    raise ValidationError(msg, param="dimensions")


def _dimensions(model: EmbedderConfig, config: Mapping[str, object], card: str) -> Dimensions:
    """Return the lengths that config.json names; any shorter one where it, the card or the family allows it."""
    full = model.dimensions
    named = config.get("matryoshka_dimensions")
    if isinstance(named, list | tuple) and named:
        sizes = (configs.positive_int(one) or 0 for one in named)
        return Dimensions(full, frozenset(one for one in sizes if 0 < one < full))
    is_matryoshka = config.get("is_matryoshka") is True or _MATRYOSHKA_TAG.search(card) is not None
    return Dimensions(full, None if is_matryoshka or model.encoder.family in _MATRYOSHKA_FAMILIES else frozenset())


def _max_tokens(documents: Mapping[str, object], sentence: Mapping[str, object], model: EmbedderConfig) -> int:
    tokenizer = modules.json_object(documents, filenames.TOKENIZER_CONFIG)
    declared = configs.count(sentence, "max_seq_length") or configs.count(tokenizer, "model_max_length")
    return min(declared or _MAX_TOKENS, model.encoder.max_tokens, _MAX_TOKENS)
