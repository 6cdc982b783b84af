"""Removing models from the cache: each removal is one rename into a trash folder inside the cache.

A trash item is a folder with a note (what it was), the removed repo or snapshot as ``content`` and, for a snapshot, the
``blobs`` that only it needed. An item with content is reported until it is deleted; without content its removal never
began. No folder in the path to something that is moved may be a link: links are moved, never followed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

from mlxknife.adapters.hfcache import safe_files, trash
from mlxknife.adapters.hfcache.blob_use import is_needed, linked_blobs, read_blob_use, subfolders
from mlxknife.adapters.hfcache.layout import BLOBS, REFS, SNAPSHOTS, TREES, blob_of_partial
from mlxknife.adapters.hfcache.locks import RepoLocks
from mlxknife.adapters.hfcache.safe_files import NOT_NAMES, map_cache_errors
from mlxknife.adapters.hfcache.trash import CONTENT, NOTE
from mlxknife.domain import reprs
from mlxknife.domain.errors import KnifeError, LocksPresent, StorageError
from mlxknife.domain.filesystem_errors import DISK_FULL
from mlxknife.domain.removal.values import BlobUse, Orphan, RemovalTarget, TrashItem

TRASH = ".mlxk-trash"


class CacheRemovalStore:
    """Removes repos, snapshots and blobs of one cache. Implements ``RemovalStore``."""

    __repr__ = reprs.name

    def __init__(self, root: str) -> None:
        """Take the folder that huggingface_hub calls its cache."""
        self._root = os.path.realpath(root)
        self._trash = f"{self._root}/{TRASH}"

    @contextlib.contextmanager
    def lock_exclusive(self, folder: str) -> Iterator[None]:
        """See ``RemovalStore.lock_exclusive``."""
        locks = RepoLocks(self._root, folder)
        with map_cache_errors("locked"), locks.exclusive():
            locks.check_blobs()
            yield

    def blob_use(self, folder: str) -> BlobUse:
        """See ``RemovalStore.blob_use``."""
        with map_cache_errors("read"):
            return read_blob_use(self._root, folder)

    def is_busy(self, folder: str) -> bool:
        """See ``RemovalStore.is_busy``."""
        with map_cache_errors("read"):
            return RepoLocks(self._root, folder).is_repo_locked()

    def size_bytes(self, folder: str, commit: str | None = None) -> int:
        """See ``RemovalStore.size_bytes``."""
        path = f"{self._root}/{folder}"
        if commit is not None:
            return trash.size_without_links(f"{path}/{SNAPSHOTS}/{commit}")
        return trash.size_without_links(f"{path}/{BLOBS}") + trash.size_without_links(f"{path}/{SNAPSHOTS}")

    def discard(self, target: RemovalTarget) -> None:
        """See ``RemovalStore.discard``."""
        if target.folder is None:
            msg = "Only what is in the cache can be discarded from it"
            raise ValueError(msg)
        with map_cache_errors("removed"), self._new_item(target) as item:
            if target.commit is None:
                self._discard_repo(target.folder, item)
            else:
                self._discard_snapshot(target.folder, target.commit, target.refs, item)
            self._finish(item, (target.folder, target.commit))

    def discard_orphan(self, orphan: Orphan) -> bool:
        """See ``RemovalStore.discard_orphan``."""
        target = RemovalTarget(name=orphan.name, size_bytes=orphan.blob.size, folder=orphan.folder)
        try:
            with (
                map_cache_errors("removed"),
                RepoLocks(self._root, orphan.folder).exclusive(),
                self._new_item(target) as item,
            ):
                is_moved = self._move_blob(orphan.folder, orphan.blob.name, item)
                self._finish(item)
        except LocksPresent:  # a pull is running that may not have linked all of its blobs yet
            return False
        return is_moved

    def trash(self) -> tuple[TrashItem, ...]:
        """See ``RemovalStore.trash``."""
        try:
            names = subfolders(self._trash)
        except OSError:
            return ()
        items = (f"{self._trash}/{name}" for name in sorted(names))
        return tuple(trash.describe(item) for item in items if trash.has_content(item))

    def empty_trash(self) -> None:
        """See ``RemovalStore.empty_trash``."""
        with map_cache_errors("removed"):
            names = subfolders(self._trash)
        failure = None
        for name in names:
            item = f"{self._trash}/{name}"
            try:
                with map_cache_errors("deleted from the trash"), trash.locked(item) as is_locked:
                    if is_locked:
                        self._finish_interrupted(item)
            except StorageError as error:  # the other items can still be deleted
                failure = error
        self._remove_empty_trash()
        if failure is not None:
            raise failure

    @contextlib.contextmanager
    def _new_item(self, target: RemovalTarget) -> Iterator[str]:
        """Create an item that is locked until the removal ends, so that no other removal takes it for a leftover."""
        with contextlib.ExitStack() as lock:
            item = self._locked_item(lock)
            note = {"label": target.label, "folder": target.folder, "commit": target.commit}
            try:
                with open(f"{item}/{NOTE}", "x", encoding="utf-8") as file:
                    json.dump(note, file)
            except OSError as exc:
                if exc.errno not in DISK_FULL:
                    raise  # on a full disk the removal goes on without a note, because it frees space
            try:
                yield item
            except (OSError, KnifeError):
                if not trash.has_content(item):
                    safe_files.delete(item)
                    self._remove_empty_trash()
                raise

    def _locked_item(self, lock: contextlib.ExitStack) -> str:
        """Create and lock an empty item; repeat it where another removal deletes the item or the trash in between."""
        while True:
            safe_files.make_folder(self._root, TRASH)
            item = f"{self._trash}/{os.urandom(8).hex()}"
            with contextlib.suppress(FileNotFoundError):
                os.mkdir(item)
                if lock.enter_context(trash.locked(item)) and os.path.isdir(item):
                    return item

    def _discard_repo(self, folder: str, item: str) -> None:
        repo = f"{self._root}/{folder}"
        os.rename(repo, f"{item}/{CONTENT}")
        try:
            RepoLocks(self._root, folder).check_blobs()
        except LocksPresent:
            # A download began between the check and the rename: it gets its folder back, or has made a new one.
            with contextlib.suppress(FileExistsError, OSError):
                os.rename(f"{item}/{CONTENT}", repo)
            raise
        safe_files.sync(self._root)

    def _discard_snapshot(self, folder: str, commit: str, refs: tuple[str, ...], item: str) -> None:
        snapshots = safe_files.real_folder(self._root, folder, SNAPSHOTS)
        paths = []
        for ref in refs:
            parent = safe_files.real_folder(self._root, folder, REFS, *ref.split("/")[:-1])
            paths.append(f"{parent}/{ref.rpartition('/')[2]}")
        unlinked = []
        try:
            for path in paths:
                os.unlink(path)
                unlinked.append(path)
            os.rename(f"{snapshots}/{commit}", f"{item}/{CONTENT}")
        except OSError:
            for path in unlinked:  # the removal failed: write the refs again
                with open(path, "x", encoding="utf-8") as file:
                    file.write(commit)
            raise
        safe_files.sync(snapshots)

    def _finish_interrupted(self, item: str) -> None:
        """Finish an item of an earlier removal, unless another process works on its repo: then a later call does."""
        folder, _ = trash.origin(item)
        if folder is None:
            self._finish(item)
            return
        with contextlib.suppress(LocksPresent), RepoLocks(self._root, folder).exclusive():
            self._finish(item)

    def _finish(self, item: str, known: tuple[str, str | None] | None = None) -> None:
        """Move the blobs of an item after it, then delete it, the note last.

        ``known`` is the folder and commit that it came from; without it they are read from the note.
        """
        folder, commit = known or trash.origin(item)
        if folder is not None and commit is not None:
            self._move_blobs(folder, commit, item)
        for part in (BLOBS, CONTENT):
            safe_files.delete(f"{item}/{part}")
        safe_files.delete(item)
        self._remove_empty_trash()

    def _move_blobs(self, folder: str, commit: str, item: str) -> None:
        """Move the blobs that only a removed snapshot needed into its item, and delete the listing of its commit."""
        content, names = f"{item}/{CONTENT}", set[str]()
        with contextlib.suppress(OSError):  # without it the folders may be readable as well
            if os.path.isdir(content) and not os.path.islink(content):
                safe_files.make_readable(content)
        with contextlib.suppress(OSError):  # blobs of links that cannot be read become orphans, which are reported
            names.update(linked_blobs(content, f"{self._root}/{folder}/{BLOBS}"))
        for name in sorted(names):
            self._move_blob(folder, name, item)
        with contextlib.suppress(OSError):  # a listing that stays does no harm
            os.unlink(f"{safe_files.real_folder(self._root, folder, TREES)}/{commit}.json")

    def _remove_empty_trash(self) -> None:
        with contextlib.suppress(OSError):  # it stays while it has items
            os.rmdir(self._trash)

    def _move_blob(self, folder: str, name: str, item: str) -> bool:
        """Move a blob into an item unless it is needed or being downloaded; return whether it was moved."""
        blobs = f"{self._root}/{folder}/{BLOBS}"
        if name in NOT_NAMES or not os.path.isdir(blobs) or os.path.realpath(blobs) != blobs:
            return False  # what a link leads to does not belong to the repo
        blob = f"{blobs}/{name}"
        if not os.path.lexists(blob):
            return False
        with RepoLocks(self._root, folder).try_blob(blob_of_partial(name) or name) as is_locked:
            if not is_locked or not os.path.lexists(blob) or is_needed(self._root, folder, name):
                return False
            safe_files.make_folder(item, BLOBS)
            os.rename(blob, f"{item}/{BLOBS}/{name}")
            if is_needed(self._root, folder, name):  # another process linked to it between the check and the rename
                os.rename(f"{item}/{BLOBS}/{name}", blob)
                return False
        return True
