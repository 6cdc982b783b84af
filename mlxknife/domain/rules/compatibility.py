"""Runtime compatibility: whether what is installed can execute a model whose files are whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlxknife.domain.model.info import Capability, Framework, ModelType, Traits
from mlxknife.domain.model.runtime import Runtime, RuntimePackage
from mlxknife.domain.model.snapshot import JsonObject, SnapshotFacts
from mlxknife.domain.model.verdict import RuntimeVerdict
from mlxknife.domain.rules import configs, filenames

REMOTE_CODE_KEYS = ("auto_map", "model_file", "custom_pipelines", "custom_generate")

_RUNTIME_DOCUMENTS = (
    filenames.CONFIG,
    filenames.TOKENIZER_CONFIG,
    *filenames.PROCESSOR_CONFIGS,
)
_COMPATIBLE = RuntimeVerdict(compatible=True)


def judge(traits: Traits, facts: SnapshotFacts, runtime: Runtime, *, trusted: bool = False) -> RuntimeVerdict:
    """Say whether a healthy model runs here, and if not, the first reason.

    ``trusted``: the user allowed this model to run code from its repo.
    """
    reason = next(_reasons(traits, facts, runtime, trusted=trusted), None)
    return _COMPATIBLE if reason is None else RuntimeVerdict(compatible=False, reason=reason)


def _reasons(traits: Traits, facts: SnapshotFacts, runtime: Runtime, *, trusted: bool) -> Iterator[str]:
    names = facts.names()
    has_safetensors = any(name.endswith(filenames.SAFETENSORS) for name in names)
    if traits.model_type is ModelType.EMBEDDING:
        if not has_safetensors:
            yield f"Framework {traits.framework.value} not executable with mlx-vlm (requires safetensors)"
    elif traits.framework is not Framework.MLX:
        yield f"Framework {traits.framework.value} not executable with mlx-lm (requires MLX)"
    if traits.model_type is ModelType.AUDIO:
        yield "Speech models are not executable with mlx-lm"
    elif not has_safetensors:
        yield "Weights not executable with mlx-lm (requires safetensors)"
    if not runtime.backend:
        yield "No MLX backend installed; install one with: pip install 'mlxknife[cpu]' (or cuda12, cuda13)"
    key = None if trusted else remote_code_key(facts)
    if key is not None:
        yield f"Runs code from its repo ({key}); allow that with --allow-remote-code"
    yield from _architecture_reasons(traits, facts.json_object(filenames.CONFIG), runtime)


def remote_code_key(facts: SnapshotFacts) -> str | None:
    """Return the first config key that makes a loader run code from the repo, as ``file: key``."""
    for name in _RUNTIME_DOCUMENTS:
        config = facts.json_object(name)
        parts = [
            config,
            *(part for key, part in config.items() if key.endswith("_config")),
        ]
        for part in parts:
            for key in REMOTE_CODE_KEYS:
                if isinstance(part, Mapping) and part.get(key):
                    return f"{name}: {key}"
    return None


def _architecture_reasons(traits: Traits, config: JsonObject, runtime: Runtime) -> Iterator[str]:
    declared = configs.architecture(config)
    if declared is None:
        yield "config.json names no model_type"
        return
    classes = configs.class_names(config)
    embeds = traits.model_type is ModelType.EMBEDDING
    sees = Capability.VISION in traits.capabilities
    if not embeds and runtime.mlx_lm is not None and knows(runtime.mlx_lm, declared, classes):
        return
    if (embeds or sees) and runtime.mlx_vlm is not None and _vlm_knows(runtime.mlx_vlm, declared, embeds=embeds):
        return
    wanted = "mlx-vlm" if embeds or sees else "mlx-lm"
    yield _unknown_architecture(declared, wanted, runtime.mlx_vlm if embeds or sees else runtime.mlx_lm)


def knows(package: RuntimePackage, declared: str, classes: tuple[str, ...]) -> bool:
    """Tell whether a package has the architecture that a config declares, after its own renaming."""
    for class_name in classes:
        remapped = package.class_remapping.get((declared, class_name))
        if remapped is not None:
            return remapped in package.architectures
    return package.remapping.get(declared, declared) in package.architectures


def _vlm_knows(package: RuntimePackage, declared: str, *, embeds: bool) -> bool:
    name = declared.lower()
    if embeds:
        name = package.embedding_remapping.get(name, name)
    return package.remapping.get(name, name) in package.architectures


def _unknown_architecture(declared: str, wanted: str, installed: RuntimePackage | None) -> str:
    from mlxknife.domain.rules import architecture_versions  # noqa: PLC0415 - a large table for a rare answer

    since = architecture_versions.first_version(wanted, declared.lower() if wanted == "mlx-vlm" else declared)
    if installed is None:
        needed = f"{wanted} >= {since}" if since else wanted
        extra = "'mlxknife[vision]'" if wanted == "mlx-vlm" else wanted
        return (
            f"Model architecture '{declared}' requires {needed} (not installed); install it with: pip install {extra}"
        )
    if since is not None:
        return (
            f"Model architecture '{declared}' requires {wanted} >= {since} (current: {installed.version}); "
            f"upgrade with: pip install -U {wanted}"
        )
    return f"Model architecture '{declared}' not supported by {wanted} {installed.version}"
