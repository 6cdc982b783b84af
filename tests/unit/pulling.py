"""A puller over a Hub and a cache in memory."""

from __future__ import annotations

import attrs

from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.names.services import Finder
from mlxknife.domain.transfer.services.puller import Puller
from mlxknife.domain.transfer.values import PullPlan, PullRequest
from tests.fakes.hasher import FakeHasher
from tests.fakes.hub import RemoteShelf
from tests.fakes.intake import FakeIntake, blobs_of
from tests.fakes.snapshot_reader import FakeReader
from tests.fakes.workspaces import FakeWorkspaces

NAME, FOLDER = "org/name", "models--org--name"
FILES = {"a.safetensors": b"first weights", "b.safetensors": b"other weights", "config.json": b"{}", "sub/x.txt": b"x"}
SIZE = sum(map(len, FILES.values()))
MORE = FILES | {"config.json": b"{ }", "new.txt": b"new"}


@attrs.define
class Bench:
    """A puller over a Hub and a cache in memory."""

    hub: RemoteShelf = attrs.field(factory=RemoteShelf)
    intake: FakeIntake = attrs.field(factory=FakeIntake)
    disk: dict[str, bytes] = attrs.field(factory=dict)

    @property
    def puller(self) -> Puller:
        finder = Finder(self.intake.store, FakeWorkspaces())
        return Puller(finder, Inspector(FakeReader(self.disk)), self.hub, self.intake, FakeHasher(self.intake.disk))

    def pull(self, spec: str = NAME, request: PullRequest | None = None) -> PullPlan:
        plan = self.puller.plan(spec, request or PullRequest())
        self.puller.execute(plan)
        return plan

    def shown(self, commit: str, folder: str = FOLDER) -> dict[str, bytes | None]:
        """Return the blobs that the files of a snapshot link to."""
        links = self.intake.snapshots[folder].get(commit, {})
        return {name: self.intake.disk.get((blobs_of(folder), blob)) for name, blob in links.items()}

    def forget_proofs(self) -> None:
        for (location, blob), data in list(self.intake.disk.items()):
            self.intake.write(location.removesuffix("/blobs"), blob, data)

    @property
    def main(self) -> str:
        return self.hub.repos[NAME].refs["main"]
