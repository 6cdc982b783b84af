"""``mlxk config``: settings and their sources, and changes of the config file, also of a broken one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.builder import chat_files, gguf_files
from tests.e2e.processes import Machine, Outcome
from tests.e2e.test_settings import configured
from tests.fake_hub import READER, FakeHub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def config_path(machine: Machine, environment: dict[str, str]) -> Path:
    return Path(machine.run("config", "path", environment=environment).out.removesuffix("\n"))


def settings(outcome: Outcome) -> dict[str, dict[str, object]]:
    found = outcome.data()["settings"]
    assert isinstance(found, list)
    return {setting["key"]: setting for setting in found}


def test_each_setting_is_shown_with_its_source(machine: Machine) -> None:
    environment = configured(machine, '[serve]\nport = 9000\nmodel = ["a", "b"]\napi_key = "s3cret"\n')
    environment |= {"MLXK2_LOG_LEVEL": "error", "HF_TOKEN": "hf_s3cret", "HF_ENDPOINT": "https://me:s3cret@hub.example"}
    outcome = machine.run("config", "--json", environment=environment)
    found = settings(outcome)
    assert "s3cret" not in outcome.out
    expected = {"key": "serve.port", "value": 9000, "source": "file", "variable": None, "default": 8000}
    assert found["serve.port"] == expected
    assert (found["serve.log_level"]["value"], found["serve.log_level"]["variable"]) == ("error", "MLXK2_LOG_LEVEL")
    assert (found["serve.api_key"]["value"], found["pull.token"]["value"]) == ("********", "********")
    assert found["pull.endpoint"]["value"] == "https://***@hub.example"
    assert (found["pipes"]["value"], found["pipes"]["source"]) == (True, "default")
    text = machine.run("config", environment=environment)
    assert "s3cret" not in text.out
    rows = [[cell.strip() for cell in line.split("|")] for line in text.out.splitlines()]
    assert ["serve.port", "9000", "config file"] in rows
    assert ["serve.model", '["a", "b"]', "config file"] in rows
    assert ["serve.log_level", "error", "MLXK2_LOG_LEVEL"] in rows
    assert ["serve.host", "127.0.0.1", "default"] in rows


def test_a_set_value_is_used_and_an_unset_one_no_more(machine: Machine) -> None:
    machine.cache.model("org/base", gguf_files())
    environment = machine.environment(XDG_CONFIG_HOME=str(machine.root / "settings"))
    hidden = machine.run("list", environment=environment).out
    done = machine.run("config", "set", "list.all", "true", environment=environment)
    assert done.out == f"list.all = true in {config_path(machine, environment)}\n"
    shown = machine.run("list", environment=environment).out
    assert shown != hidden
    assert machine.run("list", "--all", environment=environment).out == shown
    assert machine.run("list", "--no-all", environment=environment).out == hidden
    assert machine.run("config", "unset", "list.all", "--json", environment=environment).data()["changed"] is True
    assert machine.run("list", environment=environment).out == hidden
    assert machine.run("config", "unset", "list.all", "--json", environment=environment).data()["changed"] is False


def test_a_variable_that_wins_is_named(machine: Machine) -> None:
    environment = configured(machine, "") | {"MLXK_PORT": "7"}
    text = machine.run("config", "set", "serve.port", "9000", environment=environment).out
    assert "MLXK_PORT wins over it: serve.port stays 7" in text
    (found,) = settings(machine.run("config", "set", "serve.port", "9001", "--json", environment=environment)).values()
    assert (found["value"], found["source"]) == (7, "variable")
    assert config_path(machine, environment).read_text() == "[serve]\nport = 9001\n"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("set", "serve.prot", "1"), "unknown key 'serve.prot'", "Did you mean serve.port?"),
        (("set", "serve.port", "x"), "serve.port must be an integer, not 'x'", None),
        (("set", "serve.port", "70000"), "serve.port must be between 0 and 65535, not 70000", None),
        (("set", "serve.port", "1", "2"), "serve.port takes one value, not 2", None),
        (("set", "run.temperature", "-1"), "run.temperature must be between", None),
        (("set", "run.kv_bits", "7"), "run.kv_bits must be one of", None),
        (("set", "serve.cors", "foo"), "serve.cors must be an origin", "null stands for"),
        (("set", "pull.endpoint", "ftp://x"), "pull.endpoint is not the URL of a Hub", "It begins with"),
        (("set", "serve.api_key", "schlüssel"), "serve.api_key must consist of visible ASCII", "Leave it out"),
        (("set", "\x1b[31mred", "1"), r"unknown key '\x1b[31mred'", "List the keys with: mlxk config"),
        (("set", "serve.port"), "set needs a key and a value", "Write mlxk config set KEY VALUE"),
        (("unset", "nothing.like.it"), "unknown key 'nothing.like.it'", "List the keys"),
        (("path", "more"), "path takes no further words, not 1", "See mlxk config --help"),
        (("paht",), "argument ACTION: invalid choice: 'paht'", "See mlxk config --help"),
    ],
    ids=lambda words: " ".join(words[:3]) if isinstance(words, tuple) else "",
)
def test_a_wrong_word_is_refused_and_nothing_changes(
    machine: Machine, words: tuple[str, ...], message: str, hint: str | None
) -> None:
    environment = configured(machine, "pipes = true\n")
    outcome = machine.run("config", *words, "--json", environment=environment)
    error = outcome.error()
    assert (outcome.code, error["type"]) == (1, "ValidationError")
    assert str(error["message"]).startswith(message)
    assert hint is None or str(error.get("hint")).startswith(hint)
    assert config_path(machine, environment).read_text() == "pipes = true\n"


def test_a_file_with_a_key_is_private(machine: Machine) -> None:
    environment = configured(machine, "# mine\n")
    machine.run("config", "set", "serve.api_key", "s3cret", environment=environment)
    path = config_path(machine, environment)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == '# mine\n\n[serve]\napi_key = "s3cret"\n'


@pytest.mark.parametrize("text", ["this is no toml\n", 'prot = 1\n[serve]\nport = "x"\n', b"\xff\xfe\n"])
def test_a_broken_file_stops_neither_path_nor_edit_nor_version(machine: Machine, text: str | bytes) -> None:
    environment = configured(machine, text)
    assert machine.run("list", environment=environment).code == 1
    for words in (
        ["--version"],
        ["version"],
        ["version", "--json"],
        ["config", "path", "--json"],
        ["config", "--help"],
    ):
        assert (machine.run(*words, environment=environment).code, words) == (0, words)
    shown = machine.run("config", "--json", environment=environment)
    assert (shown.code, shown.error()["type"]) == (1, "ValidationError")
    environment["EDITOR"] = 'sh -c \'echo "pipes = false" > "$0"\''
    edited = machine.run("config", "edit", "--json", environment=environment)
    assert (edited.code, edited.data()["changed"]) == (0, True)
    assert machine.run("list", environment=environment).code == 0
    assert config_path(machine, environment).read_text() == "pipes = false\n"


def test_an_unknown_key_and_a_wrong_value_of_a_file_can_be_mended_one_by_one(machine: Machine) -> None:
    environment = configured(machine, 'prot = 1  # a mistake\n\n[serve]\nport = "x"\n')
    assert machine.run("config", "unset", "prot", environment=environment).code == 0
    assert machine.run("config", "set", "serve.port", "9000", environment=environment).code == 0
    assert machine.run("list", environment=environment).code == 0


def test_an_edited_text_with_an_error_is_kept_and_not_used(machine: Machine) -> None:
    environment = configured(machine, "pipes = true\n") | {"TMPDIR": str(machine.root)}
    environment["VISUAL"] = 'sh -c \'echo "serve.prot = 1" >> "$0"\''
    outcome = machine.run("config", "edit", environment=environment)
    assert outcome.code == 1
    assert "unknown key 'serve.prot'" in outcome.err
    (kept,) = machine.root.glob("mlxk-config-*.toml")
    assert f"your text is kept in {kept}" in outcome.err
    assert kept.read_text() == "pipes = true\nserve.prot = 1\n"
    assert config_path(machine, environment).read_text() == "pipes = true\n"


def test_an_editor_that_changes_nothing_or_fails_leaves_no_file(machine: Machine) -> None:
    environment = machine.environment(XDG_CONFIG_HOME=str(machine.root / "settings"), TMPDIR=str(machine.root))
    assert machine.run("config", "edit", environment=environment).err.startswith("error: There is no terminal")
    quiet = machine.run("config", "edit", environment=environment | {"EDITOR": "true"})
    assert (quiet.code, quiet.out.startswith("Nothing changed: ")) == (0, True)
    failing = machine.run("config", "edit", environment=environment | {"EDITOR": "false"})
    assert (failing.code, failing.err) == (1, "error: The editor ended with 1: nothing was changed\n")
    missing = machine.run("config", "edit", environment=environment | {"EDITOR": "no-such-editor"})
    assert missing.code == 1
    assert "The editor cannot be started: no-such-editor" in missing.err
    assert machine.run("config", "edit", environment=environment | {"EDITOR": "unclosed '"}).code == 1
    assert not config_path(machine, environment).exists()
    assert list(machine.root.glob("mlxk-config-*")) == []


def test_a_new_file_offers_every_key_as_a_comment(machine: Machine) -> None:
    environment = configured(machine, "") | {"EDITOR": 'sh -c \'sed -i "s/^# port = 8000/port = 9000/" "$0"\''}
    path = config_path(machine, environment)
    path.unlink()
    assert machine.run("config", "edit", environment=environment).out == f"Saved {path}\n"
    keys = {line.split(" = ")[0] for line in path.read_text().splitlines() if line.startswith("# ") and " = " in line}
    assert {"# hub_cache", "# api_key", "# temperature"} <= keys
    assert settings(machine.run("config", "--json", environment=environment))["serve.port"]["value"] == 9000


def test_options_of_run_and_serve_come_from_the_file(machine: Machine) -> None:
    """A value that the engine could not take shows that it arrives: nothing is loaded."""
    machine.cache.model("org/model")
    environment = machine.environment(XDG_CONFIG_HOME=str(machine.root / "settings"))
    machine.run("config", "set", "run.system", "@/nowhere", environment=environment)
    refused = machine.run("run", "org/model", "Hello", environment=environment)
    assert "/nowhere" in refused.err
    machine.run("config", "set", "serve.max_loaded", "1", environment=environment)
    both = machine.run("serve", "--model", "a", "--model", "b", environment=environment)
    assert "max_loaded is 1, but 2 models are to stay loaded" in both.err


def test_pull_uses_the_endpoint_and_the_token_of_the_file(machine: Machine) -> None:
    with FakeHub() as hub:
        hub.add("org/model", chat_files(), private=True)
        environment = configured(machine, f'[pull]\nendpoint = "{hub.endpoint}"\ntoken = "{READER}"\n')
        done = machine.run("pull", "org/model", "--json", environment=environment)
        assert done.data()["download_status"] == "success"
        machine.run("config", "set", "pull.offline", "true", environment=environment)
        refused = machine.run("pull", "org/other", "--json", environment=environment)
        error = refused.document()["error"]
        assert isinstance(error, dict)
        assert (refused.code, error["type"]) == (2, "NetworkError")
        assert "pull.offline" in error["hint"]
