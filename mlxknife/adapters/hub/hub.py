"""The Hub: lists the files of commits, and downloads files into sinks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from huggingface_hub import constants

from mlxknife.adapters.hub import api
from mlxknife.adapters.hub.client import HubClient
from mlxknife.adapters.hub.download import FileDownload
from mlxknife.adapters.hub.retry import RetryPolicy
from mlxknife.adapters.hub.thread_pool import run_jobs
from mlxknife.adapters.hub.xet import XetAccess, XetStore
from mlxknife.domain.errors import DownloadFailed, HubOffline
from mlxknife.domain.hints import HintCode
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sinks

_MAX_PARALLEL_FILES = 8
_MAX_PAGES = 1_000
_MAX_FILES = 100_000
_MAX_SEARCH = 1024 * 1024
"""The bytes of the longest answer to a search."""
_DEFAULT_REVISION = "main"


class HuggingFaceHub:
    """The Hub at one endpoint. Implements ``Hub``."""

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        *,
        is_offline: bool = False,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Take the Hub's URL and the user's token; what is None comes from huggingface_hub's own settings."""
        self._client = HubClient(endpoint, token)
        self._is_offline = is_offline or constants.is_offline_mode()
        self._retry = retry or RetryPolicy()

    def commit(self, name: str, revision: str) -> RemoteCommit:
        """See ``Hub.commit``."""
        self._refuse_offline()
        url = f"{self._client.endpoint}/api/models/{name}"
        label = name if revision == _DEFAULT_REVISION else f"{name}@{revision}"
        body, _ = self._get(f"{url}/revision/{quote(revision, safe='')}", label)
        commit = api.checked_commit(api.decode(body, api.ApiRevision).sha)
        page: str | None = f"{url}/tree/{commit}?recursive=True&expand=False"
        files: list[RemoteFile] = []
        for _ in range(_MAX_PAGES):
            if page is None:
                return RemoteCommit(name, commit, tuple(files))
            body, page = self._get(page, label)
            entries = api.decode(body, list[api.ApiTreeEntry])
            files += (api.remote_file(entry) for entry in entries if entry.type == "file")
            if len(files) > _MAX_FILES:
                break
        msg = f"{label}: the Hub's listing does not end"
        raise DownloadFailed(msg)

    def search(self, text: str, limit: int) -> tuple[str, ...]:
        """See ``Hub.search``."""
        self._refuse_offline()
        fields = {"search": text, "filter": "mlx", "sort": "downloads", "direction": -1, "limit": limit}
        url = f"{self._client.endpoint}/api/models?{urlencode(fields)}"
        once = RetryPolicy(tries=1)
        body, _ = once.call(lambda: self._client.get(url, f"search for {text}", max_body=_MAX_SEARCH))
        return tuple(model.id for model in api.decode(body, list[api.ApiModel])[:limit])

    def fetch(self, commit: RemoteCommit, files: Sequence[RemoteFile], sinks: Sinks) -> None:
        """See ``Hub.fetch``."""
        self._refuse_offline()
        xet = None if constants.HF_HUB_DISABLE_XET else XetStore(lambda: self._xet_access(commit))

        def fetch_one(file: RemoteFile, stop: threading.Event) -> None:
            with sinks.open(file, stop.is_set) as sink:
                if sink is not None:
                    FileDownload(self._client, self._retry, commit, file, stop, xet).run(sink)

        largest_first = sorted(files, key=lambda file: -file.size)
        run_jobs(largest_first, fetch_one, _MAX_PARALLEL_FILES)

    def _get(self, url: str, label: str) -> tuple[bytes, str | None]:
        return self._retry.call(lambda: self._client.get(url, label))

    def _xet_access(self, commit: RemoteCommit) -> XetAccess:
        url = f"{self._client.endpoint}/api/models/{commit.name}/xet-read-token/{commit.commit}"
        return self._retry.call(lambda: self._client.xet_access(url, commit.name))

    def _refuse_offline(self) -> None:
        if self._is_offline:
            msg = "Offline mode is on"
            raise HubOffline(msg, hint=HintCode.UNSET_OFFLINE)
