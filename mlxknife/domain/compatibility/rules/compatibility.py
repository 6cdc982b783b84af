"""Runtime compatibility: whether the installed packages can run a model whose files are intact."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlxknife.domain.compatibility.rules import architecture_versions, encoders, remote_code, rerankers, tokenizer_files
from mlxknife.domain.compatibility.values import Runtime, RuntimePackage, RuntimeVerdict
from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.models.values.info import Capability, Framework, ModelTraits, ModelType
from mlxknife.domain.models.values.snapshot import SnapshotFacts

_CONSOLIDATED = "consolidated.safetensors"
_COMPATIBLE = RuntimeVerdict(compatible=True)


def judge(
    traits: ModelTraits, facts: SnapshotFacts, runtime: Runtime, *, allows_remote_code: bool = False
) -> RuntimeVerdict:
    """Return whether an intact model runs here, and if not, the first reason.

    ``allows_remote_code``: the user allows this model to run code from its repo.
    """
    reason = next(_reasons(traits, facts, runtime, allows_remote_code=allows_remote_code), None)
    return _COMPATIBLE if reason is None else RuntimeVerdict(compatible=False, reason=reason)


def _reasons(traits: ModelTraits, facts: SnapshotFacts, runtime: Runtime, *, allows_remote_code: bool) -> Iterator[str]:
    names = facts.names()
    if traits.model_type is ModelType.EMBEDDING:
        yield from encoders.reasons(facts)
        return
    if traits.model_type is ModelType.RERANKER:
        yield from rerankers.reasons(facts)
        return
    if traits.framework is not Framework.MLX:
        yield f"Framework {traits.framework.value} not executable with mlx-lm (requires MLX)"
    if traits.model_type is ModelType.AUDIO:
        yield "Speech models are not executable with mlx-lm"
    elif not _is_loadable(names):
        yield "Weights not executable with mlx-lm (requires model*.safetensors beside config.json)"
    if not runtime.backend:
        yield "No MLX backend installed; on Linux install one with: pip install 'mlx[cpu]' (or cuda12, cuda13)"
    code = remote_code.needed(facts, runtime)
    if code is not None:
        yield from remote_code.reasons(code, facts, is_allowed=allows_remote_code)
    if code is None or not code.is_architecture:
        yield from _architecture_reasons(traits, facts, runtime)
    if code is None or code.is_architecture:
        yield from tokenizer_files.reasons(facts, runtime)


def _is_loadable(names: frozenset[str]) -> bool:
    """Return whether the weights are where mlx-lm looks: at the top level, named ``model*``."""
    top = {name for name in names if "/" not in name and name.endswith(filenames.SAFETENSORS)} - {_CONSOLIDATED}
    return any(name.startswith("model") for name in top)


def _architecture_reasons(traits: ModelTraits, facts: SnapshotFacts, runtime: Runtime) -> Iterator[str]:
    config = facts.json_object(filenames.CONFIG)
    declared = configs.architecture(config)
    if declared is None:
        yield "config.json names no model_type"
    elif runtime.mlx_lm is None or not knows(runtime.mlx_lm, declared, configs.class_names(config)):
        yield _unknown_generator(traits, declared, facts, runtime.mlx_lm)


def _unknown_generator(traits: ModelTraits, declared: str, facts: SnapshotFacts, mlx_lm: RuntimePackage | None) -> str:
    """Return the reason against a generating model; one that only mlx-vlm supports has no engine here yet."""
    since = architecture_versions.first_version("mlx-lm", declared)
    reason = _unknown(declared, "mlx-lm", since, mlx_lm)
    if since is not None or mlx_lm is None:
        return reason
    if Capability.VISION in traits.capabilities:
        return f"{reason}; mlxk does not run models with mlx-vlm yet"
    return remote_code.without_help(reason, facts)


def knows(package: RuntimePackage, declared: str, classes: tuple[str, ...]) -> bool:
    """Return whether a package supports the architecture that a config declares, after the package's own remapping."""
    for class_name in classes:
        remapped = package.class_remapping.get((declared, class_name))
        if remapped is not None:
            return remapped in package.architectures
    return package.remapping.get(declared, declared) in package.architectures


def _unknown(declared: str, package: str, since: str | None, installed: RuntimePackage | None) -> str:
    model = f"Model architecture '{declared}'"
    if installed is None:
        needed = f"{package} >= {since}" if since else package
        return f"{model} requires {needed} (not installed); install it with: pip install {package}"
    if since is not None and _parts(installed.version) < _parts(since):
        current = f"{package} >= {since} (current: {installed.version})"
        return f"{model} requires {current}; upgrade with: pip install -U {package}"
    return f"{model} not supported by {package} {installed.version}"


def _parts(version: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
