from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.errors import AccessDenied, AmbiguousMatch, ModelNotFound, ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.stored_models import ModelEntry
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.domain.names.services import Finder
from tests.fakes.model_store import FakeStore
from tests.fakes.workspaces import FakeWorkspaces

_OLD, _NEW = "0abc" + "0" * 36, "0abd" + "0" * 36
_MODEL = frozenset({"config.json", "model.safetensors"})


def _finder(*cached: str, at_home: tuple[str, ...] = (), elsewhere: tuple[str, ...] = ()) -> Finder:
    store = FakeStore()
    for name in cached:
        store.add(f"models--{name.replace('/', '--')}", refs={"main": _NEW}, snapshots=(_OLD, _NEW))
    homes = {f"/home/models/{name}": _MODEL for name in at_home}
    return Finder(store=store, workspaces=FakeWorkspaces(folders=homes | dict.fromkeys(elsewhere, _MODEL)))


def _entries(finder: Finder) -> tuple[ModelEntry, ...]:
    return tuple(map(finder.entry, finder.folders()))


def _names(finder: Finder, pattern: str = "") -> list[str]:
    return [place.name for place in finder.folders(pattern)]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("org/Phi-3", "org/Phi-3"),
        ("Phi-3", "org/Phi-3"),
        ("phi-3-", "mlx-community/Phi-3-mini"),
        ("MINI", "mlx-community/Phi-3-mini"),
        ("gpt2", "gpt2"),
        ("gpt2-xl", "gpt2-xl"),
        ("gpt2-", "gpt2-xl"),
        ("Llama", "mlx-community/Llama"),
        ("other/Llama", "other/Llama"),
        ("/elsewhere/model", "/elsewhere/model"),
        ("~/models/gpt2-xl", "gpt2-xl"),
    ],
)
def test_a_spec_finds_the_first_match(spec: str, name: str) -> None:
    finder = _finder(
        "org/Phi-3",
        "mlx-community/Phi-3-mini",
        "gpt2",
        "other/Llama",
        "mlx-community/Llama",
        at_home=("gpt2-xl",),
        elsewhere=("/elsewhere/model",),
    )
    assert finder.find(spec).name == name


def test_an_exact_name_beside_a_longer_workspace_is_not_ambiguous() -> None:
    finder = _finder("gpt2", at_home=("gpt2-xl",))
    assert (finder.find("gpt2").cached, finder.find("gpt2-xl").cached) == (True, False)
    with pytest.raises(AmbiguousMatch) as caught:
        finder.find("gpt")
    assert caught.value.matches == ("gpt2", "gpt2-xl")


def test_a_workspace_is_named_by_its_path_where_a_cached_model_has_its_name() -> None:
    finder = _finder("gpt2", at_home=("gpt2", "mine"))
    assert _names(finder) == ["/home/models/gpt2", "gpt2", "mine"]
    assert finder.find("gpt2").cached
    assert finder.find("/home/models/gpt2").name == "/home/models/gpt2"
    assert not finder.find("/home/models/gpt2").cached
    assert finder.find("/home/models/mine").name == "mine"


def test_every_entry_is_found_by_its_own_name() -> None:
    finder = _finder("gpt2", "a/b", "a/bc", "mlx-community/b", at_home=("gpt2", "b", "c"))
    entries = _entries(finder)
    assert len(entries) == 7
    assert [finder.find(entry.name) for entry in entries] == list(entries)


def test_entries_are_sorted_and_filtered_by_a_pattern_ignoring_case() -> None:
    finder = _finder("b/Two", "a/one", "B/three", at_home=("twofold",))
    assert _names(finder) == ["a/one", "B/three", "b/Two", "twofold"]
    assert _names(finder, "TWO") == ["b/Two", "twofold"]
    assert _names(finder, "nothing") == []


def test_an_existing_folder_with_a_config_wins_over_the_cache() -> None:
    finder = _finder("org/name", elsewhere=("/current/org/name",))
    assert finder.find("org/name").name == "/current/org/name"
    assert finder.find("org/name@main").cached


def test_a_name_that_is_not_found_suggests_similar_names() -> None:
    finder = _finder("mlx-community/Phi-3-mini", "org/other")
    with pytest.raises(ModelNotFound) as caught:
        finder.find("Phi-3-mino")
    assert caught.value.suggestions == ("mlx-community/Phi-3-mini",)
    assert caught.value.hint == Hint(HintCode.DID_YOU_MEAN, name="mlx-community/Phi-3-mini")
    with pytest.raises(ModelNotFound) as caught:
        _finder().find("x")
    assert caught.value.suggestions == ()


