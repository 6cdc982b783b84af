"""``pull`` as text: the counts of files to fetch, to repair and to keep."""

from __future__ import annotations

import attrs

from mlxknife.cli.render.progress import total_line
from mlxknife.cli.render.pull import pull_lines, starter_lines
from mlxknife.cli.render.text import paint
from mlxknife.domain.models.rules import starters
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.models.values.starter import Starter
from mlxknife.domain.transfer.values import CachedFile, CachedFileState, PullPlan, RemoteCommit, RemoteFile


def _cached_file(name: str, state: CachedFileState, *, size: int = 1000, partial: int = 0) -> CachedFile:
    digest = RecordedHash(HashAlgorithm.SHA256, name.encode().hex().ljust(64, "0"))
    return CachedFile(RemoteFile(name, size, digest, "0" * 40), state, partial_bytes=partial)


_MISSING = _cached_file("a.safetensors", CachedFileState.MISSING, size=2_000_000, partial=500_000)
_DAMAGED = _cached_file("b.safetensors", CachedFileState.DAMAGED)
_RIGHT = _cached_file("config.json", CachedFileState.VERIFIED)


def _plan(*cached_files: CachedFile, is_in_place: bool = False) -> PullPlan:
    commit = RemoteCommit("org/name", "a" * 40, tuple(cached.file for cached in cached_files))
    return PullPlan("org/name", "models--org--name", False, commit, cached_files, is_in_place=is_in_place)  # noqa: FBT003


def _text(plan: PullPlan, *, is_dry_run: bool = False) -> list[str]:
    return [paint(line, colour=False) for line in pull_lines(plan, "Message", is_dry_run=is_dry_run)]


def test_a_pull_counts_fetched_repaired_and_kept_files() -> None:
    assert _text(_plan(_MISSING, _DAMAGED, _RIGHT)) == ["Message org/name (2 files, 1.5MB; 1 repaired; 1 kept)"]
    assert _text(_plan(_MISSING)) == ["Message org/name (1 file, 1.5MB)"]


def test_a_dry_run_lists_the_files_with_the_bytes_left_to_fetch() -> None:
    assert _text(_plan(_MISSING, _DAMAGED), is_dry_run=True) == [
        "Message org/name (2 files, 1.5MB; 1 to repair)",
        "  a.safetensors (1.5MB)",
        "  b.safetensors (1KB)",
    ]


def test_a_pull_of_links_alone() -> None:
    assert _text(_plan(_RIGHT)) == ["Message org/name (links and refs only; 1 kept)"]


def test_a_complete_model_prints_the_message_alone() -> None:
    plan = _plan(_RIGHT, is_in_place=True)
    assert _text(plan) == _text(attrs.evolve(plan, is_offline=True), is_dry_run=True) == ["Message"]


def test_a_starter_model_is_followed_by_a_command_to_try() -> None:
    lines = [paint(line, colour=False) for line in starter_lines(_starter("starter"), "Created", is_dry_run=False)]
    assert lines == ["Created", "Try it: mlxk run starter 'What is the capital of France?'"]
    assert len(list(starter_lines(_starter("starter"), "Would create", is_dry_run=True))) == 1
    embedder = [paint(line, colour=False) for line in starter_lines(_starter("starter-embed"), "", is_dry_run=False)]
    assert embedder[1:] == ["Try it: mlxk embed starter-embed 'a text'"]


def _starter(name: str) -> Starter:
    starter = starters.named(name)
    assert starter is not None
    return starter


def test_the_time_to_go_is_shown_once_the_rate_says_something() -> None:
    def shown(done: int, seconds: float) -> str:
        return total_line("downloading", done, 1_000_000, seconds, 80)

    assert "to go" not in shown(300, 0.5)
    assert shown(300, 1.5).endswith("200B/s, 1h23m to go")
    assert shown(100_000, 0.5).endswith("200KB/s, 4s to go")
    assert "to go" not in shown(1_000_000, 5.0)
