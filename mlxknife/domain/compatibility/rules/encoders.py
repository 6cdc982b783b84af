"""Encoders of embedding models: which ones can be run. They are our own, and need neither MLX nor a package."""

from __future__ import annotations

from collections.abc import Mapping

from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.models.values.snapshot import SnapshotFacts

MODULES = "modules.json"
POOLING_FOLDER = "1_Pooling"
_MODULES = ("Transformer", "Pooling", "Normalize")
_ENCODERS = ("bert",)
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def reasons(facts: SnapshotFacts) -> list[str]:
    """Return the reasons why an intact embedding model cannot be run; none if it can."""
    modules = facts.documents.get(MODULES)
    found = (
        _weights_reason(facts.names()),
        encoder_reason(facts.json_object(filenames.CONFIG)),
        modules_reason(None if modules is None else modules.value),
        None if filenames.TOKENIZER_JSON in facts.names() else f"Embeddings need {filenames.TOKENIZER_JSON}",
    )
    return [reason for reason in found if reason is not None]


def encoder_reason(config: Mapping[str, object]) -> str | None:
    """Return why the encoder of a config cannot be run; None if it can."""
    kind = configs.architecture(config)
    if kind is None:
        return "config.json names no model_type"
    if kind not in _ENCODERS:
        return f"Embedding architecture '{kind}' not supported yet (supported: {', '.join(_ENCODERS)})"
    positions, activation = config.get("position_embedding_type", "absolute"), config.get("hidden_act", "gelu")
    if positions != "absolute":
        return f"Position embeddings of type {positions!a:.60} not supported"
    if activation not in _ACTIVATIONS:
        return f"Activation {activation!a:.60} not supported"
    return None


def modules_reason(modules: object) -> str | None:
    """Return why the modules in modules.json cannot be run; None if they can, or if there is no such file."""
    if modules is None:
        return None
    if not isinstance(modules, list | tuple) or not all(isinstance(module, Mapping) for module in modules):
        return "modules.json is not a list of modules"
    for module in modules:
        name = str(module.get("type", "")).rpartition(".")[2]
        if name not in _MODULES:
            return f"Module {name[:60]!a} of modules.json not supported"
        if name == "Pooling" and module.get("path") != POOLING_FOLDER:
            return f"modules.json must have its pooling in {POOLING_FOLDER}"
    return None


def _weights_reason(names: frozenset[str]) -> str | None:
    if any("/" not in name and name.endswith(filenames.SAFETENSORS) for name in names):
        return None
    pickle = min((name for name in names if name.endswith(_PICKLES)), default=None)
    what = "There are no weights in safetensors" if pickle is None else f"{pickle} is a pickle, which is not loaded"
    return f"{what} (requires safetensors beside config.json)"