def test_a_missing_starter_hints_at_pull_even_beside_a_similar_name() -> None:
    for finder in (_finder(), _finder("org/started")):
        with pytest.raises(ModelNotFound) as caught:
            finder.find("starter")
        assert caught.value.hint == Hint(HintCode.PULL_MODEL, name="starter")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://huggingface.co/org/model", "org/model"),
        ("http://hf.co/org/model.v1/tree/main?x=1", "org/model.v1"),
        ("https://user@hub.example:8080/org/model#top", "org/model"),
        ("https://huggingface.co/org", "ORG/MODEL"),
        ("https://huggingface.co/datasets/org/set", "ORG/MODEL"),
        ("https://", "ORG/MODEL"),
        (f"https://hub/org/model?{'x' * 200}", "org/model"),
    ],
)
def test_a_url_is_refused_with_the_name_in_it(address: str, name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _finder().find(address)
    assert caught.value.message == "A URL is not the name of a model"
    assert caught.value.hint == Hint(HintCode.WRITE, text=name)


@pytest.mark.parametrize(
    "spec", ["", " ", "a@", "@a", "a//b", "a/../b", "a\0", "a\x1b", "a\u202e", "x" * 97, "a/", "a\\b"]
)
def test_an_invalid_name_is_refused_before_the_disk_is_read(spec: str) -> None:
    finder = Finder(store=FakeStore(failure=AccessDenied("asked")), workspaces=FakeWorkspaces())
    with pytest.raises(ValidationError):
        finder.find(spec)


@pytest.mark.parametrize("spec", ["/elsewhere/one", "./one", "~/one", "..", "/home/models/mine", "one", "/none"])
def test_a_path_is_refused_where_paths_are_not_allowed(spec: str) -> None:
    finder = _finder("org/cached", at_home=("mine",), elsewhere=("/elsewhere/one", "/current/one", "/home/one"))
    outside = attrs.evolve(finder, allows_paths=False)
    with pytest.raises(ModelNotFound):
        outside.find(spec)
    assert outside.find("mine").name == "mine"
    assert outside.find("cached").name == "org/cached"


def test_a_workspace_that_only_a_path_names_is_hidden_where_paths_are_not_allowed() -> None:
    finder = _finder("mine", at_home=("mine", "other"))
    assert _names(finder) == ["/home/models/mine", "mine", "other"]
    assert _names(attrs.evolve(finder, allows_paths=False)) == ["mine", "other"]


def _revisions() -> Finder:
    store = FakeStore()
    refs = {"main": _NEW, "dev": _OLD, "v1.0": _OLD, "gone": "f" * 40}
    store.add("models--org--name", refs=refs, snapshots=(_OLD, _NEW), unfinished=("blob",))
    store.record("models--org--name", _OLD, {"config.json": 2})
    return Finder(store=store, workspaces=FakeWorkspaces(folders={"/home/models/mine": _MODEL}))


@pytest.mark.parametrize(
    ("spec", "commit"),
    [
        ("org/name", _NEW),
        ("org/name@main", _NEW),
        ("name@dev", _OLD),
        ("name@v1.0", _OLD),
        ("name@0abc", _OLD),
        ("name@0ABD", _NEW),
        (f"name@{_OLD}", _OLD),
    ],
)
def test_a_revision_is_a_branch_a_tag_or_a_commit(spec: str, commit: str) -> None:
    entry = _revisions().find(spec)
    assert (entry.name, entry.commit, entry.finding) == ("org/name", commit, None)


def test_an_entry_carries_the_facts_of_the_store() -> None:
    entry = _revisions().find("name@dev")
    assert (entry.unfinished, entry.manifest) == (frozenset({"blob"}), {"config.json": RecordedFile(2)})
    assert _revisions().find("name").manifest is None


def test_a_prefix_of_several_commits_is_ambiguous() -> None:
    with pytest.raises(AmbiguousMatch) as caught:
        _revisions().find("org/name@0ab")
    assert caught.value.available_hashes == (_OLD, _NEW)


@pytest.mark.parametrize("revision", ["0a", "fff", "gone", "nothing"])
def test_an_unknown_revision_is_not_found(revision: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        _revisions().find(f"org/name@{revision}")
    assert caught.value.available_hashes == (_OLD, _NEW)


_A, _B = "a" * 40, "b" * 40


def _several() -> Finder:
    """Return a finder of names that overlap, each with one commit."""
    store = FakeStore()
    commits = {"mlx-community/Qwen3-4B": _A, "mlx-community/Qwen3-8B": _B, "mlx-community/twin": _A, "other/twin": _B}
    for name, commit in (commits | {"org/Qwen3-9B": _A}).items():
        store.add(f"models--{name.replace('/', '--')}", refs={"main": commit}, snapshots=(commit,))
    return Finder(store=store, workspaces=FakeWorkspaces(folders={"/home/models/Qwen3-mine": _MODEL}))


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("Qwen3@bbb", "mlx-community/Qwen3-8B"),
        ("twin@bbb", "other/twin"),
        ("twin@aaa", "mlx-community/twin"),
        ("twin@main", "mlx-community/twin"),
        ("twin", "mlx-community/twin"),
        ("TWIN@bbb", "other/twin"),
    ],
)
def test_a_revision_chooses_between_the_models_that_a_name_matches(spec: str, name: str) -> None:
    assert _several().find(spec).name == name


