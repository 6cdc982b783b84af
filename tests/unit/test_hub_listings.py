from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.errors import DownloadFailed, ValidationError
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.transfer import rules as listings
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from tests.fake_hub import HOSTILE_NAMES


def _file(name: str, size: int = 1) -> RemoteFile:
    return RemoteFile(name, size, RecordedHash(HashAlgorithm.GIT_SHA1, "0" * 40), "0" * 40)


def _commit(*names: str) -> RemoteCommit:
    return RemoteCommit("org/name", "0" * 40, tuple(map(_file, names)))


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        ".gitattributes",
        "..config",
        "a/b/c/d.safetensors",
        "a b.txt",
        " leading",
        "~",
        "-rf",
        "日本語/ß.txt",
        "família👨\u200d👩.md",
        "x" * 255,
        "ü" * 127,
        "/".join(["y" * 255] * 4),
        "CON",
        "a:b",
        "a*b?",
    ],
)
def test_a_usual_name_is_accepted(name: str) -> None:
    assert listings.is_plain_name(name)
    listings.check_listing(_commit(name))


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in HOSTILE_NAMES if name != "config.json/child"),
        "a/",
        "/a",
        "a/../b",
        "a ",
        "a./b",
        "a /b",
        "\ufeffa",
        "a\u2028b",
        "\x7f",
        "ü" * 128,
        "/".join(["y" * 255] * 5),
    ],
)
def test_a_hostile_name_refuses_the_whole_listing(name: str) -> None:
    assert not listings.is_plain_name(name)
    with pytest.raises(DownloadFailed) as caught:
        listings.check_listing(_commit("config.json", name))
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a"),
        ("a", "b", "a"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("config.json", "config.json/child"),
        ("a/b/c", "x", "a/b"),
        ("a/b/c/d", "a"),
    ],
)
def test_conflicting_names_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DownloadFailed, match=r"twice|same name"):
        listings.check_listing(_commit(*names))


@pytest.mark.parametrize("names", [(), ("a", "b"), ("a", "ab", "a.b", "b/a", "b/b"), ("a/b", "a/c", "A")])
def test_names_without_conflict_are_accepted(names: tuple[str, ...]) -> None:
    listings.check_listing(_commit(*names))


@pytest.mark.parametrize(("size", "is_taken"), [(0, True), (2**50, True), (2**50 + 1, False), (-1, False)])
def test_an_impossible_size_is_refused(size: int, *, is_taken: bool) -> None:
    commit = attrs.evolve(_commit(), files=(_file("a"), _file("b", size)))
    if is_taken:
        listings.check_listing(commit)
        return
    with pytest.raises(DownloadFailed, match=str(size)):
        listings.check_listing(commit)


_NAMES = ("a.safetensors", "b.safetensors", "config.json", "onnx/a.onnx", "onnx/deep/c.json", "onnx.md")


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        ((), (), _NAMES),
        (("*",), (), _NAMES),
        (("*.safetensors",), (), _NAMES[:2]),
        (("*.json",), (), ("config.json", "onnx/deep/c.json")),
        (("onnx/",), (), ("onnx/a.onnx", "onnx/deep/c.json")),
        (("onnx",), ("x",), None),
        (("onnx*",), ("*.md",), ("onnx/a.onnx", "onnx/deep/c.json")),
        ((), ("onnx/",), ("a.safetensors", "b.safetensors", "config.json", "onnx.md")),
        (("config.json", "[ab].*"), ("b*",), ("a.safetensors", "config.json")),
        (("?.safetensors",), (), _NAMES[:2]),
        (("*.JSON",), (), None),
        (("*",), ("*",), None),
        (("", "/"), (), None),
    ],
)
def test_patterns_select_files(
    include: tuple[str, ...], exclude: tuple[str, ...], chosen: tuple[str, ...] | None
) -> None:
    files = _commit(*_NAMES).files
    if chosen is not None:
        assert tuple(file.name for file in listings.select_files(files, include, exclude)) == chosen
        return
    with pytest.raises(ValidationError) as caught:
        listings.select_files(files, include, exclude)
    assert "a.safetensors" in str(caught.value.hint)


def test_an_empty_listing_selects_nothing() -> None:
    assert listings.select_files((), ("*.json",), ("*",)) == ()
