"""The file of ``run --tools``: which functions it offers, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import attrs
import pytest

import mlxknife
from mlxknife.adapters.functions.tool_functions import PythonFunctions
from mlxknife.cli.tool_files import read_tools
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.settings.values.settings import Settings
from tests.builder import chat_files, write_workspace

_TOOLS = '''
from __future__ import annotations
import json
from dataclasses import dataclass
from os.path import join

@dataclass
class Place:
    city: str

def weather(place: Place, days: int = 1) -> str:
    """Return the weather."""
    return f"{place.city} {days}"

def now():
    return "now"

def untyped(word):
    return word

def _hidden(word: str) -> str:
    return word

alias = weather
'''


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return mlxknife.open_app(
        hub_cache=str(tmp_path / "hub"), workspace_home=str(tmp_path / "models"), environment={}, reads_config=False
    ).settings


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    yield
    sys.modules.pop("mlxk_tools", None)


def read(folder: Path, text: str, settings: Settings, skipped: list[str] | None = None) -> tuple[FunctionType, ...]:
    file = folder / "tools.py"
    file.write_text(text, encoding="utf-8")
    return read_tools(str(file), settings, (skipped if skipped is not None else list[str]()).append)


def names(functions: tuple[FunctionType, ...]) -> list[str]:
    return [function.__name__ for function in functions]


def test_public_functions_with_type_hints_are_tools(tmp_path: Path, settings: Settings) -> None:
    skipped = list[str]()
    functions = read(tmp_path, _TOOLS, settings, skipped)
    assert (names(functions), skipped) == (["weather", "now"], ["untyped"])
    assert PythonFunctions().tool(functions[0]).description == "Return the weather."
    assert PythonFunctions().call(functions[0], '{"place": {"city": "Berlin"}}') == "Berlin 1"
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("TOOLS = [untyped, join]", ["untyped", "join"]),
        ("__all__ = ['now', 'untyped']", ["now", "untyped"]),
        ("TOOLS = (now,); __all__ = ['weather']", ["now"]),
    ],
)
def test_a_file_may_list_its_tools(tmp_path: Path, settings: Settings, more: str, expected: list[str]) -> None:
    assert names(read(tmp_path, _TOOLS + more, settings)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "tools.py is not valid Python: invalid syntax (line 1)"),
        ("\n1 / 0", "tools.py failed: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "tools.py failed: SystemExit: 3"),
        ("import no_such_module", "tools.py failed: ModuleNotFoundError"),
        ("x = 1", "tools.py defines no function"),
        ("def _f(): ...", "tools.py defines no function"),
        ("TOOLS = [1]", "lists what is no function: 1"),
        ("TOOLS = 1", "lists what is no function: 1"),
        ("__all__ = ['gone']", "lists what is no function: 'gone'"),
        ("TOOLS = []", "defines no function"),
    ],
)
def test_a_file_without_tools_is_refused(tmp_path: Path, settings: Settings, text: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(tmp_path, text, settings)
    assert message in caught.value.message


def test_a_ctrl_c_while_the_file_runs_is_no_error_of_the_file(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, "raise KeyboardInterrupt", settings)


def test_no_file_is_an_error_of_the_filesystem(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(FileNotFoundError):
        read_tools(str(tmp_path / "none.py"), settings, list[str]().append)


@pytest.mark.parametrize("place", ["hub/models--org--evil/snapshots/0", "models/evil/deep", "elsewhere/model"])
def test_no_code_in_a_folder_of_models_runs(tmp_path: Path, settings: Settings, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    if "elsewhere" in place:
        write_workspace(folder, chat_files())
    file = folder / "tools.py"
    file.write_text("raise SystemExit('it ran')")
    own = tmp_path / "own"
    own.mkdir()
    (own / "link.py").symlink_to(file)
    (own / "folder").symlink_to(folder)
    (folder / "out.py").symlink_to(own / "mine.py")
    (own / "mine.py").write_text("raise SystemExit('it ran')")
    for path in (file, own / "link.py", own / "folder" / "tools.py", folder / "out.py"):
        with pytest.raises(ValidationError, match="in a folder of models"):
            read_tools(str(path), settings, list[str]().append)


def test_a_link_of_the_user_to_a_file_of_the_user_is_fine(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "link.py").symlink_to(tmp_path / "tools.py")
    read(tmp_path, _TOOLS, settings)
    assert len(read_tools(str(tmp_path / "link.py"), attrs.evolve(settings), list[str]().append)) == 2


def test_what_the_file_prints_goes_to_stderr(tmp_path: Path) -> None:
    text = "import os, subprocess\nprint('one')\nsubprocess.run(['echo', 'two'])\ndef f(): ..."
    (tmp_path / "tools.py").write_text(text)
    program = (
        "import mlxknife; from mlxknife.cli.tool_files import read_tools; "
        "read_tools('tools.py', mlxknife.open_app(environment={}).settings, print); print('three')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, env={"HOME": "/"}
    )
    assert done.stdout == "three\n"
    assert sorted(done.stderr.split()) == ["one", "two"]


def test_a_file_that_is_not_python_is_not_run(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "schema.json"
    file.write_text("raise SystemExit", encoding="utf-8")
    with pytest.raises(ValidationError, match=r"schema\.json is not a \.py file"):
        read_tools(str(file), settings, list[str]().append)
