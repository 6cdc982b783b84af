"""The rules of the house hold, and a change that breaks one fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import mlxknife
from tests.e2e.processes import BIN

PACKAGE = Path(mlxknife.__file__).parent
CONFIG = PACKAGE.parent / "pyproject.toml"
DATA_TABLES = {"domain/compatibility/rules/architecture_versions.py", "domain/settings/values/table.py"}
MAX_LINES = 300
VAGUE = {"utils.py", "util.py", "helpers.py", "common.py", "manager.py", "misc.py"}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Copy the package and its contracts, so that a test may break them."""
    shutil.copytree(PACKAGE, tmp_path / "mlxknife", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CONFIG, tmp_path / "pyproject.toml")
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the import contracts in a folder that holds a package and its config."""
    return subprocess.run(
        [str(BIN / "lint-imports"), "--no-cache"],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(folder), "LC_ALL": "C.UTF-8", "COLUMNS": "400"},
        capture_output=True,
        check=False,
        text=True,
    )


def test_the_contracts_are_kept(copied: Path) -> None:
    outcome = lint(copied)
    assert outcome.returncode == 0, outcome.stdout
    assert " 0 broken" in outcome.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("domain/catalog/rules/model_card.py", "import os", "hexagon-is-pure"),
        ("domain/catalog/rules/model_card.py", "import mlxknife.domain.catalog.services.catalog", "subject-layers"),
        ("domain/catalog/rules/model_card.py", "import mlxknife.domain.integrity.services.health", "rules-are-pure"),
        ("domain/catalog/rules/model_card.py", "import mlxknife.ports.system.system", "rules-are-pure"),
        ("domain/models/values/info.py", "import msgspec", "hexagon-is-pure"),
        ("domain/models/values/info.py", "import mlxknife.domain.names.rules.naming", "values-are-plain"),
        ("domain/removal/values.py", "import mlxknife.domain.removal.rules", "subject-layers"),
        ("domain/errors.py", "import mlxknife.domain.models.values.info", "errors-at-the-bottom"),
        ("ports/system/system.py", "import mlxknife.domain.names.rules.naming", "ports-are-plain"),
        ("domain/integrity/services/health.py", "import mlxknife.adapters.system.machine", "adapters-home"),
        ("cli/commands/list.py", "import mlxknife.adapters.hfcache.model_store", "adapters-home"),
        ("adapters/system/machine.py", "import mlxknife.adapters.hfcache.model_store", "adapters-are-independent"),
        ("adapters/system/machine.py", "import mlxknife.domain.catalog.rules.model_card", "adapters-see-ports-only"),
        ("adapters/packages/inventory.py", "import mlx_lm", "mlx-home"),
        ("http/core/state.py", "import mlxknife.http.apis.openai.routes", "http-layers"),
        ("http/core/state.py", "import uvicorn", "uvicorn-home"),
        ("adapters/gguf/importer.py", "import mlx.core", "gguf-without-mlx"),
        ("adapters/gguf/importer.py", "import mlxknife.adapters.mlx.runtime.cpu", "gguf-without-mlx"),
    ],
)
def test_a_crossed_floor_fails_the_build(copied: Path, module: str, line: str, contract: str) -> None:
    path = copied / "mlxknife" / module
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("from __future__ import annotations\n", f"from __future__ import annotations\n{line}\n")
    )
    outcome = lint(copied)
    assert outcome.returncode != 0
    broken = {line.removesuffix(" BROKEN") for line in outcome.stdout.splitlines() if line.endswith(" BROKEN")}
    assert contract_name(contract) in broken


def contract_name(contract_id: str) -> str:
    contracts = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (name,) = [contract["name"] for contract in contracts if contract["id"] == contract_id]
    assert isinstance(name, str)
    return name


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_no_file_forks_the_process() -> None:
    """A fork copies only the calling thread, so its locks may stay locked for ever; macOS libraries abort after one."""
    assert [path for path in sources() if "os.fork" in path.read_text(encoding="utf-8")] == []


def test_no_file_is_too_long_to_read() -> None:
    long = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name for name, lines in long.items() if lines > MAX_LINES} <= DATA_TABLES
    assert long.keys() >= DATA_TABLES


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [path for path in sources() if path.name in VAGUE] == []


def test_every_file_says_what_it_is_for() -> None:
    assert [path for path in sources() if not path.read_text(encoding="utf-8").lstrip().startswith(('"""', "#!"))] == []


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
