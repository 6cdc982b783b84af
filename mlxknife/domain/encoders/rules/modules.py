"""The files of sentence-transformers: which pooling and which linear layers follow an encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mlxknife.domain.encoders.rules import encoder_configs, fields
from mlxknife.domain.encoders.values import DenseConfig, EmbedderConfig, Family, Pooling
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.models.rules import filenames

_ORDER = re.compile(r"Transformer(,Pooling)?(,Dense)*(,Normalize)?")
_FOLDERS: dict[str, tuple[str, ...] | None] = {
    "Transformer": ("",),
    "Pooling": (filenames.POOLING_FOLDER,),
    "Dense": filenames.DENSE_FOLDERS,
    "Normalize": None,
}
"""The known modules, each with the folders that are read; None for one without files."""
_FLAGS = {
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_lasttoken": Pooling.LAST,
}
_NAMES = {"cls": Pooling.CLS, "mean": Pooling.MEAN, "lasttoken": Pooling.LAST}
_FLAG_PREFIX = "pooling_mode_"
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU")


def read(documents: Mapping[str, object]) -> EmbedderConfig:
    """Return what computes a vector, from the JSON files of a model by name. Raises ModelNotRunnable."""
    config = json_object(documents, filenames.CONFIG)
    encoder = encoder_configs.read(config)
    default = Pooling.LAST if encoder.family is Family.QWEN3 else Pooling.MEAN
    pooling = _pooling(json_object(documents, filenames.POOLING), default)
    dense, width = list[DenseConfig](), encoder.width
    for folder in _dense_folders(documents[filenames.MODULES]) if filenames.MODULES in documents else ():
        dense.append(_dense(json_object(documents, f"{folder}/{filenames.CONFIG}"), folder, width))
        width = dense[-1].outputs
    return EmbedderConfig(encoder, pooling, tuple(dense))


def json_object(documents: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return the object in a JSON file; an empty one where there is none."""
    found = documents.get(name)
    return found if isinstance(found, Mapping) else {}


def _dense_folders(declared: object) -> Iterator[str]:
    """Yield the folders of the linear layers among the modules of a model. Raises ModelNotRunnable."""
    if not isinstance(declared, list | tuple) or not all(isinstance(module, Mapping) for module in declared):
        msg = "modules.json is not a list of modules"
        raise ModelNotRunnable(msg)
    found = [(str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))) for module in declared]
    for kind, folder in found:
        if kind not in _FOLDERS:
            msg = f"Module {kind[:60]!a} of modules.json not supported"
            raise ModelNotRunnable(msg)
        folders = _FOLDERS[kind]
        if folders is not None and folder not in folders:
            msg = f"Module {kind} of modules.json in folder {folder[:60]!a} not supported"
            raise ModelNotRunnable(msg)
    order = ",".join(kind for kind, _ in found)
    if _ORDER.fullmatch(order) is None:
        msg = f"Modules in the order {order[:100]!a} not supported"
        raise ModelNotRunnable(msg)
    yield from (folder for kind, folder in found if kind == "Dense")


def _pooling(config: Mapping[str, object], default: Pooling) -> Pooling:
    name = config.get("pooling_mode")
    modes = [name] if isinstance(name, str) else [flag for flag in config if config[flag] is True and _is_mode(flag)]
    if not modes:
        return default
    mode = _FLAGS.get(modes[0]) or _NAMES.get(modes[0])
    if len(modes) > 1 or mode is None:
        msg = f"Pooling {', '.join(modes)[:100]!a} not supported"
        raise ModelNotRunnable(msg)
    if config.get("include_prompt") is False:
        msg = "Pooling without the tokens of the prompt (include_prompt) not supported"
        raise ModelNotRunnable(msg)
    return mode


def _is_mode(flag: str) -> bool:
    return flag.startswith(_FLAG_PREFIX)


def _dense(config: Mapping[str, object], folder: str, width: int) -> DenseConfig:
    inputs = fields.size(config, "in_features", width)
    if inputs != width:
        msg = f"{folder} takes vectors of {inputs} values, and gets {width}"
        raise ModelNotRunnable(msg)
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        msg = f"Activation {activation[:60]!a} of {folder} not supported"
        raise ModelNotRunnable(msg)
    if "out_features" not in config:
        msg = f"{folder}/config.json names no out_features"
        raise ModelNotRunnable(msg)
    return DenseConfig(
        folder, inputs, fields.size(config, "out_features", 0), config.get("bias") is not False, activation
    )
