"""The Hub, from which models are downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sinks


class Hub(Protocol):
    """Lists the files of a model and downloads them, and searches for models.

    Every method retries what can pass, and then raises HubOffline in offline mode, NetworkError when the Hub does not
    answer, HubAuthError for a token that is not accepted, RepoNotFound for a model that it does not have or does not
    show to this user, HubAccessDenied for a model that this user may not have, and DownloadFailed for every other
    refusal and for an answer that cannot be right.
    """

    def commit(self, name: str, revision: str) -> RemoteCommit:
        """Return the commit that a branch, tag or commit of a model names now, with all of its files.

        The commit and the hashes have the right form. File names are as the Hub sent them: check them before using
        them as paths.
        """
        ...

    def search(self, text: str, limit: int) -> tuple[str, ...]:
        """Return the names of at most ``limit`` models for MLX that match a text, the most downloaded first.

        It retries nothing. Names are as the Hub sent them: check them before using or showing them.
        """
        ...

    def fetch(self, commit: RemoteCommit, files: Sequence[RemoteFile], sinks: Sinks) -> None:
        """Download files into their sinks, several at a time, each from its sink's position.

        When one fails the others stop, and the first error is raised, also one of a sink.
        """
        ...
