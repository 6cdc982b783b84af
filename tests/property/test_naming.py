"""Every model has one name, and every name means one model."""

from __future__ import annotations

import contextlib
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.names.rules import naming
from tests.property.strategies import file_names, repo_folders, repo_ids, strange_text

_names = st.frozensets(repo_ids(), max_size=6)
_commits = st.lists(st.text("0123456789abcdefABC", min_size=1, max_size=40), max_size=6, unique=True)


@given(st.one_of(strange_text(300), file_names()))
@example("")
@example("@")
@example("a@")
@example("~\ud800")
@example("a" * 97)
def test_a_spec_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ValidationError):
        spec = naming.parse_spec(text)
        assert spec.is_path or spec.name + (f"@{spec.revision}" if spec.revision is not None else "") == text
        assert not spec.is_path or spec.name == text


@given(st.one_of(strange_text(300), file_names()))
def test_a_name_cannot_leave_a_folder_or_control_a_terminal(text: str) -> None:
    with contextlib.suppress(ValidationError):
        spec = naming.parse_spec(text)
        if not spec.is_path:
            assert not spec.name.startswith("~")
            for words in (spec.name, spec.revision or "x"):
                assert words.strip()
                assert ".." not in words
                assert not words.startswith("/")
                assert len(words.splitlines()) == 1
                assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in words)


@given(st.frozensets(repo_folders(), min_size=2, max_size=8))
@example(frozenset({"models--a--b", "models--a/b"}))
@example(frozenset({"models--a---b", "models--a--b", "models--a----b", "models--a-b", "models---a"}))
@example(frozenset({"models--%", "models--%25", "models--\udcff", "models--%FF", "models--ÿ"}))
@example(frozenset({"models--" + "x" * 200, "models--" + "x" * 199 + "y", "models--" + "x" * 98}))
@example(frozenset({"models--a--", "models--a", "models----a", "models--", "models--models--a"}))
def test_folders_of_the_cache_never_share_a_name(folders: frozenset[str]) -> None:
    assert len({naming.repo_name(folder) for folder in folders}) == len(folders)


@given(st.frozensets(file_names(), min_size=2, max_size=8))
@example(frozenset({".", "%2E", "..."}))
@example(frozenset({" a", "%20a", "a ", "a%20"}))
def test_workspaces_never_share_a_name(folders: frozenset[str]) -> None:
    assert len({naming.quoted_name(folder) for folder in folders}) == len(folders)


@given(repo_ids())
def test_a_repo_id_of_the_hub_is_the_name_of_its_folder(repo_id: str) -> None:
    assert naming.repo_name("models--" + repo_id.replace("/", "--")) == repo_id


@given(st.frozensets(repo_folders(), max_size=6), st.frozensets(file_names(), max_size=4))
def test_every_generated_name_is_a_spec_that_finds_its_model(cached: frozenset[str], home: frozenset[str]) -> None:
    cached_names = {naming.repo_name(folder) for folder in cached}
    home_names = {naming.quoted_name(folder) for folder in home}
    for name in cached_names | home_names:
        spec = naming.parse_spec(name)
        assert (spec.name, spec.revision, spec.is_path) == (name, None, False)
        assert naming.candidates(spec.name, cached_names, home_names) == (name,)


@given(repo_ids(), _names, _names)
def test_an_exact_name_wins_over_everything(name: str, cached: frozenset[str], home: frozenset[str]) -> None:
    assert naming.candidates(name, cached | {name}, home) == (name,)
    assert naming.candidates(name, cached, home | {name}) == (name,)


@given(strange_text(8), st.lists(repo_ids(), max_size=6), st.lists(repo_ids(), max_size=4), st.randoms())
def test_the_order_of_names_does_not_matter(word: str, cached: list[str], home: list[str], random: Random) -> None:
    shuffled = random.sample(cached, len(cached))
    assert naming.candidates(word, cached, home) == naming.candidates(word, shuffled, home[::-1])
    assert naming.nearest(word, cached) == naming.nearest(word, shuffled)


@given(st.data(), _names, _names)
def test_a_single_result_resolves_to_itself(data: st.DataObject, cached: frozenset[str], home: frozenset[str]) -> None:
    name = data.draw(st.sampled_from(sorted(cached | home | {"x"})))
    start, length = data.draw(st.integers(0, len(name))), data.draw(st.integers(1, 10))
    found = naming.candidates(name[start : start + length], cached, home)
    assert set(found) <= cached | home
    for one in found:
        assert naming.candidates(one, cached, home) == (one,)


@given(repo_ids().map(naming.last_part), _names)
def test_mlx_community_wins_a_tie_of_last_parts(word: str, others: frozenset[str]) -> None:
    ours, theirs = f"mlx-community/{word}", f"other-owner/{word}"
    cached = (others | {ours, theirs}) - {word}
    assert naming.candidates(word, cached, ()) == (ours,)


@given(st.data(), _names, _names, st.randoms())
def test_a_revision_keeps_only_names_that_have_it(
    data: st.DataObject, cached: frozenset[str], home: frozenset[str], random: Random
) -> None:
    name = data.draw(st.sampled_from(sorted(cached | home | {"x"})))
    start, length = data.draw(st.integers(0, len(name))), data.draw(st.integers(1, 10))
    word, revised = name[start : start + length], {one for one in cached if random.random() < 0.5}
    every, found = naming.candidates(word, cached, home), naming.candidates(word, cached, home, revised.__contains__)
    if word in cached | home:
        assert found == every == (word,)
    assert set(found) <= cached | home
    assert len(found) <= 1 or set(found) <= revised
    assert bool(found) or not set(every) & revised


@given(repo_ids().map(naming.last_part), _names)
def test_a_last_part_wins_over_a_longer_name_that_contains_it(word: str, others: frozenset[str]) -> None:
    cached = {name for name in others if naming.last_part(name) != word} | {f"a/{word}-long"} - {word}
    assert naming.candidates(word, cached | {f"b/{word}"}, ()) == (f"b/{word}",)


@given(strange_text(6), _names)
def test_a_substring_matches_ignoring_case(word: str, names: frozenset[str]) -> None:
    found = naming.matching(word, names)
    assert found == naming.matching(word.casefold(), names)
    assert found == tuple(sorted(name for name in names if word.casefold() in name.casefold()))


@given(st.text("0123456789abcdefABCxyz", max_size=41), _commits)
def test_matching_commits_start_with_the_revision(revision: str, commits: list[str]) -> None:
    found = naming.matching_commits(revision, commits)
    assert set(found) <= set(commits)
    assert all(commit.lower().startswith(revision.lower()) for commit in found)
    assert list(found) == sorted(set(found))
    assert found == naming.matching_commits(revision, commits[::-1])


@given(st.data(), _commits.filter(bool))
def test_a_full_commit_means_itself_and_three_characters_are_enough(data: st.DataObject, commits: list[str]) -> None:
    commit = data.draw(st.sampled_from(commits))
    assert naming.matching_commits(commit, commits) == (commit,)
    prefix = commit[: data.draw(st.integers(0, len(commit)))]
    assert (commit in naming.matching_commits(prefix, commits)) == (len(prefix) >= 3 or prefix == commit) or (
        prefix in commits
    )
