"""What users may rely on by name: the library's names, the programs, the error tree."""

from __future__ import annotations

import importlib
import os
from importlib.metadata import entry_points, metadata

import pytest

import mlxknife
from tests.e2e.processes import BIN

PUBLIC = [
    "AccessDenied",
    "AmbiguousMatch",
    "App",
    "ConfirmationRequired",
    "Constraint",
    "ContextLengthExceeded",
    "DownloadFailed",
    "EngineError",
    "FeatureDisabled",
    "FinishReason",
    "GenerationOptions",
    "GenerationResult",
    "HealthReport",
    "Hint",
    "HintCode",
    "HubAccessDenied",
    "HubAuthError",
    "HubOffline",
    "IndexModelMismatch",
    "IndexNotUsable",
    "Integrity",
    "InternalError",
    "KVCacheOptions",
    "KnifeError",
    "LocksPresent",
    "Message",
    "ModelDetails",
    "ModelHealth",
    "ModelInfo",
    "ModelList",
    "ModelNotFound",
    "ModelNotRunnable",
    "NetworkError",
    "NoProgress",
    "NotEnoughMemory",
    "Progress",
    "PullPlan",
    "PullRequest",
    "RemovalPlan",
    "RepoNotFound",
    "SamplingParameters",
    "ServerBusy",
    "Session",
    "StorageError",
    "TemplateError",
    "TextDelta",
    "TextKind",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolMode",
    "ToolUse",
    "UnsupportedCapability",
    "ValidationError",
    "WorkerLost",
    "WrongBytes",
    "__version__",
    "open_app",
]
ERRORS = {
    "KnifeError": "OperationError",
    "ValidationError": "ValidationError",
    "ModelNotFound": "model_not_found",
    "AmbiguousMatch": "ambiguous_match",
    "LocksPresent": "locks_present",
    "FeatureDisabled": "feature_disabled",
    "ModelNotRunnable": "model_not_runnable",
    "UnsupportedCapability": "unsupported_capability",
    "ContextLengthExceeded": "context_length_exceeded",
    "IndexModelMismatch": "index_model_mismatch",
    "IndexNotUsable": "index_not_usable",
    "NotEnoughMemory": "insufficient_memory",
    "ServerBusy": "server_busy",
    "EngineError": "generation_failed",
    "TemplateError": "template_error",
    "WorkerLost": "worker_lost",
    "ConfirmationRequired": "confirmation_required",
    "DownloadFailed": "download_failed",
    "RepoNotFound": "download_failed",
    "WrongBytes": "download_failed",
    "HubAccessDenied": "access_denied",
    "HubAuthError": "auth_error",
    "NetworkError": "NetworkError",
    "HubOffline": "NetworkError",
    "StorageError": "FilesystemError",
    "AccessDenied": "PermissionError",
    "InternalError": "InternalError",
}
PROGRAMS = {
    "mlxk": "mlxknife.__main__:main",
    "mlxk2": "mlxknife.__main__:main",
    "mlxk-json": "mlxknife.__main__:main",
    "mlx-embed": "mlxknife.__main__:main_embed",
    "mlx-run": "mlxknife.__main__:main_run",
    "mlx-tee": "mlxknife.__main__:main_tee",
    "mlxk-tee": "mlxknife.__main__:main_tee",
}


def test_the_public_names_are_these() -> None:
    assert mlxknife.__all__ == PUBLIC
    assert dir(mlxknife) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_imported(name: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"from mlxknife import {name}", namespace)
    assert namespace[name] is getattr(mlxknife, name)


def test_a_star_import_brings_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from mlxknife import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(PUBLIC)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mlxknife.no_such_name


def test_every_error_has_the_code_of_the_contract() -> None:
    for name, code in ERRORS.items():
        error = getattr(mlxknife, name)
        assert (error.code, issubclass(error, mlxknife.KnifeError)) == (code, True)
    assert issubclass(mlxknife.AccessDenied, mlxknife.StorageError)


def test_the_programs_are_declared_and_installed() -> None:
    scripts = {
        entry.name: entry.value
        for entry in entry_points(group="console_scripts")
        if entry.value.startswith("mlxknife.")
    }
    assert scripts == PROGRAMS
    for name, value in PROGRAMS.items():
        module, _, function = value.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert os.access(BIN / name, os.X_OK)


def test_the_versions_of_python_are_declared() -> None:
    declared = metadata("mlxknife")
    assert declared["Requires-Python"] == ">=3.11"
    languages = [name for name in declared.get_all("Classifier") or () if name.startswith("Programming Language")]
    assert [name.rpartition(" ")[2] for name in languages] == ["3", "3.11", "3.12", "3.13"]


def test_the_extras_are_declared() -> None:
    extras = set(metadata("mlxknife").get_all("Provides-Extra") or ())
    assert extras >= {"cpu", "cuda12", "cuda13", "vision", "embed", "pdf", "dev"}
