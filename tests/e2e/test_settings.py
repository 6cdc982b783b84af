"""The sources of settings and their order, and the variables of huggingface_hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builder import CacheBuilder, write_workspace
from tests.e2e.processes import Machine


def workspace_in(machine: Machine, home: str) -> Path:
    """Make a workspace home with one workspace of its name."""
    write_workspace(machine.root / home / f"from-{home}")
    return machine.root / home


def configured(machine: Machine, text: str | bytes) -> dict[str, str]:
    """Write the config file for every platform, and return an environment that uses it."""
    base = machine.root / "user" / "settings"
    for folder in (base / "mlxk", machine.root / "user" / "Library" / "Application Support" / "mlxk"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return machine.bare_environment() | {"XDG_CONFIG_HOME": str(base)}


def test_the_new_variable_wins_over_the_old_one_and_both_over_the_config_file(machine: Machine) -> None:
    new, old, file = (str(workspace_in(machine, name)) for name in ("new", "old", "file"))
    environment = configured(machine, f'workspace_home = "{file}"\n')
    assert machine.run("list", "--json", environment=environment).names() == ["from-file"]
    environment["MLXK2_WORKSPACE_HOME"] = old
    assert machine.run("list", "--json", environment=environment).names() == ["from-old"]
    environment["MLXK_WORKSPACE_HOME"] = new
    assert machine.run("list", "--json", environment=environment).names() == ["from-new"]
    environment["MLXK_WORKSPACE_HOME"] = ""
    assert machine.run("list", "--json", environment=environment).names() == ["from-old"]


def test_the_default_workspace_home_is_in_the_data_folder(machine: Machine) -> None:
    user = machine.root / "user"
    for base in (user / ".local" / "share", user / "Library" / "Application Support"):
        write_workspace(base / "mlxk" / "workspaces" / "at-home")
    assert machine.run("list", "--json", environment=machine.bare_environment()).names() == ["at-home"]


def test_a_tilde_in_the_config_file_is_the_home_directory(machine: Machine) -> None:
    write_workspace(machine.root / "user" / "mine" / "from-tilde")
    environment = configured(machine, 'workspace_home = "~/mine"\n')
    assert machine.run("list", "--json", environment=environment).names() == ["from-tilde"]


def test_the_config_file_can_set_the_cache_and_the_environment_wins(machine: Machine) -> None:
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
        (b"\xff\xfe\n", ["UTF-8"]),
    ],
)
def test_a_wrong_config_file_is_refused_with_the_name_of_the_key(
    machine: Machine, text: str | bytes, words: list[str]
) -> None:
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


@pytest.mark.parametrize("name", ["MLXK_ENABLE_PIPES", "MLXK2_ENABLE_PIPES", "pipes"])
def test_what_turns_stdin_off_is_named_as_the_user_wrote_it(machine: Machine, name: str) -> None:
    environment = machine.environment()
    if name.isupper():
        environment[name] = "0"
    else:
        assert machine.run("config", "set", name, "false").code == 0
    error = machine.run("run", "any", "-", "--json", environment=environment).error()
    assert (error["type"], error["message"]) == ("feature_disabled", f"{name} turns off reading from stdin")


def test_version_and_help_need_no_settings(machine: Machine) -> None:
    environment = configured(machine, "nonsense")
    assert machine.run("--version", environment=environment).code == 0
    assert machine.run("--help", environment=environment).code == 0


ENVIRONMENTS: dict[str, dict[str, str]] = {
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
PRINT_BOTH_PATHS = """
import os
from huggingface_hub.constants import HF_HUB_CACHE
from mlxknife import open_app
print(os.path.abspath(HF_HUB_CACHE))
print(open_app().settings.hub_cache)
"""


@pytest.mark.parametrize("variables", ENVIRONMENTS.values(), ids=ENVIRONMENTS.keys())
def test_the_cache_path_equals_that_of_huggingface_hub(machine: Machine, variables: dict[str, str]) -> None:
    named = {name: value.replace("{root}", str(machine.root)) for name, value in variables.items()}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_BOTH_PATHS],
        env=machine.bare_environment() | named,
        cwd=machine.root,
        capture_output=True,
        check=True,
        text=True,
    )
    theirs, ours = done.stdout.splitlines()
    assert ours == theirs


@pytest.mark.parametrize("name", ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HOME"])
def test_the_program_lists_the_models_of_that_cache(machine: Machine, name: str) -> None:
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub", "HOME": ".cache/huggingface/hub"}
    folder = machine.root / "place"
    CacheBuilder(folder / below.get(name, "")).model("org/found")
    environment = machine.bare_environment() | {name: str(folder)}
    assert machine.run("list", "--json", environment=environment).names() == ["org/found"]


def test_the_debug_variables_and_their_values(machine: Machine) -> None:
    (machine.root / "hub").write_text("no folder")
    for variables in ({"MLXK_DEBUG": "1"}, {"MLXK2_DEBUG": "true"}):
        assert "Traceback" in machine.run("list", environment=machine.environment(**variables)).err
    for variables in ({"MLXK_DEBUG": "0"}, {"MLXK2_DEBUG": "off"}, {"MLXK_DEBUG": "0", "MLXK2_DEBUG": "1"}):
        assert "Traceback" not in machine.run("list", environment=machine.environment(**variables)).err


def test_the_programs_are_installed_beside_python() -> None:
    folder = Path(sys.executable).parent
    assert all(os.access(folder / name, os.X_OK) for name in ("mlxk", "mlxk2", "mlxk-json", "mlx-run"))
