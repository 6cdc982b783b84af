"""What the cache holds of a commit already, and the lock and the publisher for what is missing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import attrs

from mlxknife.adapters.hfcache import safe_files, stamps, trees
from mlxknife.adapters.hfcache.layout import BLOBS, INCOMPLETE, SHARED_STORE, SNAPSHOTS, TREES
from mlxknife.adapters.hfcache.locks import RepoLocks
from mlxknife.adapters.hfcache.partials import stale_partials
from mlxknife.adapters.hfcache.publisher import STAGING, CachePublisher
from mlxknife.adapters.hfcache.safe_files import map_cache_errors
from mlxknife.adapters.hfcache.stamps import OWN, Stamp
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.transfer.values import CachedFile, CachedFileState, RemoteFile
from mlxknife.ports.system.progress import Progress


class CacheDownloadStore:
    """Downloads into one cache. Implements ``DownloadStore``."""

    def __init__(self, root: str) -> None:
        """Take the folder that huggingface_hub calls its cache."""
        self._root = os.path.realpath(root)

    @contextmanager
    def lock_shared(self, folder: str, progress: Progress | None = None, *, waits: bool = True) -> Iterator[None]:
        """See ``DownloadStore.lock_shared``."""
        with ExitStack() as stack:
            with map_cache_errors("stored"):
                os.makedirs(self._root, exist_ok=True)
                safe_files.refuse_link(f"{self._root}/{folder}")
                locks = RepoLocks(self._root, folder, progress)
                stack.enter_context(locks.shared(is_cancelled=lambda: not waits))
            stack.callback(self._remove_empty_folders, folder)
            yield

    def _remove_empty_folders(self, folder: str) -> None:
        """Remove the folders of a repo that received no file, so that no empty model is listed."""
        for empty in (f"{folder}/{BLOBS}", folder):
            with suppress(OSError):
                os.rmdir(f"{self._root}/{empty}")

    def cached_files(self, folder: str, commit: str, files: Sequence[RemoteFile]) -> tuple[CachedFile, ...]:
        """See ``DownloadStore.cached_files``."""
        repo = os.path.realpath(f"{self._root}/{folder}")  # the repo may be a link to a folder on another disk
        finder = _HoldingFinder(self._root, repo, stamps.load(repo))
        with map_cache_errors("read"):
            return tuple(finder.find(commit, file) for file in files)

    def has_listing(self, folder: str, commit: str) -> bool:
        """See ``DownloadStore.has_listing``."""
        try:
            data = safe_files.read_small(f"{self._root}/{folder}/{TREES}/{commit}.json")
        except OSError:
            return False
        return trees.decode(data) is not None

    def has_leftovers(self, folder: str) -> bool:
        """See ``DownloadStore.has_leftovers``."""
        repo = f"{self._root}/{folder}"
        return os.path.lexists(f"{repo}/{OWN}/{STAGING}") or bool(stale_partials(f"{repo}/{BLOBS}"))

    def free_bytes(self) -> int:
        """See ``DownloadStore.free_bytes``."""
        with map_cache_errors("stored"):
            folder = self._root
            while not os.path.exists(folder):
                folder = os.path.dirname(folder)
            disk = os.statvfs(folder)
            return disk.f_bavail * disk.f_frsize

    def publisher(self, folder: str, progress: Progress, *, force_download: bool) -> CachePublisher:
        """See ``DownloadStore.publisher``."""
        return CachePublisher(self._root, folder, progress, force_download=force_download)


@attrs.frozen
class _HoldingFinder:
    """Finds the files of commits in one repo."""

    root: str
    repo: str
    stamps: Mapping[str, Stamp]

    def find(self, commit: str, file: RemoteFile) -> CachedFile:
        """Return what there is of a file: the file in the snapshot, or else the blob, and the size of its partial."""
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
        """Return the file at one path; None where there is none, or where the path to it contains a link."""
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
        stamp = Stamp(file.hash.digest, stamps.identity(status))
        is_stamped = self.stamps.get(real.removeprefix(f"{self.root}/")) == stamp
        place, _, last = real.rpartition("/")
        return CachedFile(
            file=file,
            state=CachedFileState.VERIFIED if is_stamped else CachedFileState.UNVERIFIED,
            location=Location(token=place, bounds=(place,)),
            name=last,
            identity=stamp.identity,
            is_linked=is_linked,
        )
