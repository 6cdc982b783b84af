"""Publishing one commit: blobs as they arrive, then the snapshot in one rename, then the ref."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from mlxknife.adapters.hfcache import partials, safe_files, stamps, trees
from mlxknife.adapters.hfcache.layout import BLOBS, REFS, SHARED_STORE, SNAPSHOTS, TREES
from mlxknife.adapters.hfcache.locks import RepoLocks
from mlxknife.adapters.hfcache.partials import PartialBlob, stale_partials
from mlxknife.adapters.hfcache.safe_files import delete, map_cache_errors
from mlxknife.adapters.hfcache.stamps import OWN, STAMPS, Identity, Stamp
from mlxknife.domain.errors import DownloadFailed, StorageError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.transfer.values import CachedFile, RemoteCommit, RemoteFile
from mlxknife.ports.system.progress import Progress

_PUBLISH_LOCK = "mlxk-publish"
STAGING = "staging"
"""The folder in which a new snapshot is built before it is renamed to its place."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class CachePublisher:
    """Downloads and publishes one commit of one repo. Implements ``SnapshotPublisher``."""

    def __init__(self, root: str, folder: str, progress: Progress, *, force_download: bool) -> None:
        """Take the cache, the repo's folder, and whether blobs that are right are downloaded again, too."""
        self._root = root
        self._folder = folder
        self._repo = f"{root}/{folder}"
        self._locks = RepoLocks(root, folder, progress)
        self._progress = progress
        self._force_download = force_download
        self._verified: dict[str, Identity] = {}
        """The blobs that were hashed here, by digest, and how they looked then."""
        self._moved: dict[str, str] = {}
        """Where blobs were moved to, on a disk that has no links."""

    @contextmanager
    def open(self, file: RemoteFile, is_cancelled: Callable[[], bool]) -> Iterator[PartialBlob | None]:
        """See ``Sinks.open``."""
        with ExitStack() as stack:
            with map_cache_errors("stored"):
                is_locked = stack.enter_context(self._locks.wait_for(file.hash.digest, is_cancelled))
            if not is_locked or self._has_blob(f"{self._repo}/{BLOBS}", file):
                yield None
                return
            partial = self._open_partial(file)
            try:
                yield partial
            finally:
                partial.close()
            if partial.identity is not None:
                self._verified[file.hash.digest] = partial.identity

    def _open_partial(self, file: RemoteFile) -> PartialBlob:
        while True:
            with map_cache_errors("stored"):
                blobs = safe_files.make_folder(self._root, self._folder, BLOBS)
            try:
                return PartialBlob(blobs, file, self._progress, force_download=self._force_download)
            except StorageError:
                if os.path.isdir(blobs):  # otherwise a pull that received nothing has just removed the folder
                    raise

    def publish(self, commit: RemoteCommit, cached_files: Sequence[CachedFile], ref: str | None) -> None:
        """See ``SnapshotPublisher.publish``."""
        with map_cache_errors("published"), self._locks.wait_for(_PUBLISH_LOCK):
            with suppress(FileNotFoundError):
                safe_files.sync(f"{self._repo}/{BLOBS}")
            own = safe_files.make_folder(self._root, self._folder, OWN)
            delete(f"{own}/{STAGING}")  # what a killed process left
            staging = safe_files.make_folder(own, STAGING)
            self._write(staging, trees.encode(commit), TREES, f"{commit.commit}.json")
            self._place_snapshot(staging, commit.commit, cached_files)
            self._write(staging, stamps.encode(self._stamps(cached_files)), OWN, STAMPS)
            if ref is not None:
                self._write(staging, commit.commit.encode(), REFS, *ref.split("/"))
            delete(staging)
            self._remove_stale_partials()

    def _remove_stale_partials(self) -> None:
        """Remove the partials of blobs that are complete, unless another process is writing to them."""
        blobs = f"{self._repo}/{BLOBS}"
        for name, blob in stale_partials(blobs):
            with self._locks.try_blob(blob) as is_locked, suppress(OSError):
                if is_locked:
                    os.unlink(f"{blobs}/{name}")

    def _has_blob(self, blobs: str, file: RemoteFile) -> bool:
        """Return whether the blob is there and its hash is right; ``force_download`` hashes nothing."""
        if file.hash.digest in self._verified:
            return True
        if self._force_download:
            return False
        try:
            real = os.path.realpath(f"{blobs}/{file.hash.digest}", strict=True)
            if not self._is_inside(real) or os.stat(real).st_size != file.size:
                return False
            status = partials.status_if_matching(real, file.hash)
        except OSError:
            return False
        if status is None:
            return False
        self._verified[file.hash.digest] = stamps.identity(status)
        self._progress.advance(file.size)
        return True

    def _is_inside(self, real: str) -> bool:
        return real.startswith((f"{self._repo}/", f"{self._root}/{SHARED_STORE}/"))

    def _place_snapshot(self, staging: str, commit: str, cached_files: Sequence[CachedFile]) -> None:
        """Link every file into the snapshot: a new snapshot in one rename, an existing one link by link."""
        snapshots = safe_files.make_folder(self._root, self._folder, SNAPSHOTS)
        missing = [cached.file for cached in cached_files if not self._is_in_place(cached, f"{snapshots}/{commit}")]
        new = f"{staging}/{commit}"
        if not os.path.lexists(f"{snapshots}/{commit}"):
            safe_files.make_folder(staging if self._has_links(staging) else snapshots, commit)
        if os.path.lexists(new):
            for file in missing:
                self._link(staging, new, file)
            if _rename_if_free(new, f"{snapshots}/{commit}"):
                missing = []
        for file in missing:
            self._link(staging, safe_files.real_folder(snapshots, commit), file)
        safe_files.sync(snapshots)

    def _has_links(self, staging: str) -> bool:
        """Return whether the disk has symbolic links. Without them blobs move straight into the snapshot."""
        try:
            os.symlink(staging, f"{staging}/link")
        except OSError as exc:
            if exc.errno in _NO_LINKS:
                return False
            raise
        os.unlink(f"{staging}/link")
        return True

    def _is_in_place(self, cached: CachedFile, snapshot: str) -> bool:
        is_kept = cached.is_linked and cached.is_verified and cached.file.hash.digest not in self._verified
        return is_kept and os.path.exists(f"{snapshot}/{cached.file.name}")

    def _link(self, staging: str, snapshot: str, file: RemoteFile) -> None:
        """Put a link to a blob at the path of a file, replacing whatever stands there."""
        *folders, name = file.name.split("/")
        place = _subfolder(snapshot, folders)
        blob = self._moved.get(file.hash.digest, f"{self._repo}/{BLOBS}/{file.hash.digest}")
        if not os.path.lexists(blob):
            msg = f"{file.name} vanished from the cache while it was published"
            raise DownloadFailed(msg, hint=HintCode.REPEAT_DOWNLOAD)
        up = "../" * (2 + len(folders))
        new = f"{staging}/link"
        try:
            os.symlink(f"{up}{BLOBS}/{file.hash.digest}", new)
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            if file.hash.digest in self._moved:
                shutil.copyfile(blob, new)
            else:
                new = blob
                self._moved[file.hash.digest] = f"{place}/{name}"
        safe_files.replace(new, f"{place}/{name}")

    def _write(self, staging: str, data: bytes, *path: str) -> None:
        """Write a small file of the repo in one step: into the staging folder, then renamed to its place."""
        *folders, name = path
        new = f"{staging}/new"
        with open(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        folder = safe_files.make_folder(self._root, self._folder, *folders)
        safe_files.replace(new, f"{folder}/{name}")
        safe_files.sync(folder)

    def _stamps(self, cached_files: Sequence[CachedFile]) -> Mapping[str, Stamp]:
        """Return the stamps of the repo: older ones, those of the plan, and those of this download, if still there."""
        found = dict(stamps.load(self._repo))
        for cached in cached_files:
            if cached.is_verified and cached.location is not None:
                path = f"{cached.location.token}/{cached.name}"
                found[path.removeprefix(f"{self._root}/")] = Stamp(cached.file.hash.digest, cached.identity)
        for digest, identity in self._verified.items():
            real = os.path.realpath(f"{self._repo}/{BLOBS}/{digest}")
            found[real.removeprefix(f"{self._root}/")] = Stamp(digest, identity)
        return {path: stamp for path, stamp in found.items() if os.path.lexists(f"{self._root}/{path}")}


def _subfolder(snapshot: str, folders: Sequence[str]) -> str:
    """Return a folder of a snapshot, created where it is missing.

    A file or a link in its place is removed, what a link leads to is not.
    """
    place = snapshot
    for folder in folders:
        place = f"{place}/{folder}"
        if os.path.islink(place) or not os.path.isdir(place):
            delete(place)
            os.mkdir(place)
    return place


def _rename_if_free(new: str, path: str) -> bool:
    """Rename a folder to ``path``; return False where another process created ``path`` meanwhile. Raises OSError."""
    try:
        os.rename(new, path)
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True
