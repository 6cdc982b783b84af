"""The settings of this process where files cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxknife import open_app
from mlxknife.domain.errors import AccessDenied
from tests.contracts.permissions import forbidden, shared_folder


def config_of(home: Path) -> Path:
    file = home / "mlxk/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('hub_cache = "/data"\n')
    return file


def test_the_config_file_in_the_home_of_another_user_is_not_ours() -> None:
    with shared_folder() as home:
        config_of(home / "home")
        environment = {"XDG_CONFIG_HOME": str(home / "home"), "HOME": str(home)}
        assert open_app(environment=environment).settings.hub_cache == "/data"
        with forbidden(home / "home"):
            assert open_app(environment=environment).settings.hub_cache != "/data"


def test_a_config_file_that_cannot_be_read_is_an_error() -> None:
    with shared_folder() as home:
        file = config_of(home)
        with forbidden(file), pytest.raises(AccessDenied, match=r"The config file cannot be read: .*config\.toml: "):
            open_app(environment={"XDG_CONFIG_HOME": str(home)})
