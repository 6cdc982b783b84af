"""The config file on disk: changes keep comments, order, links and permissions, and are made in one step."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from mlxknife.adapters.system.config_file import TomlConfigFile
from mlxknife.domain.errors import StorageError, ValidationError
from tests.config_text import CONFIG_TEXT


def test_a_change_keeps_the_comment_behind_the_value_and_the_order() -> None:
    changed = TomlConfigFile("config.toml").changed(CONFIG_TEXT, "serve.port", 9001)
    assert changed == CONFIG_TEXT.replace("9000", "9001")
    assert TomlConfigFile("config.toml").changed(CONFIG_TEXT, "list.all", None) == CONFIG_TEXT.replace(
        "all = true\n", ""
    )


def test_a_new_key_outside_the_tables_is_written_before_them() -> None:
    changed = TomlConfigFile("config.toml").changed("[serve]\nport = 1\n", "pipes", value=False)
    assert tomllib.loads(changed) == {"pipes": False, "serve": {"port": 1}}


def test_a_private_text_is_readable_for_its_owner_only(tmp_path: Path) -> None:
    file = TomlConfigFile(str(tmp_path / "new" / "config.toml"))
    assert (file.exists(), file.text()) == (False, None)
    file.replace("a = 1\n", is_private=False)
    assert (file.text(), stat.S_IMODE(os.stat(file.path).st_mode)) == ("a = 1\n", 0o644)
    file.replace("a = 2\n", is_private=True)
    assert (file.text(), stat.S_IMODE(os.stat(file.path).st_mode)) == ("a = 2\n", 0o600)
    file.replace("a = 3\n", is_private=False)
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600
    assert os.listdir(tmp_path / "new") == ["config.toml"]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    target = tmp_path / "dotfiles" / "mlxk.toml"
    target.write_text("a = 1\n")
    link = tmp_path / "config.toml"
    link.symlink_to(target)
    TomlConfigFile(str(link)).replace("a = 2\n", is_private=False)
    assert link.is_symlink()
    assert target.read_text() == "a = 2\n"


def test_what_cannot_be_read_or_written_is_an_error_of_the_tree(tmp_path: Path) -> None:
    file = TomlConfigFile(str(tmp_path))
    with pytest.raises(StorageError, match="cannot be read"):
        file.text()
    with pytest.raises(StorageError, match="cannot be written"):
        file.replace("", is_private=False)
    assert list(tmp_path.parent.glob(".config-*")) == []
    large = tmp_path / "large.toml"
    large.write_text("#" * 1_000_001)
    with pytest.raises(ValidationError, match="1000000 bytes"):
        TomlConfigFile(str(large)).text()


@pytest.mark.parametrize("text", ["no toml", "a = 1\na = 2\n", "\udcff", "[" * 5000, "a=" + "[" * 5000])
def test_a_text_that_is_no_toml_is_refused_with_the_path(text: str) -> None:
    file = TomlConfigFile("/settings/config.toml")
    for act in (lambda: file.document(text), lambda: file.changed(text, "pipes", value=True)):
        with pytest.raises(ValidationError, match=r"/settings/config\.toml"):
            act()


@pytest.mark.timeout(10)
def test_a_fifo_in_its_place_is_empty_and_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    assert TomlConfigFile(str(tmp_path / "config.toml")).text() == ""
