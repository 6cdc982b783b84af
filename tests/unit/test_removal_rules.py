from __future__ import annotations

from mlxknife.domain.removal import rules as removal
from mlxknife.domain.removal.values import BlobUse, Leftovers, Orphan, RemovalPlan, RemovalTarget, StoredBlob, TrashItem

_USE = BlobUse(
    folder="models--org--name",
    blobs=(
        StoredBlob("both", 1),
        StoredBlob("one", 2),
        StoredBlob("two", 4),
        StoredBlob("none", 8),
        StoredBlob("part.incomplete", 16, unfinished=True),
    ),
    used_by={"1": frozenset({"both", "one"}), "2": frozenset({"both", "two", "lost"})},
)


def test_a_snapshot_frees_the_blobs_that_only_it_uses() -> None:
    assert [blob.name for blob in removal.freed_by(_USE, "1")] == ["one"]
    assert [blob.name for blob in removal.freed_by(_USE, "2")] == ["two"]
    assert list(removal.freed_by(_USE, "3")) == []


def test_a_snapshot_also_frees_what_only_snapshots_removed_before_it_used() -> None:
    assert [blob.name for blob in removal.freed_by(_USE, "2", before=("1",))] == ["both", "two"]


def test_used_blobs_are_those_that_snapshots_link_to() -> None:
    assert removal.used(_USE) == {"both", "one", "two", "lost"}
    assert removal.used(_USE, without=("2",)) == {"both", "one"}
    assert removal.used(BlobUse("x", (), {})) == frozenset()


def test_orphans_are_the_unused_blobs() -> None:
    assert [blob.name for blob in removal.orphans(_USE)] == ["none", "part.incomplete"]


def test_labels_and_sums() -> None:
    whole = RemovalTarget(name="org/name", size_bytes=5, folder="models--org--name")
    one = RemovalTarget(name="org/name", size_bytes=7, folder="models--org--name", commit="0123456789abcdef")
    assert (whole.label, one.label) == ("org/name", "org/name@0123456789ab")
    assert RemovalPlan((whole, one)).size_bytes == 12
    orphan = Orphan("org/name", "models--org--name", _USE.blobs[3])
    assert Leftovers((orphan, orphan), (TrashItem("0", "org/gone", 100),)).size_bytes == 116
