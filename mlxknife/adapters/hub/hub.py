"""The Hub: listings of commits, and their files into sinks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from urllib.parse import quote

from huggingface_hub import constants

from mlxknife.adapters.hub import listing
from mlxknife.adapters.hub.chunks import Access, ChunkStore
from mlxknife.adapters.hub.crew import work_together
from mlxknife.adapters.hub.download import Download
from mlxknife.adapters.hub.retry import Patience
from mlxknife.adapters.hub.web import Web
from mlxknife.domain.errors import DownloadFailed, HubOffline
from mlxknife.domain.hints import HintCode
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sinks

_FILES_AT_A_TIME = 8
_MAX_PAGES = 1_000
_MAX_FILES = 100_000
_UNSAID = "main"


class HuggingFaceHub:
    """The Hub at an endpoint."""

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        *,
        is_offline: bool = False,
        patience: Patience | None = None,
    ) -> None:
        """Take where the Hub is and whom to say one is; without them huggingface_hub's own settings hold."""
        self._web = Web(endpoint, token)
        self._is_offline = is_offline or constants.is_offline_mode()
        self._patience = patience or Patience()

    def commit(self, name: str, revision: str) -> RemoteCommit:
        """See ``Hub.commit``."""
        self._be_online()
        place = f"{self._web.endpoint}/api/models/{name}"
        what = name if revision == _UNSAID else f"{name}@{revision}"
        body, _ = self._answer(f"{place}/revision/{quote(revision, safe='')}", what)
        commit = listing.checked_commit(listing.decode(body, listing.Info).sha)
        page: str | None = f"{place}/tree/{commit}?recursive=True&expand=False"
        files: list[RemoteFile] = []
        for _ in range(_MAX_PAGES):
            if page is None:
                return RemoteCommit(name, commit, tuple(files))
            body, page = self._answer(page, what)
            entries = listing.decode(body, list[listing.Entry])
            files += (listing.remote_file(entry) for entry in entries if entry.type == "file")
            if len(files) > _MAX_FILES:
                break
        msg = f"{what}: the Hub's listing does not end"
        raise DownloadFailed(msg)

    def fetch(self, commit: RemoteCommit, files: Sequence[RemoteFile], sinks: Sinks) -> None:
        """See ``Hub.fetch``."""
        self._be_online()
        store = None if constants.HF_HUB_DISABLE_XET else ChunkStore(lambda: self._chunk_access(commit))

        def fetch_one(file: RemoteFile, stop: threading.Event) -> None:
            with sinks.open(file, stop.is_set) as sink:
                if sink is not None:
                    Download(self._web, self._patience, commit, file, stop, store).run(sink)

        largest_first = sorted(files, key=lambda file: -file.size)
        work_together(largest_first, fetch_one, _FILES_AT_A_TIME)

    def _answer(self, url: str, what: str) -> tuple[bytes, str | None]:
        return self._patience.insist(lambda: self._web.answer(url, what))

    def _chunk_access(self, commit: RemoteCommit) -> Access:
        url = f"{self._web.endpoint}/api/models/{commit.name}/xet-read-token/{commit.commit}"
        return self._patience.insist(lambda: self._web.chunk_access(url, commit.name))

    def _be_online(self) -> None:
        if self._is_offline:
            msg = "Offline mode is on"
            raise HubOffline(msg, hint=HintCode.UNSET_OFFLINE)
