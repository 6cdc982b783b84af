"""The runtime inventory: which MLX packages are installed, and which architectures they support.

It reads the packages' source files and imports nothing: ``import mlx_lm`` alone takes longer than listing a thousand
models. Where a later release moves a table or a class, the inventory leaves it out.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator

from mlxknife.domain.compatibility.values import Runtime, RuntimePackage

_MODEL_CLASS = re.compile(
    rb"^(?:class Model\b|(?:from|import)\b[^#\n]*\bModel\b|\s+Model,|Model\s*=)",
    re.MULTILINE,
)
_USUAL_DEFINITION = b"\nclass Model(nn.Module):\n"
"""The line of nearly every model class. Finding these bytes is much faster than searching the pattern above."""
_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)
_TOKENIZER = re.compile(r"""^\s*\("([^"]+)", "([^"]+)\"""", re.MULTILINE)
_QUOTED = re.compile(r"""^\s*"([^"]+)",""", re.MULTILINE)
_BACKEND_LIBRARIES = ("libmlx.so", "libmlx.dylib")


class InstalledPackages:
    """Reads the packages of this interpreter, or of given folders."""

    def __init__(self, folders: tuple[str, ...] | None = None) -> None:
        """Take the folders to search for packages; by default those that an import searches."""
        self._folders = folders
        self._runtime: Runtime | None = None

    def installed(self) -> Runtime:
        """See ``RuntimeInventory.installed``."""
        if self._runtime is None:
            self._runtime = Runtime(
                backend=any(map(_has_backend, self._package_folders("mlx"))),
                mlx_lm=next(map(_mlx_lm, self._package_folders("mlx_lm")), None),
                mlx_vlm=next(map(_mlx_vlm, self._package_folders("mlx_vlm")), None),
                tokenizers=next(map(_tokenizers, self._package_folders("transformers")), {}),
            )
        return self._runtime

    def _package_folders(self, package: str) -> Iterator[str]:
        if self._folders is not None:
            folders: Iterable[str] = (os.path.join(folder, package) for folder in self._folders)
        else:
            try:
                spec = importlib.util.find_spec(package)
            except (ImportError, ValueError):
                return
            folders = spec.submodule_search_locations or () if spec is not None else ()
        yield from filter(os.path.isdir, folders)


def _has_backend(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, "lib", library)) for library in _BACKEND_LIBRARIES)


def _mlx_lm(folder: str) -> RuntimePackage:
    utils = _text(folder, "utils.py")
    by_class = _literal(utils, "MODEL_ARCHITECTURE_REMAPPING")
    return RuntimePackage(
        name="mlx-lm",
        version=_version(folder, "_version.py"),
        architectures=frozenset(_architectures(os.path.join(folder, "models"))),
        remapping=_strings(_literal(utils, "MODEL_REMAPPING")),
        class_remapping={
            (key[0], key[1]): value
            for key, value in by_class.items()
            if isinstance(key, tuple) and len(key) == 2 and isinstance(value, str)  # noqa: PLR2004 - a pair
        },
    )


def _mlx_vlm(folder: str) -> RuntimePackage:
    return RuntimePackage(
        name="mlx-vlm",
        version=_version(folder, "version.py"),
        architectures=frozenset(_architectures(os.path.join(folder, "models"))),
        remapping=_strings(_literal(_text(folder, "utils.py"), "MODEL_REMAPPING")),
    )


def _tokenizers(folder: str) -> dict[str, str]:
    """Return the tokenizer class of each model type; the tables are no literals and are read line by line."""
    source = _text(folder, "models/auto/tokenization_auto.py")
    generic = _block(source, "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS", "\n}")
    table = _block(source, "TOKENIZER_MAPPING_NAMES", "\n)")
    return dict.fromkeys(_QUOTED.findall(generic), "TokenizersBackend") | dict(_TOKENIZER.findall(table))


def _block(source: str, name: str, end: str) -> str:
    """Return the source of the value that a module assigns to a name."""
    found = re.search(rf"^{name}\b[^=\n]*=", source, re.MULTILINE)
    return "" if found is None else source[found.end() :].partition(end)[0]


def _architectures(models: str) -> Iterator[str]:
    """Yield the modules and packages of a models folder that have a model class."""
    try:
        with os.scandir(models) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith(".py") and _has_model_class(entry.path):
            yield entry.name.removesuffix(".py")
        elif _has_model_class(os.path.join(entry.path, "__init__.py")):
            yield entry.name


def _has_model_class(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError:
        return False
    return _USUAL_DEFINITION in source or _MODEL_CLASS.search(source) is not None


def _text(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def _version(folder: str, name: str) -> str:
    found = _VERSION.search(_text(folder, name))
    return found[1] if found else "unknown"


def _literal(source: str, name: str) -> dict[object, object]:
    """Return the dict literal that a module assigns to a name; empty for anything else. The module is not run."""
    found = re.search(
        rf"^{name}\s*(?::[^=\n]+)?=\s*(\{{.*?^\}}|\{{[^\n]*\}})",
        source,
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        return {}
    try:
        value = ast.literal_eval(found[1])
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return {}
    return value if isinstance(value, dict) else {}


def _strings(mapping: dict[object, object]) -> dict[str, str]:
    return {key: value for key, value in mapping.items() if isinstance(key, str) and isinstance(value, str)}
