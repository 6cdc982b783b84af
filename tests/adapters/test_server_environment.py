"""The settings of a server from environment variables."""

from __future__ import annotations

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.settings.values.settings import ServerSettings
from mlxknife.wiring.settings import server_settings as settings_of
from mlxknife.wiring.settings import sources


def server_settings(environment: dict[str, str]) -> ServerSettings:
    return settings_of(sources(environment, {}))


def test_by_default_a_server_listens_on_this_machine_only() -> None:
    assert server_settings({}) == ServerSettings()
    assert (ServerSettings().host, ServerSettings().port) == ("127.0.0.1", 8000)


@pytest.mark.parametrize(
    ("variable", "value", "settings"),
    [
        ("HOST", "0.0.0.0", ServerSettings(host="0.0.0.0")),
        ("PORT", "9000", ServerSettings(port=9000)),
        ("PRELOAD_MODEL", "org/name", ServerSettings(models=("org/name",))),
        ("API_KEY", "secret", ServerSettings(api_key="secret")),
        ("MAX_TOKENS", "4096", ServerSettings(max_tokens=4096)),
        ("LOG_LEVEL", "warning", ServerSettings(log_level="warning")),
        ("LOG_JSON", "1", ServerSettings(log_json=True)),
        ("LOG_JSON", "0", ServerSettings()),
        ("RELOAD", "1", ServerSettings(reloads=True)),
        ("RELOAD", "off", ServerSettings()),
        ("PORT", "", ServerSettings()),
    ],
)
def test_each_variable_sets_a_field_and_mlxk_wins(variable: str, value: str, settings: ServerSettings) -> None:
    assert server_settings({f"MLXK_{variable}": value}) == settings
    assert server_settings({f"MLXK2_{variable}": value}) == settings
    if value:
        assert server_settings({f"MLXK2_{variable}": "7", f"MLXK_{variable}": value}) == settings


@pytest.mark.parametrize("value", ["x", "-1", "1.5", " 1", "1e3", "9" * 30, "\u0661"])
def test_a_value_that_is_no_number_is_rejected(value: str) -> None:
    with pytest.raises(ValidationError, match="MLXK_PORT"):
        server_settings({"MLXK_PORT": value})


@pytest.mark.parametrize("prefix", ["MLXK_", "MLXK2_"])
@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "65536"), ("MAX_TOKENS", "0"), ("LOG_LEVEL", "loud"), ("HOST", " ")]
)
def test_a_variable_is_named_as_the_user_wrote_it(prefix: str, name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=f"^{prefix}{name} "):
        server_settings({f"{prefix}{name}": value})
