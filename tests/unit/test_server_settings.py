"""Valid and invalid settings of the server."""

from __future__ import annotations

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.settings.rules import checks as server_settings
from mlxknife.domain.settings.values.settings import ServerSettings

_ORIGINS = """http://localhost http://localhost:3000 https://app.example HTTPS://App.Example/ http://[::1]:1 null *
app://obsidian.md""".split()
_NO_ORIGINS = [
    "foo",
    "",
    "app.example",
    "localhost:3000",
    "http://",
    "file://",
    "http://a/b",
    "http://a b",
    "http://a:x",
]
_NO_NAMES = ["", "our.name:8000", "http://our.name", "[::1]:80", "our name", "cafe:80", "schlüssel"]


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        (ServerSettings(port=-1), "port"),
        (ServerSettings(port=65536), "port"),
        (ServerSettings(host=" "), "host"),
        (ServerSettings(max_tokens=0), "max_tokens"),
        (ServerSettings(max_loaded=0), "max_loaded"),
        (ServerSettings(idle_seconds=-1.0), "idle_unload"),
        (ServerSettings(idle_seconds=float("nan")), "idle_unload"),
        (ServerSettings(log_level="loud"), "log_level"),
        (ServerSettings(profile="slow"), "cpu_profile"),
        (ServerSettings(api_key="schlüssel"), "api_key"),
        (ServerSettings(api_key=""), "api_key"),
        (ServerSettings(api_key=" key"), "api_key"),
        (ServerSettings(api_key="k\ney"), "api_key"),
        (ServerSettings(models=("a", "b"), max_loaded=1), "max_loaded"),
        *((ServerSettings(cors_origins=("null", origin)), "cors") for origin in _NO_ORIGINS),
        *((ServerSettings(allowed_hosts=("our.name", name)), "allow_host") for name in _NO_NAMES),
    ],
    ids=str,
)
def test_an_invalid_setting_is_refused_by_name(settings: ServerSettings, param: str) -> None:
    with pytest.raises(ValidationError, match=param) as refusal:
        server_settings.check(settings)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    "settings",
    [
        ServerSettings(),
        ServerSettings(port=0, host="::1", max_tokens=1, max_loaded=1, idle_seconds=0.0),
        ServerSettings(cors_origins=tuple(_ORIGINS)),
        ServerSettings(allowed_hosts=("our.name", "localhost", "10.0.0.1", "::1", "[::1]", "*")),
        ServerSettings(models=("a", "a"), max_loaded=1, profile="compact", log_level="debug", api_key="k"),
    ],
    ids=str,
)
def test_valid_settings_pass(settings: ServerSettings) -> None:
    server_settings.check(settings)


def test_an_api_key_is_not_in_the_repr() -> None:
    assert "hidden" not in repr(ServerSettings(api_key="hidden"))
