"""Pulling from the Hub: a plan of the missing and damaged files, then its execution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.errors import (
    DownloadFailed,
    HubOffline,
    LocksPresent,
    ModelNotFound,
    NetworkError,
    RepoNotFound,
    StorageError,
    ValidationError,
)
from mlxknife.domain.hints import HintCode
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.models.rules import starters
from mlxknife.domain.models.values.hashes import HashJob, RecordedHash
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.names.rules import naming, revisions
from mlxknife.domain.names.services import Finder
from mlxknife.domain.text.rules import display
from mlxknife.domain.transfer import rules as listings
from mlxknife.domain.transfer.values import CachedFile, CachedFileState, PullPlan, PullRequest, RemoteCommit, RemoteFile
from mlxknife.ports.hub.hub import Hub
from mlxknife.ports.store.download_store import DownloadStore
from mlxknife.ports.store.hasher import Hasher
from mlxknife.ports.system.progress import NoProgress, Progress

_ALL_FILES = PullRequest()
_MAX_SUGGESTIONS = 5

_JobKey = tuple[str, str, str]


@attrs.frozen
class Puller:
    """Answers ``pull``."""

    finder: Finder
    inspector: Inspector
    hub: Hub
    download_store: DownloadStore
    hasher: Hasher

    __repr__ = reprs.name

    def name(self, spec: str) -> tuple[str, str | None]:
        """Return the full name and the revision that a spec names.

        Raises ValidationError, AmbiguousMatch, StorageError, AccessDenied.
        """
        parsed = naming.parse_spec(spec)
        if parsed.is_path:
            msg = f"Only models of the Hub can be pulled, not a path: {spec}"
            raise ValidationError(msg, hint=HintCode.HUB_NAME)
        cached = (naming.repo_name(folder) for folder in self.finder.store.folders())
        return naming.name_on_hub(parsed.name, cached), parsed.revision

    def plan(self, spec: str, request: PullRequest = _ALL_FILES, progress: Progress | None = None) -> PullPlan:
        """Return what a pull would download. Cached files without a stamp are hashed first.

        Raises ValidationError, AmbiguousMatch, StorageError, AccessDenied, and what ``Hub.commit`` raises; RepoNotFound
        and NetworkError with ``suggestions``.
        """
        name, revision = self.name(spec)
        if revision is not None and request.revision is not None and revision != request.revision:
            msg = f"Two revisions were given: {revision} and {request.revision}"
            raise ValidationError(msg, hint=HintCode.REVISION_ONCE)
        given = request.revision if request.revision is not None else revision
        revision = revisions.MAIN if given is None else given
        naming.check_revision(revision)
        revision = self._full_commit(name, revision)
        draft = PullPlan(
            name=name,
            folder=naming.repo_folder(name),
            is_expanded=name != naming.parse_spec(spec).name,
            commit=RemoteCommit(name, revision, ()),
            is_forced=request.force,
        )
        try:
            commit = self.hub.commit(name, revision)
        except HubOffline:
            return self._offline(draft, revision)
        except RepoNotFound as error:
            error.suggestions = (*self._similar(name), starters.DEFAULT)
            raise
        except NetworkError as error:
            error.suggestions = (starters.DEFAULT,)
            raise
        listings.check_listing(commit)
        files = listings.select_files(commit.files, request.include, request.exclude)
        ref = None if revisions.is_commit_prefix(revision, commit.commit) else revision
        plan = attrs.evolve(draft, commit=commit, ref=ref)
        return self._with_cached_files(plan, files, progress or NoProgress())

    def execute(self, plan: PullPlan, progress: Progress | None = None) -> None:
        """Download the missing files of a plan, and publish the snapshot.

        After an error or a crash the cache is consistent, and the next pull resumes where this one stopped. Raises
        LocksPresent, StorageError, AccessDenied, and what ``Hub.fetch`` raises.
        """
        if plan.is_done:
            self._record_stamps(plan)
            return
        progress = progress or NoProgress()
        with self.download_store.lock_shared(plan.folder, progress):
            plan = self._refreshed(plan)
            self._check_disk_space(plan)
            publisher = self.download_store.publisher(plan.folder, progress, force_download=plan.is_forced)
            progress.begin("downloading", plan.bytes_to_fetch)
            try:
                self.hub.fetch(plan.commit, [cached.file for cached in plan.missing], publisher)
            finally:
                progress.end()
            publisher.publish(plan.commit, plan.cached_files, plan.ref)

    def _similar(self, name: str) -> tuple[str, ...]:
        """Return the names of models on the Hub that are similar to one that it does not have."""
        for text in listings.search_texts(name):
            try:
                found = self.hub.search(text, _MAX_SUGGESTIONS)
            except DownloadFailed:  # the error that the caller raises matters more
                return ()
            similar = listings.similar_models(found, name)
            if similar:
                return similar
        return ()

    def _full_commit(self, name: str, revision: str) -> str:
        """Return the cached commit that a revision abbreviates: the Hub only knows full commit hashes."""
        if not revisions.can_abbreviate_commit(revision):
            return revision
        repo = self.finder.store.repo(naming.repo_folder(name))
        found = revisions.named_snapshots(repo, revision)
        return found[0] if len(found) == 1 and revisions.is_commit_prefix(revision, found[0]) else revision

    def _record_stamps(self, plan: PullPlan) -> None:
        """Record the listing, and which files were verified, so that later pulls need not hash them.

        A read-only cache is left as it is.
        """
        if plan.is_offline:
            return
        has_listing = self.download_store.has_listing(plan.folder, plan.commit.commit)
        if plan.was_hashed or not has_listing or self.download_store.has_leftovers(plan.folder):
            with suppress(StorageError, LocksPresent), self.download_store.lock_shared(plan.folder, waits=False):
                plan = self._refreshed(plan)
                if plan.missing:  # the cache changed in the meantime: the next pull handles it
                    return
                publisher = self.download_store.publisher(plan.folder, NoProgress(), force_download=False)
                publisher.publish(plan.commit, plan.cached_files, None)

    def _with_cached_files(self, plan: PullPlan, files: Sequence[RemoteFile], progress: Progress) -> PullPlan:
        """Add the state of the selected files in the cache, hashing the unverified ones."""
        cached_files = self.download_store.cached_files(plan.folder, plan.commit.commit, files)
        jobs = {_key(job.location, job.name, job.recorded): job for job in _jobs(plan.name, cached_files)}
        matching: set[_JobKey] = set()
        progress.begin("checking cached files", sum(job.size for job in jobs.values()))
        try:
            for outcome in self.hasher.hash_files(jobs.values(), progress.advance):
                if outcome.matches:
                    matching.add(_key(outcome.job.location, outcome.job.name, outcome.job.recorded))
        finally:
            progress.end()
        judged = tuple(_judged(cached, matching) for cached in cached_files)
        refs = self.finder.store.repo(plan.folder).refs
        is_ref_set = plan.ref is None or any(ref.name == plan.ref and ref.commit == plan.commit.commit for ref in refs)
        is_in_place = is_ref_set and all(cached.is_linked for cached in judged)
        return attrs.evolve(plan, cached_files=judged, is_in_place=is_in_place, was_hashed=bool(jobs))

    def _refreshed(self, plan: PullPlan) -> PullPlan:
        """Read the cache again under its lock: files that changed since the plan was made are downloaded too."""
        files = [cached.file for cached in plan.cached_files]
        now = self.download_store.cached_files(plan.folder, plan.commit.commit, files)
        return attrs.evolve(
            plan,
            cached_files=tuple(
                attrs.evolve(after, state=CachedFileState.VERIFIED)
                if before.is_verified and before.identity == after.identity
                else _unverified_as_damaged(after)
                for before, after in zip(plan.cached_files, now, strict=True)
            ),
        )

    def _check_disk_space(self, plan: PullPlan) -> None:
        free = self.download_store.free_bytes()
        if plan.bytes_to_fetch > free:
            msg = f"Not enough free disk space: {display.size(plan.bytes_to_fetch)} needed, {display.size(free)} free"
            raise StorageError(msg, hint=HintCode.FREE_DISK_SPACE)

    def _offline(self, draft: PullPlan, revision: str) -> PullPlan:
        """Return a plan from the cache alone: an intact model needs no network."""
        spec = draft.name if revision == revisions.MAIN else f"{draft.name}@{revision}"
        entry = None
        refs = {ref.name for ref in self.finder.store.repo(draft.folder).refs}
        if revision != revisions.MAIN or revisions.MAIN in refs or not refs:
            with suppress(ModelNotFound):
                entry = self.finder.cached_entry(draft.name, draft.folder, None if spec == draft.name else revision)
        if entry is None or entry.location is None:
            msg = f"'{spec}' is not in the cache, and offline mode is on"
            raise HubOffline(msg, hint=HintCode.UNSET_OFFLINE, suggestions=(starters.DEFAULT,))
        finding = self.inspector.finding(entry, self.inspector.facts(entry))
        if finding is not None or draft.is_forced or entry.commit is None:
            msg = f"'{spec}' cannot be downloaded again in offline mode"
            reason = f" ({finding.reason})" if finding is not None else ""
            raise HubOffline(msg + reason, hint=HintCode.UNSET_OFFLINE)
        commit = RemoteCommit(draft.name, entry.commit, ())
        return attrs.evolve(draft, commit=commit, is_in_place=True, is_offline=True)


def _jobs(model: str, cached_files: Iterable[CachedFile]) -> Iterable[HashJob]:
    for cached in cached_files:
        if cached.state is CachedFileState.UNVERIFIED and cached.location is not None:
            yield HashJob(model, cached.location, cached.name, cached.file.size, cached.file.hash)


def _key(location: Location, name: str, recorded: RecordedHash) -> _JobKey:
    """Return the key of a hash job: the same file may be listed with two hashes."""
    return location.token, name, recorded.digest


def _judged(cached: CachedFile, matching: set[_JobKey]) -> CachedFile:
    if cached.state is not CachedFileState.UNVERIFIED or cached.location is None:
        return cached
    is_match = _key(cached.location, cached.name, cached.file.hash) in matching
    return attrs.evolve(cached, state=CachedFileState.VERIFIED if is_match else CachedFileState.DAMAGED)


def _unverified_as_damaged(cached: CachedFile) -> CachedFile:
    """Treat a file that appeared in the meantime as damaged: its sink hashes it, and keeps it if it matches."""
    return attrs.evolve(cached, state=CachedFileState.DAMAGED) if cached.state is CachedFileState.UNVERIFIED else cached
