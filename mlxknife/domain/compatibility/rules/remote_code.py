"""Remote code: which code of its repo a model needs. Code that a model merely carries is never used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlxknife.domain.compatibility.rules.tokenizer_files import GENERIC
from mlxknife.domain.compatibility.values import RemoteCode, Runtime
from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.models.values.snapshot import FileState, SnapshotFacts

_OPTION = "--allow-remote-code"
_OTHER_REPO = "--"
"""The mark of a class in another repo, as in ``org/name--module.Class``."""


def needed(facts: SnapshotFacts, runtime: Runtime) -> RemoteCode | None:
    """Return the code that a model cannot be loaded without, or None."""
    model_file = facts.json_object(filenames.CONFIG).get("model_file")
    if model_file is not None:  # mlx-lm takes every other value for a file, an empty text too
        return RemoteCode(f"{filenames.CONFIG}: model_file", str(model_file), is_architecture=True)
    reference = _tokenizer_reference(facts)
    if reference is None or filenames.TOKENIZER_JSON in facts.names() or _has_known_tokenizer(facts, runtime):
        return None
    return RemoteCode(f"{filenames.TOKENIZER_CONFIG}: auto_map", _module_file(reference), is_architecture=False)


def reasons(code: RemoteCode, facts: SnapshotFacts, *, is_allowed: bool) -> Iterator[str]:
    """Yield why code is not run: it is not a file of this repo, or the user has not allowed it."""
    if _OTHER_REPO in code.file:
        yield f"Needs code of another repo ({code.key}), which mlxk does not run"
    elif not any(file.name == code.file and file.state is FileState.OK for file in facts.files):
        yield f"Needs code of its repo ({code.key}), but the file it names is missing"
    elif not is_allowed:
        yield f"Needs code of its repo ({code.key}), which runs only with {_OPTION}"


def without_help(reason: str, facts: SnapshotFacts) -> str:
    """Return the reason against an unknown architecture. Where its repo has code, that is code for PyTorch."""
    if not facts.json_object(filenames.CONFIG).get("auto_map"):
        return reason
    return f"{reason} ({_OPTION} does not help: the code of its repo is for PyTorch)"


def _tokenizer_reference(facts: SnapshotFacts) -> str | None:
    """Return the class that the tokenizer config names as a class of the repo, as transformers reads it."""
    auto_map = facts.json_object(filenames.TOKENIZER_CONFIG).get("auto_map")
    named = auto_map.get("AutoTokenizer") if isinstance(auto_map, Mapping) else auto_map
    classes = (named,) if isinstance(named, str) else (named or ()) if isinstance(named, list | tuple) else ()
    found = [name for name in classes if isinstance(name, str) and name]
    return found[-1] if found else None


def _has_known_tokenizer(facts: SnapshotFacts, runtime: Runtime) -> bool:
    declared = facts.json_object(filenames.TOKENIZER_CONFIG).get("tokenizer_class")
    return isinstance(declared, str) and configs.tokenizer_name(declared) in (*GENERIC, *runtime.tokenizers.values())


def _module_file(reference: str) -> str:
    return f"{reference.partition('.')[0]}.py"
