"""The application as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlxknife

_SECRETS = {
    "HF_TOKEN": "hf_secret",
    "MLXK_API_KEY": "key-secret",
    "HF_ENDPOINT": "https://name:hub-secret@hub.example",
    "SOMETHING": "else-secret",
}


def test_printing_the_app_shows_no_secret_of_the_environment(tmp_path: Path) -> None:
    app = mlxknife.open_app(hub_cache=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path), **_SECRETS})
    assert app.settings.hub_token == "hf_secret"
    assert app.server_settings().api_key == "key-secret"
    services = (app.catalog, app.finder, app.health, app.remover, app.sessions, app.tee)
    server = (app.server_settings(), app.servable_models(), app.model_pool())
    shown = "".join(map(repr, (app, app.settings, app.wiring, *services, *server)))
    assert "secret" not in shown
    assert str(tmp_path) in shown


def test_an_invalid_endpoint_is_named_without_its_password(tmp_path: Path) -> None:
    app = mlxknife.open_app(hub_cache=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path), **_SECRETS})
    with pytest.raises(mlxknife.ValidationError) as caught:
        _ = app.puller
    assert caught.value.message == "HF_ENDPOINT is not the URL of a Hub: 'https://***@hub.example'"