def test_only_models_with_the_revision_stay_ambiguous() -> None:
    with pytest.raises(AmbiguousMatch) as caught:
        _several().find("Qwen3@aaa")
    assert caught.value.matches == ("mlx-community/Qwen3-4B", "org/Qwen3-9B")


@pytest.mark.parametrize("revision", ["ccc", "aa"])
def test_a_revision_that_no_match_has_is_not_found(revision: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        _several().find(f"twin@{revision}")
    assert caught.value.message == f"None of the models that match 'twin' has the revision '{revision}'"


def test_an_exact_name_is_not_replaced_by_another_model_with_the_revision() -> None:
    with pytest.raises(ModelNotFound) as caught:
        _several().find("mlx-community/twin@bbb")
    assert caught.value.available_hashes == (_A,)


def test_a_workspace_has_no_revisions() -> None:
    with pytest.raises(ModelNotFound, match="Workspace 'mine' has no revisions"):
        _revisions().find("mine@main")


def test_an_empty_repo_is_an_entry_with_a_finding() -> None:
    store = FakeStore()
    store.add("models--org--empty")
    store.add("models--org--broken", problem="model folder cannot be read")
    entries = _entries(Finder(store=store, workspaces=FakeWorkspaces()))
    assert {entry.name: entry.finding for entry in entries} == {
        "org/empty": Finding(Integrity.INCOMPLETE, "no snapshot downloaded"),
        "org/broken": Finding(Integrity.INCOMPLETE, "model folder cannot be read"),
    }
    assert {entry.location for entry in entries} == {None}


def test_a_file_instead_of_a_snapshot_folder_is_corrupt() -> None:
    store = FakeStore()
    store.add("models--org--name", refs={"main": _NEW}, no_folders=(_NEW,))
    (entry,) = _entries(Finder(store=store, workspaces=FakeWorkspaces()))
    assert entry.finding == Finding(Integrity.CORRUPT, "snapshot is not a folder")


# --- what can be pulled


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("llama3", "mlx-community/llama3"),
        ("org/llama3", "org/llama3"),
        ("llama3@v1", "mlx-community/llama3@v1"),
        ("starter", "starter"),
        ("org/name", None),
        ("name", None),
        ("NAM", None),
        ("name@gone", None),
        ("org/name@gone", None),
        ("mine", None),
        ("./llama3", None),
        ("/llama3", None),
        ("~/llama3", None),
        ("a/b/c", None),
        ("a..b", None),
        ("llama 3", None),
        ("llama3@.hidden", None),
        ("llama\x1b[2J", None),
        ("\u202ellama", None),
        ("", None),
        ("x" * 97, None),
        ("https://huggingface.co/org/llama3", None),
    ],
)
def test_only_a_model_that_is_not_here_and_that_a_hub_can_have_can_be_pulled(spec: str, name: str | None) -> None:
    assert _revisions().name_to_pull(spec) == name


def test_an_ambiguous_name_is_not_pulled() -> None:
    store = FakeStore()
    for folder in ("models--one--twin", "models--two--twin"):
        store.add(folder, refs={"main": _NEW}, snapshots=(_NEW,))
    assert Finder(store, FakeWorkspaces()).name_to_pull("twin") is None


def test_on_an_empty_machine_the_hint_names_the_starter() -> None:
    with pytest.raises(ModelNotFound) as caught:
        Finder(FakeStore(), FakeWorkspaces()).find("llama3")
    assert caught.value.hint == Hint(HintCode.NO_MODELS)
