"""Pulling: first a plan of what is missing or wrong, then its execution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import attrs

from mlxknife.domain.errors import HubOffline, LocksPresent, ModelNotFound, StorageError, ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.integrity.services.inspector import Inspector
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

_EVERYTHING = PullRequest()

_Key = tuple[str, str, str]


@attrs.frozen
class Puller:
    """Answers ``pull``."""

    finder: Finder
    inspector: Inspector
    hub: Hub
    intake: DownloadStore
    hasher: Hasher

    def name(self, spec: str) -> tuple[str, str | None]:
        """Return the full name and the revision that a spec means.

        Raises ValidationError, AmbiguousMatch, StorageError, AccessDenied.
        """
        words = naming.parse_spec(spec)
        if words.is_path:
            msg = f"Only models of the Hub can be pulled, and this is a path: {spec}"
            raise ValidationError(msg, hint=HintCode.HUB_NAME)
        cached = (naming.repo_name(folder) for folder in self.finder.store.folders())
        return naming.name_on_hub(words.name, cached), words.revision

    def plan(self, spec: str, request: PullRequest = _EVERYTHING, progress: Progress | None = None) -> PullPlan:
        """Say what would be fetched, having hashed what is there and was never proven.

        Raises ValidationError, AmbiguousMatch, StorageError, AccessDenied, and what ``Hub.commit`` raises.
        """
        name, revision = self.name(spec)
        if revision is not None and request.revision is not None and revision != request.revision:
            msg = f"Two revisions are named: {revision} and {request.revision}"
            raise ValidationError(msg, hint=HintCode.REVISION_ONCE)
        asked = request.revision if request.revision is not None else revision
        revision = revisions.MAIN if asked is None else asked
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
        listings.check(commit)
        files = listings.wanted(commit.files, request.include, request.exclude)
        ref = None if revisions.is_commit_prefix(revision, commit.commit) else revision
        plan = attrs.evolve(draft, commit=commit, ref=ref)
        return self._compared(plan, files, progress or NoProgress())

    def execute(self, plan: PullPlan, progress: Progress | None = None) -> None:
        """Fetch what a plan misses, and publish it.

        Raises LocksPresent, StorageError, AccessDenied, and what ``Hub.fetch`` raises. Whatever happens, what is listed
        is true, and the next pull goes on from where this one stopped.
        """
        if plan.is_done:
            self._remember(plan)
            return
        progress = progress or NoProgress()
        with self.intake.guarded(plan.folder, progress):
            plan = self._looked_at_again(plan)
            self._check_room(plan)
            reception = self.intake.reception(plan.folder, progress, afresh=plan.is_forced)
            progress.begin("downloading", plan.bytes_to_fetch)
            try:
                self.hub.fetch(plan.commit, [cached.file for cached in plan.missing], reception)
            finally:
                progress.end()
            reception.publish(plan.commit, plan.cached_files, plan.ref)

    def _full_commit(self, name: str, revision: str) -> str:
        """Return the commit of the cache that a revision begins, because the Hub knows only whole ones."""
        if not revisions.can_begin_commit(revision):
            return revision
        repo = self.finder.store.repo(naming.repo_folder(name))
        found = revisions.named_snapshots(repo, revision)
        return found[0] if len(found) == 1 and revisions.is_commit_prefix(revision, found[0]) else revision

    def _remember(self, plan: PullPlan) -> None:
        """Note what was proven, so that it need not be proven again; a cache that cannot be written to does without."""
        if not plan.is_offline and (plan.was_hashed or self.intake.is_untidy(plan.folder)):
            with suppress(StorageError, LocksPresent), self.intake.guarded(plan.folder, waits=False):
                plan = self._looked_at_again(plan)
                if plan.missing:  # it changed meanwhile: the next pull sees to that
                    return
                reception = self.intake.reception(plan.folder, NoProgress(), afresh=False)
                reception.publish(plan.commit, plan.cached_files, None)

    def _compared(self, plan: PullPlan, files: Sequence[RemoteFile], progress: Progress) -> PullPlan:
        """Compare what is wanted with the cache, hashing what is unproven."""
        cached_files = self.intake.cached_files(plan.folder, plan.commit.commit, files)
        jobs = {_key(job.location, job.name, job.recorded): job for job in _jobs(plan.name, cached_files)}
        proven: set[_Key] = set()
        progress.begin("checking what is there", sum(job.size for job in jobs.values()))
        try:
            for outcome in self.hasher.hash_files(jobs.values(), progress.advance):
                if outcome.matches:
                    proven.add(_key(outcome.job.location, outcome.job.name, outcome.job.recorded))
        finally:
            progress.end()
        judged = tuple(_judged(cached, proven) for cached in cached_files)
        refs = self.finder.store.repo(plan.folder).refs
        leads_here = plan.ref is None or any(ref.name == plan.ref and ref.commit == plan.commit.commit for ref in refs)
        is_in_place = leads_here and all(cached.is_linked for cached in judged)
        return attrs.evolve(plan, cached_files=judged, is_in_place=is_in_place, was_hashed=bool(jobs))

    def _looked_at_again(self, plan: PullPlan) -> PullPlan:
        """Fetch also what was there when the plan was made, and went or changed since."""
        files = [cached.file for cached in plan.cached_files]
        now = self.intake.cached_files(plan.folder, plan.commit.commit, files)
        return attrs.evolve(
            plan,
            cached_files=tuple(
                attrs.evolve(after, state=CachedFileState.VERIFIED)
                if before.is_right and before.identity == after.identity
                else _unproven_is_damaged(after)
                for before, after in zip(plan.cached_files, now, strict=True)
            ),
        )

    def _check_room(self, plan: PullPlan) -> None:
        free = self.intake.free_bytes()
        if plan.bytes_to_fetch > free:
            needed, there = display.size(plan.bytes_to_fetch), display.size(free)
            msg = f"Not enough free disk space: {needed} needed, {there} free"
            raise StorageError(msg, hint=HintCode.FREE_DISK_SPACE)

    def _offline(self, draft: PullPlan, revision: str) -> PullPlan:
        """Answer from the cache alone: a model that is whole needs no network."""
        spec = draft.name if revision == revisions.MAIN else f"{draft.name}@{revision}"
        entry = None
        refs = {ref.name for ref in self.finder.store.repo(draft.folder).refs}
        if revision != revisions.MAIN or revisions.MAIN in refs or not refs:
            with suppress(ModelNotFound):
                entry = self.finder.cached_entry(draft.name, draft.folder, None if spec == draft.name else revision)
        if entry is None or entry.location is None:
            msg = f"'{spec}' is not in the cache, and offline mode is on"
            raise HubOffline(msg, hint=HintCode.UNSET_OFFLINE)
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


def _key(location: Location, name: str, recorded: RecordedHash) -> _Key:
    """Return what tells one hash job from another: the same file may be listed with two hashes."""
    return location.token, name, recorded.digest


def _judged(cached: CachedFile, proven: set[_Key]) -> CachedFile:
    if cached.state is not CachedFileState.UNVERIFIED or cached.location is None:
        return cached
    is_right = _key(cached.location, cached.name, cached.file.hash) in proven
    return attrs.evolve(cached, state=CachedFileState.VERIFIED if is_right else CachedFileState.DAMAGED)


def _unproven_is_damaged(cached: CachedFile) -> CachedFile:
    """Leave it to the sink to hash what came meanwhile: it takes only what is right."""
    return attrs.evolve(cached, state=CachedFileState.DAMAGED) if cached.state is CachedFileState.UNVERIFIED else cached
