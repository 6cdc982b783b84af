"""A removal deletes nothing that another snapshot uses."""

from __future__ import annotations

import tempfile
from pathlib import Path

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxknife import App, open_app
from mlxknife.domain.removal import rules as removal
from mlxknife.domain.removal.values import BlobUse, StoredBlob
from tests.builder import CacheBuilder, Layout, commit_of

_NAMES = ("a", "b", "c", "d", "e", "f.incomplete")
_COMMITS = ("1", "2", "3")


@st.composite
def _uses(draw: st.DrawFn) -> BlobUse:
    """Draw a blob store whose links point to existing, missing or unfinished blobs."""
    stored = draw(st.lists(st.sampled_from(_NAMES), unique=True))
    blobs = (StoredBlob(name, draw(st.integers(0, 9)), name.endswith(".incomplete")) for name in stored)
    links = st.frozensets(st.sampled_from(_NAMES))
    return BlobUse("models--x", tuple(blobs), draw(st.dictionaries(st.sampled_from(_COMMITS), links)))


def _names(blobs: object) -> set[str]:
    assert hasattr(blobs, "__iter__")
    return {blob.name for blob in blobs}


@given(_uses(), st.sampled_from(_COMMITS))
def test_a_freed_blob_is_used_by_no_other_snapshot(use: BlobUse, commit: str) -> None:
    freed = _names(removal.freed_by(use, commit))
    for other, blobs in use.used_by.items():
        assert other == commit or not freed & blobs
    assert freed <= use.used_by.get(commit, frozenset())


@given(_uses(), st.sampled_from(_COMMITS))
def test_freed_blobs_and_blobs_of_the_others_are_all_used_blobs(use: BlobUse, commit: str) -> None:
    finished = {blob.name for blob in use.blobs if not blob.unfinished}
    freed, kept = _names(removal.freed_by(use, commit)), removal.used(use, without=(commit,)) & finished
    assert not freed & kept
    assert freed | kept == removal.used(use) & finished


@given(_uses())
def test_orphans_are_exactly_the_unused_blobs(use: BlobUse) -> None:
    orphans = _names(removal.orphans(use))
    assert orphans == _names(use.blobs) - removal.used(use)


@attrs.frozen
class _Plan:
    """One repo: the content of each file of each snapshot, and the leftovers."""

    layout: Layout
    snapshots: tuple[dict[str, int], ...]
    leftovers: frozenset[str]


_files = st.dictionaries(
    st.sampled_from(["config.json", "a.safetensors", "b.safetensors", "sub/c.txt"]), st.integers(0, 4), min_size=1
)
_leftovers = st.frozensets(st.sampled_from(["0" * 40, "1" * 64, f"{'2' * 64}.incomplete", f"{'3' * 40}.0a.incomplete"]))
_plans = st.lists(
    st.builds(_Plan, st.sampled_from(Layout), st.lists(_files, min_size=1, max_size=3).map(tuple), _leftovers),
    min_size=1,
    max_size=3,
)
_Contents = dict[tuple[str, str], dict[str, bytes]]


def _built(root: Path, plans: list[_Plan]) -> None:
    cache = CacheBuilder(root)
    for number, plan in enumerate(plans):
        for index, files in enumerate(plan.snapshots):
            contents = {name: b"content %d " % content * (content + 1) for name, content in files.items()}
            commit, ref = commit_of(str(index)), f"r{index}"
            built = cache.model(f"org/model{number}", contents, layout=plan.layout, commit=commit, ref=ref)
            for name in plan.leftovers:
                (built.repo / "blobs").mkdir(exist_ok=True)
                (built.repo / "blobs" / name).write_bytes(b"left over")


def _contents(root: Path) -> _Contents:
    """Return the content of every file of every snapshot, through its links."""
    return {
        (folder.parent.parent.name, folder.name): {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()
        }
        for folder in root.glob("models--*/snapshots/*")
    }


def _refs(root: Path) -> dict[tuple[str, str], str]:
    return {(path.parent.parent.name, path.name): path.read_text() for path in root.glob("models--*/refs/*")}


def _orphaned(app: App) -> set[tuple[str, str]]:
    return {(orphan.folder, orphan.blob.name) for orphan in app.remover.leftovers().orphans}


def _bytes(root: Path) -> int:
    return sum(
        path.stat().st_size for path in root.glob("models--*/[bs]*/**/*") if path.is_file() and not path.is_symlink()
    )


def _opened(place: str) -> App:
    surroundings = {"XDG_CONFIG_HOME": place}
    return open_app(hub_cache=f"{place}/hub", workspace_home=f"{place}/home", environment=surroundings)


@settings(max_examples=100)
@given(_plans, st.data())
def test_a_removal_leaves_every_other_snapshot_unchanged(plans: list[_Plan], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "hub")
        _built(root, plans)
        app = _opened(place)
        number = data.draw(st.integers(0, len(plans) - 1))
        index = data.draw(st.none() | st.integers(0, len(plans[number].snapshots) - 1))
        folder = f"models--org--model{number}"
        is_whole = index is None or len(plans[number].snapshots) == 1
        contents, refs, orphaned, size = _contents(root), _refs(root), _orphaned(app), _bytes(root)
        spec = f"org/model{number}" if index is None else f"org/model{number}@r{index}"
        plan = app.remover.plan(spec)
        app.remover.execute(plan)
        gone = {key for key in contents if key[0] == folder and (is_whole or key[1] == commit_of(str(index)))}
        assert _contents(root) == {key: files for key, files in contents.items() if key not in gone}
        assert _refs(root) == {key: commit for key, commit in refs.items() if (key[0], commit) not in gone}
        assert _orphaned(app) == {key for key in orphaned if not (is_whole and key[0] == folder)}
        if plans[number].layout is not Layout.SHARED:
            assert size - _bytes(root) == plan.size_bytes
        assert app.removal_store.trash() == ()


@settings(max_examples=50)
@given(_plans)
def test_a_sweep_frees_every_leftover_and_changes_no_snapshot(plans: list[_Plan]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "hub")
        _built(root, plans)
        app = _opened(place)
        contents, refs, size = _contents(root), _refs(root), _bytes(root)
        found = app.remover.leftovers()
        assert {(orphan.folder, orphan.blob.name) for orphan in found.orphans} == {
            (f"models--org--model{number}", name) for number, plan in enumerate(plans) for name in plan.leftovers
        }
        assert app.remover.sweep(found) == found
        assert (_contents(root), _refs(root), _bytes(root)) == (contents, refs, size - found.size_bytes)
        assert (_orphaned(app), app.removal_store.trash()) == (set(), ())
