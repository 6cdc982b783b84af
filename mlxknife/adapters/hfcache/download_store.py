"""Taking models into the cache: what it holds of a commit, and how it receives the rest."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import attrs

from mlxknife.adapters.hfcache import safe_files, stamps
from mlxknife.adapters.hfcache.layout import BLOBS, INCOMPLETE, SHARED_STORE, SNAPSHOTS
from mlxknife.adapters.hfcache.locks import RepoLocks
from mlxknife.adapters.hfcache.partials import stale_partials
from mlxknife.adapters.hfcache.publisher import STAGING, CachePublisher
from mlxknife.adapters.hfcache.safe_files import our_errors
from mlxknife.adapters.hfcache.stamps import OWN, Stamp
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.transfer.values import CachedFile, CachedFileState, RemoteFile
from mlxknife.ports.system.progress import Progress


class CacheDownloadStore:
    """Takes models into one cache."""

    def __init__(self, root: str) -> None:
        """Take the folder that huggingface_hub calls its cache."""
        self._root = os.path.realpath(root)

    @contextmanager
    def guarded(self, folder: str, progress: Progress | None = None, *, waits: bool = True) -> Iterator[None]:
        """See ``DownloadStore.guarded``."""
        with ExitStack() as stack:
            with our_errors("stored"):
                os.makedirs(self._root, exist_ok=True)
                safe_files.refuse_link(f"{self._root}/{folder}")
                locks = RepoLocks(self._root, folder, progress)
                stack.enter_context(locks.shared(is_given_up=lambda: not waits))
            stack.callback(self._clear_away, folder)
            yield

    def _clear_away(self, folder: str) -> None:
        """Take the folders of a repo away again where nothing came: there is no model to list."""
        for empty in (f"{folder}/{BLOBS}", folder):
            with suppress(OSError):
                os.rmdir(f"{self._root}/{empty}")

    def cached_files(self, folder: str, commit: str, files: Sequence[RemoteFile]) -> tuple[CachedFile, ...]:
        """See ``DownloadStore.cached_files``."""
        repo = os.path.realpath(f"{self._root}/{folder}")  # people keep large models on another disk
        look = _Look(self._root, repo, stamps.load(repo))
        with our_errors("read"):
            return tuple(look.at(commit, file) for file in files)

    def is_untidy(self, folder: str) -> bool:
        """See ``DownloadStore.is_untidy``."""
        repo = f"{self._root}/{folder}"
        return os.path.lexists(f"{repo}/{OWN}/{STAGING}") or bool(stale_partials(f"{repo}/{BLOBS}"))

    def free_bytes(self) -> int:
        """See ``DownloadStore.free_bytes``."""
        with our_errors("stored"):
            place = self._root
            while not os.path.exists(place):
                place = os.path.dirname(place)
            found = os.statvfs(place)
            return found.f_bavail * found.f_frsize

    def reception(self, folder: str, progress: Progress, *, afresh: bool) -> CachePublisher:
        """See ``DownloadStore.reception``."""
        return CachePublisher(self._root, folder, progress, afresh=afresh)


@attrs.frozen
class _Look:
    """One look at a repo."""

    root: str
    repo: str
    stamps: Mapping[str, Stamp]

    def at(self, commit: str, file: RemoteFile) -> CachedFile:
        """Return what there is of a file: what the snapshot leads to, else the blob, if either can be right."""
        blobs = f"{self.repo}/{BLOBS}"
        linked = self._file(file, f"{self.repo}/{SNAPSHOTS}/{commit}", file.name, is_linked=True)
        found = linked
        if linked is None or linked.state is CachedFileState.DAMAGED:
            found = self._file(file, blobs, file.hash.digest, is_linked=False) or linked
        partial = 0
        with suppress(OSError):
            status = os.lstat(f"{blobs}/{file.hash.digest}{INCOMPLETE}")
            partial = min(status.st_size, file.size) if stat.S_ISREG(status.st_mode) else 0
        return attrs.evolve(found or CachedFile(file, CachedFileState.MISSING), partial_bytes=partial)

    def _file(self, file: RemoteFile, folder: str, name: str, *, is_linked: bool) -> CachedFile | None:
        """Look at one place where the bytes may be; None where there is nothing that was meant to be them."""
        head, _, last = f"{folder}/{name}".rpartition("/")
        if os.path.realpath(head) != head or not os.path.lexists(f"{head}/{last}"):
            return None
        real = os.path.realpath(f"{head}/{last}")
        try:
            status = os.stat(real)
        except OSError:
            return CachedFile(file, CachedFileState.DAMAGED)
        is_inside = real.startswith((f"{self.repo}/", f"{self.root}/{SHARED_STORE}/"))
        if not is_inside or not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            return CachedFile(file, CachedFileState.DAMAGED)
        seen = Stamp(file.hash.digest, stamps.identity(status))
        is_known = self.stamps.get(real.removeprefix(f"{self.root}/")) == seen
        place, _, last = real.rpartition("/")
        return CachedFile(
            file=file,
            state=CachedFileState.VERIFIED if is_known else CachedFileState.UNVERIFIED,
            location=Location(token=place, bounds=(place,)),
            name=last,
            identity=seen.identity,
            is_linked=is_linked,
        )
