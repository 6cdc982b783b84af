"""Taking models out of the cache: a trash inside it makes every removal one rename.

A trash item is a folder with a note (what it was), the thing itself as ``content`` and, for a single snapshot, the
``blobs`` that only it needed. As long as the note is there the removal is reported; without content it never began.
Every folder on the way to something that is moved has to be a real one: links are moved, never followed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator

from mlxknife.adapters.hfcache import safe_files, trash
from mlxknife.adapters.hfcache.layout import BLOBS, REFS, SNAPSHOTS, TREES, blob_of_partial
from mlxknife.adapters.hfcache.locks import RepoLocks
from mlxknife.adapters.hfcache.safe_files import NO_NAMES, our_errors
from mlxknife.adapters.hfcache.trash import CONTENT, NOTE
from mlxknife.domain.errors import KnifeError, LocksPresent, StorageError
from mlxknife.domain.removal.values import BlobUse, Orphan, RemovalTarget, StoredBlob, TrashItem

TRASH = ".mlxk-trash"


class CacheRemovalStore:
    """Removes repos, snapshots and blobs of one cache."""

    def __init__(self, root: str) -> None:
        """Take the folder that huggingface_hub calls its cache."""
        self._root = os.path.realpath(root)
        self._trash = f"{self._root}/{TRASH}"

    @contextlib.contextmanager
    def guarded(self, folder: str) -> Iterator[None]:
        """See ``RemovalStore.guarded``."""
        locks = RepoLocks(self._root, folder)
        with our_errors("locked"), locks.held():
            locks.check()
            yield

    def blob_use(self, folder: str) -> BlobUse:
        """See ``RemovalStore.blob_use``."""
        repo = f"{self._root}/{folder}"
        with our_errors("read"):
            if os.path.islink(repo) or os.path.islink(f"{repo}/{BLOBS}"):
                return BlobUse(folder=folder, blobs=(), used_by={})  # what stands behind a link is not the repo's own
            snapshots = f"{repo}/{SNAPSHOTS}"
            return BlobUse(
                folder=folder,
                blobs=tuple(_stored_blobs(f"{repo}/{BLOBS}", RepoLocks(self._root, folder))),
                used_by={
                    name: frozenset(_linked_blobs(f"{snapshots}/{name}", f"{repo}/{BLOBS}"))
                    for name in _folders(snapshots)
                },
            )

    def is_busy(self, folder: str) -> bool:
        """See ``RemovalStore.is_busy``."""
        with our_errors("read"):
            return RepoLocks(self._root, folder).is_held()

    def size_bytes(self, folder: str, commit: str | None = None) -> int:
        """See ``RemovalStore.size_bytes``."""
        path = f"{self._root}/{folder}"
        if commit is not None:
            return trash.own_size(f"{path}/{SNAPSHOTS}/{commit}")
        return trash.own_size(f"{path}/{BLOBS}") + trash.own_size(f"{path}/{SNAPSHOTS}")

    def discard(self, target: RemovalTarget) -> None:
        """See ``RemovalStore.discard``."""
        if target.folder is None:
            msg = "Only what is in the cache can be discarded from it"
            raise ValueError(msg)
        with our_errors("removed"), self._new_item(target) as item:
            if target.commit is None:
                self._discard_repo(target.folder, item)
            else:
                self._discard_snapshot(target.folder, target.commit, target.refs, item)
            self._finish(item, (target.folder, target.commit))

    def discard_orphan(self, orphan: Orphan) -> bool:
        """See ``RemovalStore.discard_orphan``."""
        target = RemovalTarget(name=orphan.name, size_bytes=orphan.blob.size, folder=orphan.folder)
        try:
            with our_errors("removed"), RepoLocks(self._root, orphan.folder).held(), self._new_item(target) as item:
                went = self._move_blob(orphan.folder, orphan.blob.name, item)
                self._finish(item)
        except LocksPresent:  # somebody takes a model in, and has not linked to all of its blobs yet
            return False
        return went

    def trash(self) -> tuple[TrashItem, ...]:
        """See ``RemovalStore.trash``."""
        try:
            names = _folders(self._trash)
        except OSError:
            return ()
        items = (f"{self._trash}/{name}" for name in sorted(names))
        return tuple(trash.describe(item) for item in items if trash.has_begun(item))

    def empty_trash(self) -> None:
        """See ``RemovalStore.empty_trash``."""
        with our_errors("removed"):
            names = _folders(self._trash)
        trouble = None
        for name in names:
            item = f"{self._trash}/{name}"
            try:
                with our_errors("emptied out of the trash"), trash.claimed(item) as is_ours:
                    if is_ours:
                        self._finish_alone(item)
            except StorageError as error:  # the others can go all the same
                trouble = error
        self._close_trash()
        if trouble is not None:
            raise trouble

    @contextlib.contextmanager
    def _new_item(self, target: RemovalTarget) -> Iterator[str]:
        """Make an item and claim it until the work on it is over, so that no other removal takes it for a leftover."""
        with contextlib.ExitStack() as claim:
            item = self._claimed_item(claim)
            note = {"label": target.label, "folder": target.folder, "commit": target.commit}
            try:
                with open(f"{item}/{NOTE}", "x", encoding="utf-8") as file:
                    json.dump(note, file)
            except OSError as exc:
                if exc.errno not in safe_files.FULL:
                    raise  # on a full disk a removal is what makes room: then the item has no name
            try:
                yield item
            except (OSError, KnifeError):
                if not trash.has_begun(item):
                    safe_files.delete(item)
                    self._close_trash()
                raise

    def _claimed_item(self, claim: contextlib.ExitStack) -> str:
        """Make an empty item and claim it; another removal may clear it, or the whole trash, away in between."""
        while True:
            safe_files.make_folder(self._root, TRASH)
            item = f"{self._trash}/{os.urandom(8).hex()}"
            with contextlib.suppress(FileNotFoundError):
                os.mkdir(item)
                if claim.enter_context(trash.claimed(item)) and os.path.isdir(item):
                    return item

    def _discard_repo(self, folder: str, item: str) -> None:
        repo = f"{self._root}/{folder}"
        os.rename(repo, f"{item}/{CONTENT}")
        try:
            RepoLocks(self._root, folder).check()
        except LocksPresent:
            # A download began between the last look and the rename: it gets its folder back, or has made a new one.
            with contextlib.suppress(FileExistsError, OSError):
                os.rename(f"{item}/{CONTENT}", repo)
            raise
        safe_files.sync(self._root)

    def _discard_snapshot(self, folder: str, commit: str, refs: tuple[str, ...], item: str) -> None:
        snapshots = safe_files.real_folder(self._root, folder, SNAPSHOTS)
        paths = []
        for ref in refs:
            holder = safe_files.real_folder(self._root, folder, REFS, *ref.split("/")[:-1])
            paths.append(f"{holder}/{ref.rpartition('/')[2]}")
        gone = []
        try:
            for path in paths:
                os.unlink(path)
                gone.append(path)
            os.rename(f"{snapshots}/{commit}", f"{item}/{CONTENT}")
        except OSError:
            for path in gone:  # nothing goes: the refs are as they were
                with open(path, "x", encoding="utf-8") as file:
                    file.write(commit)
            raise
        safe_files.sync(snapshots)

    def _finish_alone(self, item: str) -> None:
        """Finish an item of an earlier removal, unless its repo is being worked on: then later."""
        folder, _ = trash.origin(item)
        if folder is None:
            self._finish(item)
            return
        with contextlib.suppress(LocksPresent), RepoLocks(self._root, folder).held():
            self._finish(item)

    def _finish(self, item: str, known: tuple[str, str | None] | None = None) -> None:
        """Free what an item still holds on to, then delete it, the note last.

        ``known`` is the folder and commit it came from, which on a full disk no note tells.
        """
        folder, commit = known or trash.origin(item)
        if folder is not None and commit is not None:
            self._free_blobs(folder, commit, item)
        for part in (BLOBS, CONTENT):
            safe_files.delete(f"{item}/{part}")
        safe_files.delete(item)
        self._close_trash()

    def _free_blobs(self, folder: str, commit: str, item: str) -> None:
        """Move the blobs that only a removed snapshot needed after it, and drop the listing of its commit."""
        content, names = f"{item}/{CONTENT}", set[str]()
        with contextlib.suppress(OSError):  # it may be readable all the same
            if os.path.isdir(content) and not os.path.islink(content):
                safe_files.unlock(content)
        with contextlib.suppress(OSError):  # what cannot be read leaves orphans, which are reported
            names.update(_linked_blobs(content, f"{self._root}/{folder}/{BLOBS}"))
        for name in sorted(names):
            self._move_blob(folder, name, item)
        with contextlib.suppress(OSError):  # a listing more does no harm
            os.unlink(f"{safe_files.real_folder(self._root, folder, TREES)}/{commit}.json")

    def _close_trash(self) -> None:
        with contextlib.suppress(OSError):  # it stays while something is in it
            os.rmdir(self._trash)

    def _move_blob(self, folder: str, name: str, item: str) -> bool:
        """Move a blob into an item unless it is needed or being downloaded; say whether it went."""
        blobs = f"{self._root}/{folder}/{BLOBS}"
        if name in NO_NAMES or not os.path.isdir(blobs) or os.path.realpath(blobs) != blobs:
            return False  # what stands behind a link is not the repo's own
        blob = f"{blobs}/{name}"
        if not os.path.lexists(blob):
            return False
        with RepoLocks(self._root, folder).blob(blob_of_partial(name) or name) as is_free:
            if not is_free or not os.path.lexists(blob) or self._is_needed(folder, name):
                return False
            safe_files.make_folder(item, BLOBS)
            os.rename(blob, f"{item}/{BLOBS}/{name}")
            if self._is_needed(folder, name):  # somebody linked to it at this very moment
                os.rename(f"{item}/{BLOBS}/{name}", blob)
                return False
        return True

    def _is_needed(self, folder: str, name: str) -> bool:
        """Tell whether a snapshot needs a blob; one that cannot be looked at may do so."""
        snapshots, blobs = (f"{self._root}/{folder}/{part}" for part in (SNAPSHOTS, BLOBS))
        try:
            return any(name in _linked_blobs(f"{snapshots}/{commit}", blobs) for commit in _folders(snapshots))
        except OSError:
            return True


def _folders(path: str) -> list[str]:
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, "is a link, not a folder", path)
        with os.scandir(path) as found:
            return [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _stored_blobs(path: str, locks: RepoLocks) -> Iterator[StoredBlob]:
    """Yield the blobs of a repo; a partial that somebody writes to at this moment is none. Raises OSError."""
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        to_be = blob_of_partial(entry.name)
        if entry.is_dir(follow_symlinks=False) or (to_be is not None and locks.is_live(to_be)):
            continue
        with contextlib.suppress(FileNotFoundError):  # somebody finished or removed it since
            size = entry.stat(follow_symlinks=False).st_size
            yield StoredBlob(name=entry.name, size=size, unfinished=to_be is not None)


def _linked_blobs(snapshot: str, blobs: str) -> Iterator[str]:
    """Yield the last part of every link of a snapshot, wherever it leads, and of a blob that is a link itself.

    Raises OSError where a part of it cannot be looked at: what stands there could lead to any blob.
    """
    for folder, names in safe_files.walk(snapshot, _stop):
        for name in names:
            if (blob := _lead(f"{folder}/{name}")) is not None:
                yield blob
                if (further := _lead(f"{blobs}/{blob}")) is not None:
                    yield further


def _lead(path: str) -> str | None:
    """Return the last part of what a link leads to; None where there is no link. Raises OSError."""
    try:
        return os.readlink(path).rpartition("/")[2]
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return None
        raise


def _stop(exc: OSError) -> None:
    if exc.errno != errno.ENOENT:  # what is gone needs nothing
        raise exc
