"""Settings: flag, environment, config file, default; and Hugging Face's own variables as huggingface_hub reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builder import CacheBuilder, write_workspace
from tests.e2e.processes import Machine


def workspace_in(machine: Machine, home: str) -> Path:
    """Make a workspace home with one workspace named after it."""
    write_workspace(machine.root / home / f"from-{home}")
    return machine.root / home


def configured(machine: Machine, text: str | bytes) -> dict[str, str]:
    """Write the config file, and return an environment that leads to it on every platform."""
    base = machine.root / "user" / "settings"
    for folder in (base / "mlxk", machine.root / "user" / "Library" / "Application Support" / "mlxk"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return machine.bare_environment() | {"XDG_CONFIG_HOME": str(base)}


def test_the_own_variable_wins_over_the_old_one_and_both_over_the_file(machine: Machine) -> None:
    new, old, file = (str(workspace_in(machine, name)) for name in ("new", "old", "file"))
    environment = configured(machine, f'workspace_home = "{file}"\n')
    assert machine.run("list", "--json", environment=environment).names() == ["from-file"]
    environment["MLXK2_WORKSPACE_HOME"] = old
    assert machine.run("list", "--json", environment=environment).names() == ["from-old"]
    environment["MLXK_WORKSPACE_HOME"] = new
    assert machine.run("list", "--json", environment=environment).names() == ["from-new"]
    environment["MLXK_WORKSPACE_HOME"] = ""
    assert machine.run("list", "--json", environment=environment).names() == ["from-old"]


def test_without_any_setting_the_data_folder_has_the_workspaces(machine: Machine) -> None:
    user = machine.root / "user"
    for base in (user / ".local" / "share", user / "Library" / "Application Support"):
        write_workspace(base / "mlxk" / "workspaces" / "at-home")
    assert machine.run("list", "--json", environment=machine.bare_environment()).names() == ["at-home"]


def test_a_tilde_in_the_config_file_is_the_home(machine: Machine) -> None:
    write_workspace(machine.root / "user" / "mine" / "from-tilde")
    environment = configured(machine, 'workspace_home = "~/mine"\n')
    assert machine.run("list", "--json", environment=environment).names() == ["from-tilde"]


def test_the_config_file_may_name_the_cache_and_the_environment_wins(machine: Machine) -> None:
    CacheBuilder(machine.root / "in-file").model("org/from-file")
    CacheBuilder(machine.root / "in-variable").model("org/from-variable")
    environment = configured(machine, f'hub_cache = "{machine.root}/in-file"\n')
    assert machine.run("list", "--json", environment=environment).names() == ["org/from-file"]
    environment["HF_HUB_CACHE"] = str(machine.root / "in-variable")
    assert machine.run("list", "--json", environment=environment).names() == ["org/from-variable"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('workspace_hom = "x"\n', ["workspace_hom"]),
        ('workspace_home = "x"\nprot = 1\n', ["prot"]),
        ("workspace_home = 8000\n", ["workspace_home"]),
        ("[hub_cache]\nx = 1\n", ["hub_cache"]),
        ("this is no toml\n", ["line 1"]),
        (b"\xff\xfe\n", ["utf-8"]),
    ],
)
def test_a_wrong_config_file_is_refused_by_name(machine: Machine, text: str | bytes, words: list[str]) -> None:
    environment = configured(machine, text)
    outcome = machine.run("list", "--json", environment=environment)
    error = outcome.error()
    assert (outcome.code, error["type"]) == (1, "ValidationError")
    message = str(error["message"])
    assert "config.toml" in message
    assert [word for word in words if word not in message] == [], message
    plain = machine.run("list", environment=environment)
    assert (plain.code, plain.out) == (1, "")
    assert "Traceback" not in plain.err


def test_a_config_file_that_is_a_folder_is_refused(machine: Machine) -> None:
    environment = configured(machine, "")
    for path in (machine.root / "user").rglob("config.toml"):
        path.unlink()
        path.mkdir()
    outcome = machine.run("list", "--json", environment=environment)
    assert (outcome.code, outcome.error()["type"]) == (3, "FilesystemError")


def test_version_and_help_need_no_settings(machine: Machine) -> None:
    environment = configured(machine, "nonsense")
    assert machine.run("--version", environment=environment).code == 0
    assert machine.run("--help", environment=environment).code == 0


SURROUNDINGS: dict[str, dict[str, str]] = {
    "nothing": {},
    "HF_HOME": {"HF_HOME": "{root}/hf"},
    "HF_HUB_CACHE": {"HF_HUB_CACHE": "{root}/cache"},
    "old cache variable": {"HUGGINGFACE_HUB_CACHE": "{root}/old"},
    "XDG_CACHE_HOME": {"XDG_CACHE_HOME": "{root}/xdg"},
    "new over old": {"HF_HUB_CACHE": "{root}/new", "HUGGINGFACE_HUB_CACHE": "{root}/old"},
    "cache over home": {"HF_HUB_CACHE": "{root}/cache", "HF_HOME": "{root}/hf"},
    "old cache over home": {"HUGGINGFACE_HUB_CACHE": "{root}/old", "HF_HOME": "{root}/hf"},
    "home over XDG": {"HF_HOME": "{root}/hf", "XDG_CACHE_HOME": "{root}/xdg"},
    "tilde in the cache": {"HF_HUB_CACHE": "~/cache"},
    "tilde in the home": {"HF_HOME": "~/hf"},
    "tilde in XDG": {"XDG_CACHE_HOME": "~/xdg"},
    "variable in the cache": {"HF_HUB_CACHE": "$ELSEWHERE/cache", "ELSEWHERE": "{root}/else"},
    "variable in the home": {"HF_HOME": "${ELSEWHERE}/hf", "ELSEWHERE": "{root}/else"},
    "variable in XDG": {"XDG_CACHE_HOME": "$ELSEWHERE/xdg", "ELSEWHERE": "{root}/else"},
    "unknown variable": {"HF_HUB_CACHE": "{root}/$NO_SUCH_VARIABLE/cache"},
    "relative": {"HF_HUB_CACHE": "cache"},
    "empty cache": {"HF_HUB_CACHE": ""},
    "empty home": {"HF_HOME": ""},
    "empty XDG": {"XDG_CACHE_HOME": ""},
    "empty old": {"HUGGINGFACE_HUB_CACHE": ""},
}
ASK_BOTH = """
import os
from huggingface_hub.constants import HF_HUB_CACHE
from mlxknife import open_app
print(os.path.abspath(HF_HUB_CACHE))
print(open_app().settings.hub_cache)
"""


@pytest.mark.parametrize("variables", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
def test_the_cache_is_where_huggingface_hub_has_it(machine: Machine, variables: dict[str, str]) -> None:
    named = {name: value.replace("{root}", str(machine.root)) for name, value in variables.items()}
    done = subprocess.run(
        [sys.executable, "-c", ASK_BOTH],
        env=machine.bare_environment() | named,
        cwd=machine.root,
        capture_output=True,
        check=True,
        text=True,
    )
    theirs, ours = done.stdout.splitlines()
    assert ours == theirs


@pytest.mark.parametrize("name", ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HOME"])
def test_the_program_finds_the_models_there(machine: Machine, name: str) -> None:
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub", "HOME": ".cache/huggingface/hub"}
    folder = machine.root / "place"
    CacheBuilder(folder / below.get(name, "")).model("org/found")
    environment = machine.bare_environment() | {name: str(folder)}
    assert machine.run("list", "--json", environment=environment).names() == ["org/found"]


def test_the_old_switch_for_debugging(machine: Machine) -> None:
    (machine.root / "hub").write_text("no folder")
    for variables in ({"MLXK_DEBUG": "1"}, {"MLXK2_DEBUG": "true"}):
        assert "Traceback" in machine.run("list", environment=machine.environment(**variables)).err
    for variables in ({"MLXK_DEBUG": "0"}, {"MLXK2_DEBUG": "off"}, {"MLXK_DEBUG": "0", "MLXK2_DEBUG": "1"}):
        assert "Traceback" not in machine.run("list", environment=machine.environment(**variables)).err


def test_the_programs_are_installed_beside_python() -> None:
    folder = Path(sys.executable).parent
    assert all(os.access(folder / name, os.X_OK) for name in ("mlxk", "mlxk2", "mlxk-json", "mlx-run"))
