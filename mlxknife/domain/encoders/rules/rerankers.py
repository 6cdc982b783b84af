"""Rerankers: which models can be run as one, and what computes their scores."""

from __future__ import annotations

from collections.abc import Mapping

from mlxknife.domain.encoders.rules import encoder_configs
from mlxknife.domain.encoders.values import Family, Pooling, RerankerConfig
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.models.rules import configs

_DECODER_KIND = "qwen3"
_KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "modernbert", _DECODER_KIND)
_CLASSIFIER = "ForSequenceClassification"
_DECODER = "ForCausalLM"
_POOLINGS = {"cls": Pooling.CLS, "mean": Pooling.MEAN}
_ANSWERS = ("yes", "no")


def read(config: Mapping[str, object]) -> RerankerConfig:
    """Return what computes the scores of a model, from its config.json. Raises ModelNotRunnable."""
    kind = configs.architecture(config)
    if kind not in _KINDS:
        msg = f"Reranker architecture {kind!a:.60} not supported (supported: {', '.join(_KINDS)})"
        raise ModelNotRunnable(msg)
    return _decoder(config) if kind == _DECODER_KIND else _classifier(config)


def _classifier(config: Mapping[str, object]) -> RerankerConfig:
    """Return a cross-encoder: an encoder with a head that makes one number."""
    encoder = encoder_configs.read(config)
    _check_class(config, _CLASSIFIER)
    if configs.label_count(config) != 1:
        msg = f"A reranker has one label, and this model has {configs.label_count(config)}"
        raise ModelNotRunnable(msg)
    pooling = config.get("classifier_pooling", "cls") if encoder.family is Family.MODERNBERT else "cls"
    if pooling not in _POOLINGS:
        msg = f"Pooling {pooling!a:.60} of a classifier not supported"
        raise ModelNotRunnable(msg)
    activation = "tanh"
    if encoder.family is Family.MODERNBERT:
        activation = encoder_configs.activation(config, "classifier_activation", "gelu")
    return RerankerConfig(encoder, _POOLINGS[str(pooling)], activation)


def _decoder(config: Mapping[str, object]) -> RerankerConfig:
    """Return a decoder that answers yes or no."""
    _check_class(config, _DECODER)
    encoder = encoder_configs.read(config)
    if not encoder.is_causal:
        msg = "A decoder that is not causal cannot rank documents"
        raise ModelNotRunnable(msg)
    return RerankerConfig(encoder, Pooling.LAST, "", _ANSWERS)


def _check_class(config: Mapping[str, object], ending: str) -> None:
    """Raise ModelNotRunnable unless the class of a model has this ending, and is no code of its repo."""
    names = configs.class_names(config)
    if not any(name.endswith(ending) for name in names):
        msg = f"Reranker class {', '.join(names)[:100]!a} not supported (needs ...{ending})"
        raise ModelNotRunnable(msg)
    code = config.get("auto_map")
    if isinstance(code, Mapping) and any(str(name).endswith(ending.removeprefix("For")) for name in code):
        msg = "The reranker needs code of its repo, which is not run"
        raise ModelNotRunnable(msg)
