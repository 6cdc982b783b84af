"""Runtime compatibility: whether the installed packages can run a model whose files are intact."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mlxknife.domain.compatibility.rules import architecture_versions
from mlxknife.domain.compatibility.values import Runtime, RuntimePackage, RuntimeVerdict
from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.models.values.info import Capability, Framework, ModelTraits, ModelType
from mlxknife.domain.models.values.snapshot import JsonObject, SnapshotFacts

REMOTE_CODE_KEYS = ("auto_map", "model_file", "custom_pipelines", "custom_generate")

_RUNTIME_DOCUMENTS = (
    filenames.CONFIG,
    filenames.TOKENIZER_CONFIG,
    *filenames.PROCESSOR_CONFIGS,
)
_CONSOLIDATED = "consolidated.safetensors"
_COMPATIBLE = RuntimeVerdict(compatible=True)


def judge(traits: ModelTraits, facts: SnapshotFacts, runtime: Runtime, *, trusted: bool = False) -> RuntimeVerdict:
    """Return whether an intact model runs here, and if not, the first reason.

    ``trusted``: the user allows this model to run code from its repo.
    """
    reason = next(_reasons(traits, facts, runtime, trusted=trusted), None)
    return _COMPATIBLE if reason is None else RuntimeVerdict(compatible=False, reason=reason)


def _reasons(traits: ModelTraits, facts: SnapshotFacts, runtime: Runtime, *, trusted: bool) -> Iterator[str]:
    names = facts.names()
    has_safetensors = any(name.endswith(filenames.SAFETENSORS) for name in names)
    if traits.model_type is ModelType.EMBEDDING:
        if not has_safetensors:
            yield f"Framework {traits.framework.value} not executable with mlx-vlm (requires safetensors)"
    elif traits.framework is not Framework.MLX:
        yield f"Framework {traits.framework.value} not executable with mlx-lm (requires MLX)"
    if traits.model_type is ModelType.AUDIO:
        yield "Speech models are not executable with mlx-lm"
    elif not _is_loadable(traits, names, runtime):
        yield "Weights not executable with mlx-lm (requires model*.safetensors beside config.json)"
    if not runtime.backend:
        yield "No MLX backend installed; on Linux install one with: pip install 'mlxknife[cpu]' (or cuda12, cuda13)"
    key = None if trusted else remote_code_key(facts)
    if key is not None:
        yield f"Runs code from its repo ({key}), which mlxk does not allow: choose another model"
    yield from _architecture_reasons(traits, facts.json_object(filenames.CONFIG), runtime)


def remote_code_key(facts: SnapshotFacts) -> str | None:
    """Return the first config key that makes a loader run code from the repo, as ``file: key``."""
    for name in _RUNTIME_DOCUMENTS:
        config = facts.json_object(name)
        sections = [part for key, part in config.items() if key.endswith("_config") and isinstance(part, Mapping)]
        for part in (config, *sections):
            for key in REMOTE_CODE_KEYS:
                if part.get(key):
                    return f"{name}: {key}"
    return None


def _is_loadable(traits: ModelTraits, names: frozenset[str], runtime: Runtime) -> bool:
    """Return whether the weights are where loaders look: at the top level, for mlx-lm named ``model*``."""
    top = {name for name in names if "/" not in name and name.endswith(filenames.SAFETENSORS)} - {_CONSOLIDATED}
    by_mlx_vlm = traits.model_type is ModelType.EMBEDDING or Capability.VISION in traits.capabilities
    if by_mlx_vlm and runtime.mlx_vlm is not None:
        return bool(top)
    return any(name.startswith("model") for name in top)


def _architecture_reasons(traits: ModelTraits, config: JsonObject, runtime: Runtime) -> Iterator[str]:
    declared = configs.architecture(config)
    if declared is None:
        yield "config.json names no model_type"
    elif traits.model_type is ModelType.EMBEDDING:
        yield from _encoder_reasons(declared, runtime.mlx_vlm)
    else:
        yield from _generator_reasons(traits, declared, configs.class_names(config), runtime)


def _generator_reasons(traits: ModelTraits, declared: str, classes: tuple[str, ...], runtime: Runtime) -> Iterator[str]:
    if runtime.mlx_lm is not None and knows(runtime.mlx_lm, declared, classes):
        return
    if Capability.VISION in traits.capabilities:
        if runtime.mlx_vlm is None or not knows(runtime.mlx_vlm, declared.lower(), ()):
            since = architecture_versions.first_version("mlx-vlm", declared.lower())
            yield _unknown(declared, "mlx-vlm", since, runtime.mlx_vlm, "'mlxknife[vision]'")
    else:
        since = architecture_versions.first_version("mlx-lm", declared)
        yield _unknown(declared, "mlx-lm", since, runtime.mlx_lm, "mlx-lm")


def _encoder_reasons(declared: str, mlx_vlm: RuntimePackage | None) -> Iterator[str]:
    name = declared.lower()
    if mlx_vlm is None or mlx_vlm.embedding_remapping.get(name, name) not in mlx_vlm.encoders:
        since = architecture_versions.first_encoder_version(name)
        yield _unknown(declared, "mlx-vlm", since, mlx_vlm, "'mlxknife[embed]'")


def knows(package: RuntimePackage, declared: str, classes: tuple[str, ...]) -> bool:
    """Return whether a package supports the architecture that a config declares, after the package's own remapping."""
    for class_name in classes:
        remapped = package.class_remapping.get((declared, class_name))
        if remapped is not None:
            return remapped in package.architectures
    return package.remapping.get(declared, declared) in package.architectures


def _unknown(declared: str, package: str, since: str | None, installed: RuntimePackage | None, extra: str) -> str:
    model = f"Model architecture '{declared}'"
    if installed is None:
        needed = f"{package} >= {since}" if since else package
        return f"{model} requires {needed} (not installed); install it with: pip install {extra}"
    if since is not None and _parts(installed.version) < _parts(since):
        current = f"{package} >= {since} (current: {installed.version})"
        return f"{model} requires {current}; upgrade with: pip install -U {package}"
    return f"{model} not supported by {package} {installed.version}"


def _parts(version: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
