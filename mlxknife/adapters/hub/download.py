"""The download of one file into its sink: chunk store first, then HTTP; it continues after broken connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

import attrs

from mlxknife.adapters.hub.client import HubClient
from mlxknife.adapters.hub.errors import RetryableError
from mlxknife.adapters.hub.retry import RetryPolicy
from mlxknife.adapters.hub.xet import XetError, XetStore
from mlxknife.domain.errors import NetworkError, WrongBytes
from mlxknife.domain.hints import HintCode
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sink

_MAX_BREAKS = 100
"""How often the connection of one file may break, even if every try brings some bytes."""
_MAX_WRONG = 2
"""How often a complete file may have the wrong hash; the first time, the bytes of an older download may be wrong."""


@attrs.define
class FileDownload:
    """The download of one file of a commit."""

    client: HubClient
    retry: RetryPolicy
    commit: RemoteCommit
    file: RemoteFile
    stop: threading.Event
    xet: XetStore | None = None
    """The chunk store, tried first for a file that has a Xet hash."""

    def run(self, sink: Sink) -> None:
        """Download the file and finish the sink, unless ``stop`` is set. Raises the errors of ``Hub`` and the sink."""
        breaks = failures = wrong = 0
        while not self.stop.is_set():
            before = sink.position
            try:
                self._download_rest(sink)
                if not self.stop.is_set():
                    sink.finish()
            except WrongBytes:
                wrong += 1
                if wrong == _MAX_WRONG:
                    raise
                sink.restart()
            except RetryableError as failure:
                breaks += 1
                failures = 1 if sink.position > before else failures + 1
                if breaks == _MAX_BREAKS:
                    raise failure.error from failure
                self.retry.wait(failures, failure, self.stop)
            else:
                return

    def _download_rest(self, sink: Sink) -> None:
        if sink.position == self.file.size:
            return
        with self._source(sink) as chunks:
            for chunk in chunks:
                if self.stop.is_set():
                    return
                sink.write(chunk)
        if sink.position < self.file.size:
            msg = f"{self._label}: the connection broke off"
            raise RetryableError(NetworkError(msg, hint=HintCode.RESUME_DOWNLOAD))

    @contextmanager
    def _source(self, sink: Sink) -> Iterator[Iterator[bytes]]:
        """Open the bytes of the file from the sink's position on."""
        if self.xet is not None and self.file.xet_hash is not None:
            with closing(self.xet.stream(self.file, sink.position)) as chunks:
                try:
                    yield chunks
                except XetError as exc:
                    self.xet = None  # the next try uses HTTP
                    msg = f"{self._label}: the chunk store failed"
                    raise RetryableError(NetworkError(msg)) from exc
            return
        url = f"{self.client.endpoint}/{self.commit.name}/resolve/{self.commit.commit}/{quote(self.file.name)}"
        with self.client.content(url, self._label, sink.position, self.file.size) as (start, chunks):
            if start != sink.position:
                sink.restart()
            yield chunks

    @property
    def _label(self) -> str:
        return f"{self.commit.name}: {self.file.name}"
