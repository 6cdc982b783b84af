"""The runtime inventory: which MLX packages are installed and which architectures they have.

Nothing is imported: ``import mlx_lm`` alone takes longer than listing a thousand models. The packages' own source says
what they know; where a later release moves something, that something is unknown, never a crash.
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
_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)
_ENCODER = "EmbeddingOutput("
_BACKEND_LIBRARIES = ("libmlx.so", "libmlx.dylib")


class InstalledPackages:
    """Looks into the packages of this interpreter, or of the folders given."""

    def __init__(self, folders: tuple[str, ...] | None = None) -> None:
        """Take the folders to look for packages in; by default, wherever an import would look."""
        self._folders = folders
        self._runtime: Runtime | None = None

    def installed(self) -> Runtime:
        """See ``RuntimeInventory.installed``."""
        if self._runtime is None:
            self._runtime = Runtime(
                backend=any(map(_has_backend, self._places("mlx"))),
                mlx_lm=next(map(_mlx_lm, self._places("mlx_lm")), None),
                mlx_vlm=next(map(_mlx_vlm, self._places("mlx_vlm")), None),
            )
        return self._runtime

    def _places(self, package: str) -> Iterator[str]:
        if self._folders is not None:
            places: Iterable[str] = (os.path.join(folder, package) for folder in self._folders)
        else:
            try:
                spec = importlib.util.find_spec(package)
            except (ImportError, ValueError):
                return
            places = spec.submodule_search_locations or () if spec is not None else ()
        yield from (place for place in places if os.path.isdir(place))


def _has_backend(place: str) -> bool:
    return any(os.path.exists(os.path.join(place, "lib", library)) for library in _BACKEND_LIBRARIES)


def _mlx_lm(place: str) -> RuntimePackage:
    utils = _text(place, "utils.py")
    by_class = _literal(utils, "MODEL_ARCHITECTURE_REMAPPING")
    return RuntimePackage(
        name="mlx-lm",
        version=_version(place, "_version.py"),
        architectures=frozenset(_architectures(os.path.join(place, "models"))),
        remapping=_strings(_literal(utils, "MODEL_REMAPPING")),
        class_remapping={
            (key[0], key[1]): value
            for key, value in by_class.items()
            if isinstance(key, tuple) and len(key) == 2 and isinstance(value, str)  # noqa: PLR2004 - a pair
        },
    )


def _mlx_vlm(place: str) -> RuntimePackage:
    architectures = frozenset(_architectures(os.path.join(place, "models")))
    return RuntimePackage(
        name="mlx-vlm",
        version=_version(place, "version.py"),
        architectures=architectures,
        encoders=frozenset(name for name in architectures if _ENCODER in _text(place, f"models/{name}/{name}.py")),
        remapping=_strings(_literal(_text(place, "utils.py"), "MODEL_REMAPPING")),
        embedding_remapping=_strings(_literal(_text(place, "embedding_loader.py"), "EMBEDDING_MODEL_REMAPPING")),
    )


def _architectures(models: str) -> Iterator[str]:
    """Yield the modules and packages of a models folder that offer a model class."""
    try:
        with os.scandir(models) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith(".py") and _offers_model(entry.path):
            yield entry.name.removesuffix(".py")
        elif _offers_model(os.path.join(entry.path, "__init__.py")):
            yield entry.name


def _offers_model(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return _MODEL_CLASS.search(file.read()) is not None
    except OSError:
        return False


def _text(place: str, name: str) -> str:
    try:
        with open(os.path.join(place, name), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def _version(place: str, name: str) -> str:
    found = _VERSION.search(_text(place, name))
    return found[1] if found else "unknown"


def _literal(source: str, name: str) -> dict[object, object]:
    """Return the dict literal that a module assigns to a name, without running the module."""
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
