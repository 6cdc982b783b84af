"""Importing and starting is cheap: nothing is loaded that the moment does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builder import CacheBuilder
from tests.e2e.processes import BIN, Machine

HEAVY = ("mlx", "mlx_lm", "mlx_vlm", "huggingface_hub", "transformers", "numpy", "torch", "starlette", "uvicorn")
TOOLS = ("attrs", "attr", "tomlkit", "msgspec")
PEOPLE = ("rich", "click", "typer")


def loaded(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has after some code."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


AT_EXIT = """
import atexit, runpy, sys
atexit.register(lambda: print(*sys.modules, sep="\\n", file=sys.stderr))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def imported_by(machine: Machine, *words: str) -> set[str]:
    """Return every module that a process of the real program has when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(BIN / "mlxk"), *words],
        env=machine.environment(),
        capture_output=True,
        check=True,
        text=True,
    )
    return set(done.stderr.splitlines())


def timed_imports(machine: Machine, *words: str) -> set[str]:
    """Return the modules that Python's own report names: also those that were dropped again."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(BIN / "mlxk"), *words],
        env=machine.environment(),
        capture_output=True,
        check=True,
        text=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    CacheBuilder(machine.hub).model("mlx-community/model")
    return machine


def test_importing_the_library_loads_nothing_heavy() -> None:
    assert loaded("import mlxknife") & {*HEAVY, *TOOLS, *PEOPLE} == set()


def test_importing_the_library_loads_none_of_its_own_floors() -> None:
    script = "import sys, mlxknife\nprint(*(name for name in sys.modules if name.startswith('mlxknife')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert set(done.stdout.split()) == {"mlxknife", "mlxknife.version"}


def test_using_the_library_loads_no_backend_and_no_hub() -> None:
    assert (
        loaded("import mlxknife; mlxknife.open_app(hub_cache='/nowhere').catalog.list()") & {*HEAVY, *PEOPLE} == set()
    )


def test_the_gguf_importer_loads_no_mlx() -> None:
    modules = loaded("import mlxknife.adapters.gguf.importer")
    assert "numpy" in modules
    assert modules & {"mlx", "mlx_lm", "mlx_vlm", "transformers", "torch"} == set()


@pytest.mark.parametrize("words", [["--version"], ["--help"]], ids=" ".join)
def test_the_shortest_commands_load_no_tools_either(machine: Machine, words: list[str]) -> None:
    modules = timed_imports(machine, *words)
    assert "mlxknife.cli.main" in modules
    assert packages(modules) & {*HEAVY, *TOOLS, *PEOPLE} == set()
    assert {name for name in modules if name.startswith("mlxknife.adapters")} == set()


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["health"], ["show", "model", "--json"]], ids=" ".join)
def test_the_catalog_runs_without_what_it_reports_on(machine: Machine, words: list[str]) -> None:
    modules = imported_by(machine, *words) | timed_imports(machine, *words)
    assert "mlxknife.adapters.hfcache.model_store" in modules
    assert packages(modules) & {*HEAVY, *PEOPLE} == set()


def test_a_command_loads_no_other_command(machine: Machine) -> None:
    commands = {name for name in imported_by(machine, "list") if name.startswith("mlxknife.cli.commands.")}
    assert commands == {"mlxknife.cli.commands.list"}
