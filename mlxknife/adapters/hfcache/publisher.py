"""Receiving one model: blobs while they come, then the snapshot in one step, then the ref."""

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
from mlxknife.adapters.hfcache.safe_files import delete, our_errors
from mlxknife.adapters.hfcache.stamps import OWN, STAMPS, Identity, Stamp
from mlxknife.domain.errors import DownloadFailed, StorageError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.transfer.values import CachedFile, RemoteCommit, RemoteFile
from mlxknife.ports.system.progress import Progress

_PUBLISHING = "mlxk-publish"
STAGING = "staging"
"""The folder that a model is put together in."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class CachePublisher:
    """Takes in one commit of one repo."""

    def __init__(self, root: str, folder: str, progress: Progress, *, afresh: bool) -> None:
        """Take the cache, the repo's folder, and whether even blobs that are right are to be replaced."""
        self._root = root
        self._folder = folder
        self._repo = f"{root}/{folder}"
        self._locks = RepoLocks(root, folder, progress)
        self._progress = progress
        self._afresh = afresh
        self._proven: dict[str, Identity] = {}
        """How the blobs looked that were hashed here."""
        self._moved: dict[str, str] = {}
        """Where blobs went, on a disk that has no links."""

    @contextmanager
    def open(self, file: RemoteFile, is_given_up: Callable[[], bool]) -> Iterator[PartialBlob | None]:
        """See ``Sinks.open``."""
        with ExitStack() as stack:
            with our_errors("stored"):
                is_ours = stack.enter_context(self._locks.waited_for(file.hash.digest, is_given_up))
            if not is_ours or self._was_brought(f"{self._repo}/{BLOBS}", file):
                yield None
                return
            partial = self._partial(file)
            try:
                yield partial
            finally:
                partial.close()
            if partial.proof is not None:
                self._proven[file.hash.digest] = partial.proof

    def _partial(self, file: RemoteFile) -> PartialBlob:
        while True:
            with our_errors("stored"):
                blobs = safe_files.make_folder(self._root, self._folder, BLOBS)
            try:
                return PartialBlob(blobs, file, self._progress, afresh=self._afresh)
            except StorageError:
                if os.path.isdir(blobs):  # else somebody to whom nothing came has just cleared it away
                    raise

    def publish(self, commit: RemoteCommit, cached_files: Sequence[CachedFile], ref: str | None) -> None:
        """See ``SnapshotPublisher.publish``."""
        with our_errors("published"), self._locks.waited_for(_PUBLISHING):
            with suppress(FileNotFoundError):
                safe_files.sync(f"{self._repo}/{BLOBS}")
            own = safe_files.make_folder(self._root, self._folder, OWN)
            delete(f"{own}/{STAGING}")  # of somebody who was killed here
            staging = safe_files.make_folder(own, STAGING)
            self._put(staging, trees.encode(commit), TREES, f"{commit.commit}.json")
            self._place(staging, commit.commit, cached_files)
            self._put(staging, stamps.encode(self._stamps(cached_files)), OWN, STAMPS)
            if ref is not None:
                self._put(staging, commit.commit.encode(), REFS, *ref.split("/"))
            delete(staging)
            self._drop_stale_partials()

    def _drop_stale_partials(self) -> None:
        """Remove what others left of blobs that are there now, unless they are at it again."""
        blobs = f"{self._repo}/{BLOBS}"
        for name, blob in stale_partials(blobs):
            with self._locks.blob(blob) as is_ours, suppress(OSError):
                if is_ours:
                    os.unlink(f"{blobs}/{name}")

    def _was_brought(self, blobs: str, file: RemoteFile) -> bool:
        """Tell whether the blob is there and right, having hashed it; or was brought for another name of it."""
        if file.hash.digest in self._proven:
            return True
        if self._afresh:
            return False
        with our_errors("read"):
            try:
                real = os.path.realpath(f"{blobs}/{file.hash.digest}", strict=True)
                if not self._is_inside(real) or os.stat(real).st_size != file.size:
                    return False
                status = partials.has_digest(real, file.hash)
            except OSError:
                return False
        if status is None:
            return False
        self._proven[file.hash.digest] = stamps.identity(status)
        self._progress.advance(file.size)
        return True

    def _is_inside(self, real: str) -> bool:
        return real.startswith((f"{self._repo}/", f"{self._root}/{SHARED_STORE}/"))

    def _place(self, staging: str, commit: str, cached_files: Sequence[CachedFile]) -> None:
        """Let the snapshot lead to every file: a new one in one step, one that is there link by link."""
        snapshots = safe_files.make_folder(self._root, self._folder, SNAPSHOTS)
        missing = [cached.file for cached in cached_files if not self._is_in_place(cached, f"{snapshots}/{commit}")]
        new = f"{staging}/{commit}"
        if not os.path.lexists(f"{snapshots}/{commit}"):
            safe_files.make_folder(staging if self._has_links(staging) else snapshots, commit)
        if os.path.lexists(new):
            for file in missing:
                self._link(staging, new, file)
            if _became(new, f"{snapshots}/{commit}"):
                missing = []
        for file in missing:
            self._link(staging, safe_files.real_folder(snapshots, commit), file)
        safe_files.sync(snapshots)

    def _has_links(self, staging: str) -> bool:
        """Tell whether the disk knows links. Without them blobs themselves move, and nothing may stand between."""
        try:
            os.symlink(staging, f"{staging}/link")
        except OSError as exc:
            if exc.errno in _NO_LINKS:
                return False
            raise
        os.unlink(f"{staging}/link")
        return True

    def _is_in_place(self, cached: CachedFile, snapshot: str) -> bool:
        is_kept = cached.is_linked and cached.is_verified and cached.file.hash.digest not in self._proven
        return is_kept and os.path.exists(f"{snapshot}/{cached.file.name}")

    def _link(self, staging: str, snapshot: str, file: RemoteFile) -> None:
        """Put a link to a blob where a file belongs, in the place of whatever is there."""
        *folders, name = file.name.split("/")
        place = _way(snapshot, folders)
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

    def _put(self, staging: str, data: bytes, *place: str) -> None:
        """Write a small file in one step."""
        *folders, name = place
        new = f"{staging}/new"
        with open(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        folder = safe_files.make_folder(self._root, self._folder, *folders)
        safe_files.replace(new, f"{folder}/{name}")
        safe_files.sync(folder)

    def _stamps(self, cached_files: Sequence[CachedFile]) -> Mapping[str, Stamp]:
        """Return what is known to be right: of before, of the plan, and of what came now, as far as it is there."""
        known = dict(stamps.load(self._repo))
        for cached in cached_files:
            if cached.is_verified and cached.location is not None:
                path = f"{cached.location.token}/{cached.name}"
                known[path.removeprefix(f"{self._root}/")] = Stamp(cached.file.hash.digest, cached.identity)
        for digest, identity in self._proven.items():
            real = os.path.realpath(f"{self._repo}/{BLOBS}/{digest}")
            known[real.removeprefix(f"{self._root}/")] = Stamp(digest, identity)
        return {path: stamp for path, stamp in known.items() if os.path.lexists(f"{self._root}/{path}")}


def _way(snapshot: str, folders: Sequence[str]) -> str:
    """Return a folder of a snapshot. What is in its place and no folder goes; of a link, not what it leads to."""
    place = snapshot
    for folder in folders:
        place = f"{place}/{folder}"
        if os.path.islink(place) or not os.path.isdir(place):
            delete(place)
            os.mkdir(place)
    return place


def _became(new: str, place: str) -> bool:
    """Move a folder to its place; tell whether nobody else had made it meanwhile. Raises OSError."""
    try:
        os.rename(new, place)
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True
