"""One file on its way into its sink, through whatever breaks off on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

import attrs

from mlxknife.adapters.hub.chunks import ChunkStore, ChunkStoreError
from mlxknife.adapters.hub.refusals import TryAgain
from mlxknife.adapters.hub.retry import Patience
from mlxknife.adapters.hub.web import Web
from mlxknife.domain.errors import NetworkError, WrongBytes
from mlxknife.domain.hints import HintCode
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.store.sinks import Sink

_MAX_BREAKS = 100
"""How often one file may break off, even if every try brings a little more."""
_MAX_WRONG = 2
"""How often a file may come whole and wrong; the first time, the wrong bytes may be those of an older try."""


@attrs.define
class Download:
    """The transfer of one file of a commit."""

    web: Web
    patience: Patience
    commit: RemoteCommit
    file: RemoteFile
    stop: threading.Event
    store: ChunkStore | None = None
    """Where to look first, for a file that is in it."""

    def run(self, sink: Sink) -> None:
        """Bring the file whole. Raises the errors of ``ports.hub`` and of the sink."""
        breaks = failures = wrong = 0
        while not self.stop.is_set():
            before = sink.position
            try:
                self._bring_the_rest(sink)
                if not self.stop.is_set():
                    sink.finish()
            except WrongBytes:
                wrong += 1
                if wrong == _MAX_WRONG:
                    raise
                sink.restart()
            except TryAgain as trouble:
                breaks += 1
                failures = 1 if sink.position > before else failures + 1
                if breaks == _MAX_BREAKS:
                    raise trouble.error from trouble
                self.patience.wait(failures, trouble, self.stop)
            else:
                return

    def _bring_the_rest(self, sink: Sink) -> None:
        if sink.position == self.file.size:
            return
        with self._source(sink) as chunks:
            for chunk in chunks:
                if self.stop.is_set():
                    return
                sink.write(chunk)
        if sink.position < self.file.size:
            msg = f"{self._what}: the connection broke off"
            raise TryAgain(NetworkError(msg, hint=HintCode.RESUME_DOWNLOAD))

    @contextmanager
    def _source(self, sink: Sink) -> Iterator[Iterator[bytes]]:
        """Open the bytes from where the sink stands."""
        if self.store is not None and self.file.xet_hash is not None:
            with closing(self.store.stream(self.file, sink.position)) as chunks:
                try:
                    yield chunks
                except ChunkStoreError as exc:
                    self.store = None  # from here on plainly
                    msg = f"{self._what}: the chunk store failed"
                    raise TryAgain(NetworkError(msg)) from exc
            return
        where = f"{self.web.endpoint}/{self.commit.name}/resolve/{self.commit.commit}/{quote(self.file.name)}"
        with self.web.content(where, self._what, sink.position, self.file.size) as (begins, chunks):
            if begins != sink.position:
                sink.restart()
            yield chunks

    @property
    def _what(self) -> str:
        return f"{self.commit.name}: {self.file.name}"
