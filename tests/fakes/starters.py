"""A package index in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

import attrs

from mlxknife.domain.errors import DownloadFailed, HubOffline, KnifeError, WrongBytes
from mlxknife.domain.models.values.starter import Starter
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
        data = members.get(starter.member, b"")
        if hashlib.sha256(data).hexdigest() != starter.sha256 or len(data) != starter.size_bytes:
            msg = f"{starter.member} differs from the pinned file"
            raise WrongBytes(msg)
        progress.begin("checking", len(data))
        progress.advance(len(data))
        progress.end()
        self.fetched.append(starter.name)
        path = os.path.join(folder, starter.member.rpartition("/")[2])
        with open(path, "xb") as file:
            file.write(data)
        return path

    def _check_network(self) -> None:
        if self.is_offline:
            msg = "Offline mode is on"
            raise HubOffline(msg)
        if self.refusal is not None:
            raise self.refusal
