"""The contract of ``RuntimeInventory``, and what the real one reads from packages on the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from mlxknife.adapters.packages.inventory import InstalledPackages
from mlxknife.domain.compatibility.values import Runtime, RuntimePackage
from mlxknife.ports.system.runtime_inventory import RuntimeInventory
from tests.fakes.runtime_inventory import FakeInventory

_LM = RuntimePackage(
    name="mlx-lm",
    version="0.27.1",
    architectures=frozenset({"llama", "solar", "qwen2", "by_import", "by_name"}),
    remapping={"mistral": "llama"},
    class_remapping={("hybrid", "HybridV3"): "llama"},
)
_VLM = RuntimePackage(
    name="mlx-vlm",
    version="0.7.1",
    architectures=frozenset({"qwen2_vl", "bert"}),
    remapping={"lfm2-vl": "qwen2_vl"},
)
_MODELS = {
    "llama.py": "import mlx.core as mx\n\nclass Model(nn.Module):\n    pass\n",
    "solar.py": "from .llama import Model, ModelArgs\n",
    "qwen2.py": "class ModelArgs: ...\nclass Model: ...\n",
    "by_import.py": "from .llama import (\n    Args,\n    Model,\n)\n",
    "by_name.py": "from .llama import LanguageModel\nModel = LanguageModel\n",
    "cache.py": "class KVCache: ...\n# class Model is elsewhere\n",
    "base.py": "class BaseModelArgs: ...\nclass ModelBase: ...\n",
    "rope_utils.py": "def initialize_rope(): ...\n",
    "notes.txt": "class Model: ...\n",
}
_LM_UTILS = """
MODEL_REMAPPING = {
    "mistral": "llama",  # a comment
}
MODEL_ARCHITECTURE_REMAPPING = {
    ("hybrid", "HybridV3"): "llama",
}
MAX_FILE_SIZE_GB = 5
"""
_IMPORT_ALL = """
import importlib, json, pkgutil, mlx_lm.models
offers = {}
for module in pkgutil.iter_modules(mlx_lm.models.__path__):
    try:
        offers[module.name] = hasattr(importlib.import_module("mlx_lm.models." + module.name), "Model")
    except SystemExit:
        pass  # olmo exits when its own package is missing
