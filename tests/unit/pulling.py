"""A puller over a Hub and a cache in memory."""

from __future__ import annotations

import attrs

from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.names.services import Finder
from mlxknife.domain.transfer.services.puller import Puller
from mlxknife.domain.transfer.values import PullPlan, PullRequest
from tests.fakes.download_store import FakeDownloadStore, blobs_of
from tests.fakes.hasher import FakeHasher
from tests.fakes.hub import InMemoryHub
from tests.fakes.snapshot_reader import FakeReader
from tests.fakes.workspaces import FakeWorkspaces

NAME, FOLDER = "org/name", "models--org--name"
FILES = {"a.safetensors": b"first weights", "b.safetensors": b"other weights", "config.json": b"{}", "sub/x.txt": b"x"}
SIZE = sum(map(len, FILES.values()))
MORE = FILES | {"config.json": b"{ }", "new.txt": b"new"}


@attrs.define
class Bench:
    """A puller over a Hub and a cache in memory."""

    hub: InMemoryHub = attrs.field(factory=InMemoryHub)
    download_store: FakeDownloadStore = attrs.field(factory=FakeDownloadStore)
    disk: dict[str, bytes] = attrs.field(factory=dict)

    @property
    def puller(self) -> Puller:
        finder = Finder(self.download_store.store, FakeWorkspaces())
        return Puller(
            finder,
            Inspector(FakeReader(self.disk)),
            self.hub,
            self.download_store,
            FakeHasher(self.download_store.disk),
        )

    def pull(self, spec: str = NAME, request: PullRequest | None = None) -> PullPlan:
        plan = self.puller.plan(spec, request or PullRequest())
        self.puller.execute(plan)
        return plan

    def shown(self, commit: str, folder: str = FOLDER) -> dict[str, bytes | None]:
        """Return the blobs that the files of a snapshot link to."""
        links = self.download_store.snapshots[folder].get(commit, {})
        return {name: self.download_store.disk.get((blobs_of(folder), blob)) for name, blob in links.items()}

    def forget_stamps(self) -> None:
        for (location, blob), data in list(self.download_store.disk.items()):
            self.download_store.write(location.removesuffix("/blobs"), blob, data)

    @property
    def main(self) -> str:
        return self.hub.repos[NAME].refs["main"]
