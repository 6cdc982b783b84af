"""The contract of ``SnapshotReader`` for files and links; contents are in ``test_snapshot_contents``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mlxknife.domain.models.values.snapshot import FileState
from tests.contracts.snapshot_readers import Opened, Opener, openers
from tests.fakes.snapshot_reader import Link, Locked, Pipe, Thing

_OK, _GONE, _OUT = FileState.OK, FileState.DANGLING, FileState.ESCAPING
_SNAPSHOT = "repo/snapshots/c"

pytestmark = pytest.mark.parametrize("opener", openers(), ids=["fake", "real"])


def _read(
    opener: Opener, place: Path, disk: Mapping[str, Thing], bounds: tuple[str, ...] = ("repo", "blobs")
) -> Opened:
    return opener(place, disk, _SNAPSHOT, bounds)


def test_every_file_is_listed_once_with_its_size(opener: Opener, place: Path) -> None:
    disk = {f"{_SNAPSHOT}/{name}": bytes(size) for size, name in enumerate(["a", "b.txt", "sub/c", "sub/deep/d", ".e"])}
    facts = _read(opener, place, disk).facts()
    assert {file.name: file.size for file in facts.files} == {"a": 0, "b.txt": 1, "sub/c": 2, "sub/deep/d": 3, ".e": 4}
    assert {file.state for file in facts.files} == {_OK}
    assert facts.problem is None


def test_hidden_folders_are_not_part_of_a_model(opener: Opener, place: Path) -> None:
    disk = {f"{_SNAPSHOT}/{name}": b"x" for name in ("a", ".git/b", ".cache/huggingface/c")}
    assert _read(opener, place, disk).facts().names() == {"a"}


def test_a_missing_folder_is_a_problem(opener: Opener, place: Path) -> None:
    facts = _read(opener, place, {"repo/x": b""}).facts()
    assert facts.problem
    assert facts.files == ()


def test_links_lead_to_their_bytes_and_are_known_by_the_first_hop(opener: Opener, place: Path) -> None:
    disk: dict[str, Thing] = {
        f"{_SNAPSHOT}/a": Link("../../blobs/one"),
        f"{_SNAPSHOT}/sub/b": Link("../../../blobs/two"),
        f"{_SNAPSHOT}/c": Link("{root}/repo/blobs/one"),
        f"{_SNAPSHOT}/d": b"four",
        f"{_SNAPSHOT}/e": Link("d"),
        f"{_SNAPSHOT}/f": Link("../../../blobs/ab/three"),
        "repo/blobs/one": b"1",
        "repo/blobs/two": Link("../../blobs/ab/three"),
        "blobs/ab/three": b"three",
    }
    facts = _read(opener, place, disk).facts()
    seen = {file.name: (file.state, file.size, file.blob) for file in facts.files}
    assert seen == {
        "a": (_OK, 1, "one"),
        "sub/b": (_OK, 5, "two"),
        "c": (_OK, 1, "one"),
        "d": (_OK, 4, None),
        "e": (_OK, 4, "d"),
        "f": (_OK, 5, None),
    }
    assert facts.size_bytes() == 1 + 5 + 4


@pytest.mark.parametrize(
    ("target", "state"),
    [
        ("../../blobs/nothing", _GONE),
        ("nothing", _GONE),
        ("../../blobs/gone", _GONE),
        ("me", FileState.LOOP),
        ("../../blobs/back", FileState.LOOP),
        ("../../../outside/secret", _OUT),
        ("{root}/outside/secret", _OUT),
        ("/etc/hostname", _OUT),
        ("../../blobs/out", _OUT),
        ("../../../repository/secret", _OUT),
        ("../../../outside/nothing", _OUT),
        ("../../blobs", FileState.IRREGULAR),
        ("../../blobs/pipe", FileState.IRREGULAR),
    ],
)
def test_a_link_has_the_state_of_its_target(opener: Opener, place: Path, target: str, state: FileState) -> None:
    disk: dict[str, Thing] = {
        f"{_SNAPSHOT}/me": Link(target),
        "repo/blobs/one": b"1",
        "repo/blobs/gone": Link("nothing"),
        "repo/blobs/back": Link(f"../../{_SNAPSHOT}/me"),
        "repo/blobs/out": Link("../../outside/secret"),
        "repo/blobs/pipe": Pipe(),
        "outside/secret": b"secret",
        "repository/secret": b"secret",
    }
    (file,) = _read(opener, place, disk).facts().files
    assert file.state is state
    assert file.size == 0 or state is FileState.IRREGULAR


def test_a_chain_of_links_is_followed_to_its_end(opener: Opener, place: Path) -> None:
    disk: dict[str, Thing] = {f"{_SNAPSHOT}/{number}": Link(f"{number + 1}") for number in range(20)}
    facts = _read(opener, place, disk | {f"{_SNAPSHOT}/20": b"end"}).facts()
    assert {(file.state, file.size) for file in facts.files} == {(_OK, 3)}
    assert facts.size_bytes() == 3


def test_a_pipe_is_irregular_and_not_opened(opener: Opener, place: Path) -> None:
    facts = _read(opener, place, {f"{_SNAPSHOT}/config.json": Pipe(), f"{_SNAPSHOT}/a.safetensors": Pipe()}).facts()
    assert {file.state for file in facts.files} == {FileState.IRREGULAR}
    assert (facts.documents, facts.weights) == ({}, {})


def test_escaping_and_dangling_links_are_not_read(opener: Opener, place: Path) -> None:
    disk: dict[str, Thing] = {
        f"{_SNAPSHOT}/config.json": Link("../../../outside/config.json"),
        f"{_SNAPSHOT}/model.safetensors": Link("nothing"),
        "outside/config.json": b"{}",
    }
    facts = _read(opener, place, disk).facts()
    assert (facts.documents, facts.weights) == ({}, {})


def test_a_file_that_may_not_be_opened_is_unreadable_and_hides_no_other(opener: Opener, place: Path) -> None:
    disk: dict[str, Thing] = {
        f"{_SNAPSHOT}/config.json": Locked(b"{}"),
        f"{_SNAPSHOT}/model.safetensors": Locked(b"x" * 9),
        f"{_SNAPSHOT}/tokenizer.json": b"{}",
    }
    facts = _read(opener, place, disk).facts()
    assert {file.name: (file.state, file.size) for file in facts.files} == {
        "config.json": (FileState.UNREADABLE, 2),
        "model.safetensors": (FileState.UNREADABLE, 9),
        "tokenizer.json": (_OK, 2),
    }
    assert set(facts.documents) == {"tokenizer.json"}
    assert facts.weights == {}


def test_a_text_is_read_up_to_the_limit(opener: Opener, place: Path) -> None:
    opened = _read(opener, place, {f"{_SNAPSHOT}/README.md": "# Häuser 🦙".encode()})
    assert opened.text("README.md", 1000) == "# Häuser 🦙"
    assert opened.text("README.md", 3) == "# H"
    assert opened.text("README.md", 4) == "# H"
    assert opened.text("README.md", 5) == "# Hä"
    assert opened.text("README.md", 12) == "# Häuser "
    assert opened.text("README.md", 0) == ""


@pytest.mark.parametrize(
    "thing",
    [
        b"\xff",
        b"ab\xffcd",
        Link("nothing"),
        Link("README.md"),
        Link("../../../outside/README.md"),
        Pipe(),
        Locked(b"x"),
    ],
    ids=["no UTF-8", "nearly UTF-8", "dangling", "loop", "outside", "pipe", "locked"],
)
def test_a_text_that_cannot_be_read_is_none(opener: Opener, place: Path, thing: Thing) -> None:
    disk = {f"{_SNAPSHOT}/README.md": thing, f"{_SNAPSHOT}/other": b"", "outside/README.md": b"secret"}
    assert _read(opener, place, disk).text("README.md", 1000) is None


def test_an_invalid_byte_just_before_the_limit_is_not_a_cut_character(opener: Opener, place: Path) -> None:
    opened = _read(opener, place, {f"{_SNAPSHOT}/README.md": b"abcdef\xffgh and more"})
    assert opened.text("README.md", 9) is None


@pytest.mark.parametrize("name", ["missing.md", "sub", "sub/missing.md", "../../../outside/README.md", ""])
def test_a_text_that_is_not_in_the_folder_is_none(opener: Opener, place: Path, name: str) -> None:
    disk = {
        f"{_SNAPSHOT}/sub/README.md": b"x",
        "outside/README.md": b"secret",
    }
    opened = _read(opener, place, disk)
    assert opened.text("sub/README.md", 10) == "x"
    assert opened.text(name, 10) is None


def test_a_text_below_a_linked_folder_outside_is_none(opener: Opener, place: Path) -> None:
    disk: dict[str, Thing] = {f"{_SNAPSHOT}/sub": Link("../../../outside"), "outside/README.md": b"secret"}
    opened = _read(opener, place, disk)
    assert opened.text("sub/README.md", 10) is None
    assert opened.facts().names() == {"sub"}