print(json.dumps(offers))
"""


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _install(site: Path, runtime: Runtime) -> None:
    """Write packages as their wheels install them."""
    if runtime.backend:
        _write(site / "mlx", {"lib/libmlx.so": "ELF"})
    if runtime.mlx_lm is not None:
        _write(site / "mlx_lm", {"_version.py": f'__version__ = "{runtime.mlx_lm.version}"\n', "utils.py": _LM_UTILS})
        _write(site / "mlx_lm/models", _MODELS)
    if runtime.mlx_vlm is not None:
        _write(
            site / "mlx_vlm",
            {
                "version.py": f"__version__ = '{runtime.mlx_vlm.version}'\n",
                "utils.py": 'MODEL_REMAPPING = {"lfm2-vl": "qwen2_vl"}\n',
                "models/qwen2_vl/__init__.py": "from .qwen2_vl import Model as Model\n",
                "models/bert/__init__.py": "from .bert import (\n    Model,\n)\n",
                "models/bert/bert.py": "class Model: ...\n",
                "models/qwen2_vl/qwen2_vl.py": "class Model: ...\n",
                "models/kernels/__init__.py": "",
                "models/kernels/kernels.py": "def kernel(): ...\n",
                "models/cache.py": "class Cache: ...\n",
            },
        )


_TOKENIZERS = """
MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS: set[str] = {
    "phi3",
    "qwen2",
}
TOKENIZER_MAPPING_NAMES = OrderedDict[str, str | None](
    [
        ("qwen2", "Qwen2Tokenizer" if is_tokenizers_available() else None),
        ("byt5", "ByT5Tokenizer"),
    ]
)
OTHER = [("gpt2", "GPT2Tokenizer")]
"""


class Contract(ABC):
    @abstractmethod
    def inventory(self, runtime: Runtime, site: Path) -> RuntimeInventory:
        """Return an inventory of a machine with these packages."""

    @pytest.mark.parametrize("backend", [True, False])
    @pytest.mark.parametrize("mlx_lm", [_LM, None])
    @pytest.mark.parametrize("mlx_vlm", [_VLM, None])
    def test_the_installed_packages_are_found(
        self, place: Path, mlx_lm: RuntimePackage | None, mlx_vlm: RuntimePackage | None, *, backend: bool
    ) -> None:
        runtime = Runtime(backend=backend, mlx_lm=mlx_lm, mlx_vlm=mlx_vlm)
        assert self.inventory(runtime, place).installed() == runtime

    def test_a_second_call_returns_the_same(self, place: Path) -> None:
        inventory = self.inventory(Runtime(backend=True, mlx_lm=_LM), place)
        assert inventory.installed() == inventory.installed()


class TestFake(Contract):
    def inventory(self, runtime: Runtime, site: Path) -> RuntimeInventory:
        del site
        return FakeInventory(runtime)


class TestReal(Contract):
    def inventory(self, runtime: Runtime, site: Path) -> RuntimeInventory:
        _install(site, runtime)
        return InstalledPackages((str(site),))

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            (_TOKENIZERS, {"phi3": "TokenizersBackend", "qwen2": "Qwen2Tokenizer", "byt5": "ByT5Tokenizer"}),
            ("TOKENIZER_MAPPING_NAMES = load()\n", {}),
            ("", {}),
        ],
    )
    def test_the_tokenizer_classes_of_transformers_are_read(
        self, place: Path, source: str, expected: dict[str, str]
    ) -> None:
        _write(place / "transformers", {"models/auto/tokenization_auto.py": source})
        assert InstalledPackages((str(place),)).installed().tokenizers == expected

    def test_the_installed_transformers_has_tokenizer_classes(self) -> None:
        found = InstalledPackages().installed().tokenizers
        expected = {"qwen2": "Qwen2Tokenizer", "gpt2": "GPT2Tokenizer", "phi3": "TokenizersBackend"}
        assert expected.items() <= found.items()

    def test_no_code_of_the_packages_runs(self, place: Path) -> None:
        _install(place, Runtime(backend=False, mlx_lm=_LM))
        for file in ("mlx_lm/__init__.py", "mlx_lm/models/llama.py"):
            with (place / file).open("a") as source:
                source.write("class Model: ...\nraise SystemExit\n")
        assert InstalledPackages((str(place),)).installed().mlx_lm == _LM

    def test_the_first_folder_that_has_a_package_wins(self, place: Path) -> None:
        _install(place / "one", Runtime(backend=True))
        _install(place / "two", Runtime(backend=False, mlx_lm=_LM, mlx_vlm=_VLM))
        folders = (str(place / "none"), str(place / "one"), str(place / "two"))
        assert InstalledPackages(folders).installed() == Runtime(backend=True, mlx_lm=_LM, mlx_vlm=_VLM)

    def test_an_empty_package_has_no_architectures(self, place: Path) -> None:
        (place / "mlx_lm").mkdir()
        found = InstalledPackages((str(place),)).installed().mlx_lm
        assert found == RuntimePackage(name="mlx-lm", version="unknown", architectures=frozenset())

    @pytest.mark.parametrize(
        "source",
        [
            "MODEL_REMAPPING = dict(a='b')\n",
            "MODEL_REMAPPING = {**OTHER}\n",
            "MODEL_REMAPPING = {'a': f()}\n",
            "MODEL_REMAPPING = {'a'\n",
            "MODEL_REMAPPING = {'a', 'b'}\n",
            "MODEL_REMAPPING = {['a']: 'b'}\n",
            "MODEL_REMAPPING = {1: 2}\n",
            "MODEL_REMAPPING = {'a': " + "-" * 5_000 + "1}\n",
            "MODEL_REMAPPING = {'a': " + "(" * 500 + ")" * 500 + "}\n",
            "\0",
            "",
        ],
        ids=range(11),
    )
    def test_a_table_that_is_not_a_plain_literal_counts_as_empty(self, place: Path, source: str) -> None:
        _write(place / "mlx_lm", {"utils.py": source, "_version.py": "__version__ = get()\n"})
        found = InstalledPackages((str(place),)).installed().mlx_lm
        assert found is not None
        assert (found.remapping, found.version) == ({}, "unknown")

    def test_source_files_that_cannot_be_read_are_ignored(self, place: Path) -> None:
        _install(place, Runtime(backend=False, mlx_lm=_LM))
        models = place / "mlx_lm/models"
        (models / "loop").symlink_to("loop")
        (models / "folder.py").mkdir()
        (models / "gone.py").symlink_to("nowhere")
        (models / "bytes.py").write_bytes(b"\xff\xfe\0")
        (place / "mlx_lm/utils.py").write_bytes(b"\xff")
        found = InstalledPackages((str(place),)).installed().mlx_lm
        assert found is not None
        assert (found.architectures, found.remapping) == (_LM.architectures, {})


class TestTheInstalledMlxLm:
    def test_its_architectures_are_found_and_other_modules_are_not(self) -> None:
        found = InstalledPackages().installed().mlx_lm
        assert found is not None
        assert {"llama", "qwen3", "solar_open", "nemotron-nas"} <= found.architectures
        assert found.architectures.isdisjoint({"cache", "base", "rope_utils", "switch_layers", "ssm", "__init__"})

    def test_its_tables_equal_those_of_an_import(self) -> None:
        code = (
            "import json, mlx_lm, mlx_lm.utils as u;"
            "print(json.dumps([mlx_lm.__version__, u.MODEL_REMAPPING,"
            "[[*key, value] for key, value in u.MODEL_ARCHITECTURE_REMAPPING.items()]]))"
        )
        output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        version, remapping, by_class = json.loads(output.splitlines()[-1])
        found = InstalledPackages().installed().mlx_lm
        assert found is not None
        assert (found.version, found.remapping) == (version, remapping)
        assert found.class_remapping == {(declared, name): target for declared, name, target in by_class}

    def test_every_architecture_and_no_other_module_has_a_model_class(self) -> None:
        output = subprocess.run([sys.executable, "-c", _IMPORT_ALL], check=True, capture_output=True, text=True).stdout
        offers_model: dict[str, bool] = json.loads(output.splitlines()[-1])
        found = InstalledPackages().installed().mlx_lm
        assert found is not None
        assert {name for name in offers_model if name in found.architectures} == {
            name for name, offers in offers_model.items() if offers
        }
