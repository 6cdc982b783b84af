"""The command ``rm`` when a removal of several models fails half-way."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlxknife
from mlxknife.cli.commands import rm
from mlxknife.cli.console import Console
from mlxknife.cli.json_documents import FailedRmData, RemovedObject
from mlxknife.cli.result import CommandFailed
from mlxknife.domain.errors import StorageError
from mlxknife.domain.names.services import Finder
from mlxknife.domain.removal.services import Remover
from mlxknife.domain.removal.values import RemovalTarget
from tests.fakes.model_store import FakeStore
from tests.fakes.removal_store import FakeRemovalStore, StoredRepo
from tests.fakes.wiring import with_services
from tests.fakes.workspaces import FakeWorkspaces

_COMMIT = "a" * 40


class _FailingStore(FakeRemovalStore):
    """Cannot remove the second model."""

    def discard(self, target: RemovalTarget) -> None:
        if target.name == "org/two":
            msg = "The disk failed"
            raise StorageError(msg)
        super().discard(target)


def test_the_models_that_went_before_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, removal_store = FakeStore(), _FailingStore()
    for name in ("one", "two", "three"):
        removal_store.repos[f"models--org--{name}"] = StoredRepo({"blob": 7}, {_COMMIT: {"x": "blob"}})
        store.add(f"models--org--{name}", refs={"main": _COMMIT}, snapshots=(_COMMIT,))
    remover = Remover(Finder(store, FakeWorkspaces()), store, removal_store, FakeWorkspaces())
    app = with_services(mlxknife.open_app(hub_cache=tmp_path, environment={}), remover=lambda: remover)
    with pytest.raises(CommandFailed) as caught:
        rm.run(app, rm.RmOptions(("one", "two", "three")), Console(as_json=False))
    assert caught.value.error.message == "The disk failed"
    assert caught.value.data == FailedRmData("org/two", removed=(RemovedObject("org/one", None, 7),))
    assert capsys.readouterr().err == "Deleted org/one\n"
    assert removal_store.repos.keys() == {"models--org--two", "models--org--three"}
