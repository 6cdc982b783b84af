"""What the files of sentence-transformers say about a model: its modules, pooling, prompts and longest text."""

from __future__ import annotations

from collections.abc import Mapping

from mlxknife.domain.compatibility.rules import encoders
from mlxknife.domain.embedding.values import EmbeddingRequest, EmbeddingSettings, Pooling
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.models.rules import configs

PROMPTS = "config_sentence_transformers.json"
SENTENCE = "sentence_bert_config.json"
_POOLING = f"{encoders.POOLING_FOLDER}/config.json"
DOCUMENTS = ("config.json", "tokenizer_config.json", encoders.MODULES, PROMPTS, SENTENCE, _POOLING)
"""The files that the settings come from."""
_FLAGS = {
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_lasttoken": Pooling.LAST,
}
_NAMES = {"cls": Pooling.CLS, "mean": Pooling.MEAN, "lasttoken": Pooling.LAST}
_FLAG_PREFIX = "pooling_mode_"
_DOCUMENT_PROMPTS = ("document", "passage")
_QUERY_PROMPT = "query"
_MAX_PROMPT = 10_000
_DEFAULT_MAX_TOKENS = 512


def read(documents: Mapping[str, object]) -> EmbeddingSettings:
    """Return the settings from the JSON files of a model, by name. Raises ModelNotRunnable."""
    config = _object(documents, "config.json")
    reason = encoders.encoder_reason(config) or encoders.modules_reason(documents.get(encoders.MODULES))
    if reason is not None:
        raise ModelNotRunnable(reason)
    prompts = _object(documents, PROMPTS)
    found = prompts.get("prompts")
    texts = found if isinstance(found, Mapping) else {}
    default = prompts.get("default_prompt_name")
    return EmbeddingSettings(
        _pooling(_object(documents, _POOLING)),
        _max_tokens(documents, config),
        {str(name): text for name, text in texts.items() if isinstance(text, str) and len(text) <= _MAX_PROMPT},
        default if isinstance(default, str) else None,
    )


def prompt(settings: EmbeddingSettings, request: EmbeddingRequest) -> str:
    """Return the text that goes before each text of a request."""
    if request.instruction is not None:
        return f"Instruct: {request.instruction}\nQuery:"
    if request.is_query:
        return settings.prompts.get(_QUERY_PROMPT, "")
    names = (settings.default_prompt, *_DOCUMENT_PROMPTS)
    return next((settings.prompts[name] for name in names if name is not None and name in settings.prompts), "")


def _pooling(config: Mapping[str, object]) -> Pooling:
    """Return the pooling. Raises ModelNotRunnable for one that is not supported."""
    name = config.get("pooling_mode")
    modes = [name] if isinstance(name, str) else [flag for flag in config if config[flag] is True and _is_mode(flag)]
    if not modes:
        return Pooling.MEAN
    mode = _FLAGS.get(modes[0]) or _NAMES.get(modes[0])
    if len(modes) > 1 or mode is None or config.get("include_prompt") is False:
        msg = f"Pooling {', '.join(modes)[:100]!a} not supported"
        raise ModelNotRunnable(msg)
    return mode


def _is_mode(flag: str) -> bool:
    return flag.startswith(_FLAG_PREFIX)


def _max_tokens(documents: Mapping[str, object], config: Mapping[str, object]) -> int:
    limits = (
        configs.count(_object(documents, SENTENCE), "max_seq_length"),
        configs.count(_object(documents, "tokenizer_config.json"), "model_max_length"),
        configs.count(config, "max_position_embeddings"),
    )
    return min([limit for limit in limits if limit] or [_DEFAULT_MAX_TOKENS])


def _object(documents: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = documents.get(name)
    return found if isinstance(found, Mapping) else {}
