"""Listed files stay below their folder, and a name means one model whatever else is in the cache."""

from __future__ import annotations

import contextlib
import posixpath
from random import Random

from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # exported lazily
from hypothesis import example, given
from hypothesis import strategies as st

from mlxknife.domain.errors import AmbiguousMatch, DownloadFailed, KnifeError, ValidationError
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.names.rules import naming
from mlxknife.domain.transfer import rules as listings
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from tests.fake_hub import HOSTILE_NAMES
from tests.property.strategies import file_names, repo_folders, repo_ids, strange_text

_ROOT = "/cache/snapshots/commit"
_parts = st.one_of(st.sampled_from([".", "..", "", "a", "b", "c.json", " ", "a.", "~", "-"]), file_names(12))
_names = st.one_of(
    st.lists(_parts, min_size=1, max_size=5).map("/".join), strange_text(), st.sampled_from(HOSTILE_NAMES)
)
_plain = st.lists(st.sampled_from(["a", "b", "c.json", "d"]), min_size=1, max_size=3).map("/".join)
_patterns = st.lists(
    st.one_of(st.sampled_from(["*", "a*", "*.json", "a/", "b/*", "[ab]", "?", ""]), _plain), max_size=3
)
_words = repo_ids().map(naming.last_part)


def _file(name: str) -> RemoteFile:
    return RemoteFile(name, 1, RecordedHash(HashAlgorithm.GIT_SHA1, "0" * 40), "0" * 40)


def _is_taken(names: list[str]) -> bool:
    try:
        listings.check_listing(RemoteCommit("org/name", "0" * 40, tuple(map(_file, names))))
    except DownloadFailed:
        return False
    return True


@given(_names)
@example("a/./../../b")
@example("//")
def test_an_accepted_name_stays_below_its_folder(name: str) -> None:
    if listings.is_plain_name(name):
        joined = posixpath.join(_ROOT, name)
        assert joined == posixpath.normpath(joined) == f"{_ROOT}/{name}"
        assert posixpath.commonpath([_ROOT, joined]) == _ROOT != joined
        assert "\0" not in name
        assert "\\" not in name
        assert len(name.splitlines()) == 1
        name.encode()  # is UTF-8


@given(st.lists(st.one_of(_names, _plain), max_size=6), st.randoms())
def test_the_order_of_a_listing_does_not_matter(names: list[str], random: Random) -> None:
    assert _is_taken(names) == _is_taken(random.sample(names, len(names)))


@given(st.lists(_plain, max_size=8))
def test_a_listing_is_accepted_exactly_when_its_files_do_not_conflict(names: list[str]) -> None:
    folders = {name[:at] for name in names for at, char in enumerate(name) if char == "/"}
    assert _is_taken(names) == (len(set(names)) == len(names) and folders.isdisjoint(names))


@given(st.lists(st.one_of(_names, _plain), max_size=6))
def test_every_part_of_an_accepted_listing_is_accepted(names: list[str]) -> None:
    if _is_taken(names):
        assert all(_is_taken(names[:at] + names[at + 1 :]) for at in range(len(names)))


@given(st.lists(_plain, max_size=8), _patterns, _patterns)
def test_selected_files_are_a_subset_in_order(names: list[str], include: list[str], exclude: list[str]) -> None:
    files = tuple(map(_file, names))
    try:
        chosen = listings.select_files(files, include, exclude)
    except ValidationError:
        assert files
        assert include or exclude
        return
    left = iter(files)
    assert all(file in left for file in chosen)
    assert listings.select_files(chosen, include, exclude) == chosen
    assert bool(chosen) == bool(files)


def _selected(names: list[str], include: list[str], exclude: list[str]) -> set[str]:
    with contextlib.suppress(ValidationError):
        return {file.name for file in listings.select_files(map(_file, names), include, exclude)}
    return set()


@given(st.lists(_plain, min_size=1, max_size=8, unique=True), _patterns, _patterns, _plain)
def test_patterns_are_a_union_less_a_union(names: list[str], include: list[str], exclude: list[str], more: str) -> None:
    assert _selected(names, [], []) == _selected(names, ["*"], []) == set(names)
    chosen = _selected(names, include, exclude)
    assert chosen == _selected(names, include, []) - (_selected(names, exclude, []) if exclude else set())
    if include:
        assert _selected(names, [*include, more], exclude) == chosen | _selected(names, [more], exclude)
    assert _selected(names, include, [*exclude, more]) == chosen - _selected(names, [more], [])
    assert (more in _selected(names, [more], [])) == (more in names)


@given(st.one_of(st.text(st.sampled_from("aB0-_./g it"), max_size=100), repo_ids(), st.text(max_size=20)))
@example("a/b.git")
@example("_/_")
@example("a\n")
@example("a--b")
@example("a-/-b")
@example("x" * 96)
@example("x" * 97)
@example("x" * 48 + "/" + "y" * 48)
def test_an_accepted_repo_id_is_valid_for_the_hub(name: str) -> None:
    with contextlib.suppress(ValidationError):
        naming.check_repo_id(name)
        assert name.isascii()
        validate_repo_id(name)


@given(repo_ids())
def test_every_repo_id_of_the_hub_is_accepted(name: str) -> None:
    validate_repo_id(name)
    naming.check_repo_id(name)
    assert naming.name_on_hub(name, [name]) == name
    assert naming.repo_name(naming.repo_folder(name)) == name


def _meant(word: str, cached: list[str]) -> str | tuple[str, tuple[str, ...] | None]:
    try:
        return naming.name_on_hub(word, cached)
    except KnifeError as error:
        return error.code, error.matches


@given(st.data(), st.lists(repo_ids(), max_size=6), st.randoms())
def test_the_order_of_the_cache_does_not_matter(data: st.DataObject, cached: list[str], random: Random) -> None:
    word = data.draw(st.sampled_from([*map(naming.last_part, cached), *cached, "x", "-"]))
    shuffled = random.sample(cached, len(cached))
    assert _meant(word, cached) == _meant(word, shuffled) == _meant(word, [*cached, *shuffled])


@given(_words, st.lists(repo_ids(), max_size=6))
def test_a_name_without_owner_is_a_cached_model_else_one_of_mlx_community(word: str, cached: list[str]) -> None:
    last_parts = [name for name in {*cached} if naming.last_part(name) == word]
    if len(last_parts) <= 1 or word in last_parts:
        expected = word if word in last_parts else [*last_parts, f"mlx-community/{word}"][0]
        assert naming.name_on_hub(word, cached) == expected
    ours = f"mlx-community/{word}"
    assert naming.name_on_hub(word, [name for name in cached if name not in last_parts]) == ours
    assert naming.name_on_hub(word, [f"a/{word}"]) == f"a/{word}"
    assert naming.name_on_hub(word, [f"a/{word}", f"b/{word}", ours]) == ours


@given(_words, st.lists(repo_folders(), max_size=4))
@example("llama", ["models--a--b--llama"])
def test_foreign_folders_in_the_cache_do_not_block_a_pull(word: str, folders: list[str]) -> None:
    cached = [naming.repo_name(folder) for folder in folders]
    with contextlib.suppress(AmbiguousMatch):
        naming.check_repo_id(naming.name_on_hub(word, cached))


@given(st.one_of(strange_text(60), file_names(), _names))
def test_an_accepted_revision_stays_below_its_folder(text: str) -> None:
    with contextlib.suppress(ValidationError):
        naming.check_revision(text)
        joined = posixpath.join(_ROOT, text)
        assert joined == posixpath.normpath(joined) == f"{_ROOT}/{text}"
        text.encode()
