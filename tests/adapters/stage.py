"""A cache and a workspace home on a real disk, and the library opened on them."""

from __future__ import annotations

from pathlib import Path

import attrs

import mlxknife
from mlxknife import App, ModelHealth, ModelInfo
from tests.builder import BuiltModel, CacheBuilder, Files, chat_files, write_workspace

GOOD = ("good/first-chat", "good/second-chat", "mlx-community/third-chat")
SICK = "sick/model"


@attrs.frozen
class Stage:
    """Where a test creates its models, and how it reads them through the library."""

    hub: Path
    home: Path

    @property
    def cache(self) -> CacheBuilder:
        return CacheBuilder(self.hub)

    def app(self) -> App:
        # The settings of the user who runs the tests are not read.
        environment = {"XDG_CONFIG_HOME": str(self.hub.parent / "config")}
        return mlxknife.open_app(hub_cache=self.hub, workspace_home=self.home, environment=environment)

    def good_models(self) -> None:
        for name in GOOD:
            self.cache.model(name, chat_files())

    def model(self, files: Files | None = None, *, name: str = SICK) -> BuiltModel:
        return self.cache.model(name, files)

    def workspace(self, name: str, files: Files | None = None) -> Path:
        return write_workspace(self.home / name, files)

    def listed(self) -> dict[str, ModelInfo]:
        return {model.name: model for model in self.app().catalog.list()}

    def checked(self) -> dict[str, ModelHealth]:
        return {entry.name: entry for entry in self.app().health.check().entries}

    def only(self) -> ModelInfo:
        (model,) = self.app().catalog.list()
        return model
