"""The place that models come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sinks


class Hub(Protocol):
    """Knows models by their full names, and sends their files.

    Every method may raise HubOffline, NetworkError when nobody answers, HubAuthError for a token that is not accepted,
    HubAccessDenied for a model that this user may not have, and DownloadFailed for everything else that the Hub says no
    to, or that cannot be right: after trying again where that can help.
    """

    def commit(self, name: str, revision: str) -> RemoteCommit:
        """Return what a branch, tag or commit of a model is now.

        Commit and hashes have been checked for their form; the names of files are not fit to be used as paths yet.
        """
        ...

    def fetch(self, commit: RemoteCommit, files: Sequence[RemoteFile], sinks: Sinks) -> None:
        """Send files into sinks, several at a time, each from where its sink stands.

        When one cannot be had the others stop where they are, and what the first one met is raised; so is whatever a
        sink raises.
        """
        ...
