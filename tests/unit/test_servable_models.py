"""Which models a client may name, and which one a name means."""

from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.errors import AccessDenied, ModelNotFound, ModelNotRunnable, ValidationError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import SamplingParameters
from mlxknife.domain.serving.services.servable_models import ServableModel, ServableModels
from tests.builder import Files, chat_files, embedding_files, json_bytes, safetensors
from tests.fakes.model_store import FakeStore
from tests.fakes.snapshot_reader import FakeReader, Thing
from tests.fakes.system import FakeSystem
from tests.fakes.workspaces import FakeWorkspaces
from tests.unit.session_setup import COMMIT, make_catalog


def _servable_models(
    files: Files | None = None,
    system: FakeSystem | None = None,
    max_tokens: int | None = None,
    workspaces: FakeWorkspaces | None = None,
) -> ServableModels:
    catalog = make_catalog(files, workspaces=workspaces)
    for_clients = attrs.evolve(catalog, finder=attrs.evolve(catalog.finder, allows_paths=False))
    return ServableModels(for_clients, catalog, system or FakeSystem(), max_tokens)


def test_a_model_process_gets_all_that_requests_may_depend_on() -> None:
    files = chat_files(max_position_embeddings=64) | {"generation_config.json": json_bytes({"temperature": 0.25})}
    model = _servable_models(files, max_tokens=9).find("one")
    assert model.load_request("compact", 2**30) == LoadRequest(
        model.runnable.location, "compact", 2**30, 64, SamplingParameters(temperature=0.25), max_tokens=9, draft=None
    )


def test_a_model_that_needs_code_of_its_repo_is_served_only_where_that_is_allowed() -> None:
    files = chat_files(model_type="own", model_file="model.py") | {"model.py": b"..."}
    system = FakeSystem()
    models = _servable_models(files, system)
    with pytest.raises(ModelNotRunnable, match="--allow-remote-code"):
        models.find("one")
    assert models.models() == ()
    models.catalog = attrs.evolve(models.catalog, allows_remote_code=True)
    system.time += 6
    model = models.find("one")
    assert model.load_request("fast", None).runs_code == (model.runnable.location,)
    assert [info.name for info in models.models()] == ["mlx-community/one", "other/two"]


def test_only_models_that_can_run_are_found_and_listed() -> None:
    with pytest.raises(ModelNotFound):
        _servable_models().find("none")
    speech = {**chat_files(), "config.json": json_bytes({"model_type": "whisper"})}
    with pytest.raises(ModelNotRunnable):
        _servable_models(speech).find("one")
    assert _servable_models(speech).models() == ()
    assert [info.name for info in _servable_models().models()] == ["mlx-community/one", "other/two"]


def test_an_embedding_model_is_loaded_as_one_in_float32() -> None:
    models = _servable_models(embedding_files())
    assert [info.name for info in models.models()] == ["mlx-community/one", "other/two"]
    embedder = models.find("one")
    assert embedder.load_request("fast", None).kind is EngineKind.EMBEDDING
    profile, size = embedder.size(2**30, "as-is", has_gpu=True)
    assert profile == "fast"
    assert size > embedder.need.unpacked


@pytest.mark.parametrize("spec", ["", " ", "a\0b", "a\ufeffb", "a//b", "a" * 500, "one@", "one@a..b"])
def test_an_invalid_name_is_an_error_of_the_field_model(spec: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _servable_models().find(spec)
    assert caught.value.param == "model"


def test_the_disk_is_read_again_after_a_few_seconds() -> None:
    system = FakeSystem()
    models = _servable_models(system=system)
    assert models.known("one") is None
    model, listed = models.find("one"), models.models()
    assert isinstance(model, ServableModel)
    system.time += 4
    assert models.find("one") is models.known("one") is model
    assert models.models() is listed
    system.time += 2
    assert models.known("one") is None
    assert models.find("one") is not model
    assert models.find("one").key == model.key
    assert models.models() is not listed


def test_a_client_may_name_a_pinned_folder_by_its_last_part() -> None:
    path, files = "/elsewhere/my model", chat_files()
    workspaces = FakeWorkspaces(folders={path: frozenset(files)})
    models = _servable_models(workspaces=workspaces)
    for spec in (path, "my model"):
        with pytest.raises(ModelNotFound):
            models.find(spec)
    model = models.pin(path)
    assert model.info.name == "my model"
    assert [models.find(spec) for spec in (path, "my model")] == [model, model]
    assert [info.name for info in models.models()] == ["mlx-community/one", "my model", "other/two"]
    assert models.pin("one").info.name == "mlx-community/one"


def test_two_pinned_models_cannot_have_the_same_name() -> None:
    files = chat_files()
    models = _servable_models(
        workspaces=FakeWorkspaces(folders=dict.fromkeys(("/a/bird", "/b/bird"), frozenset(files)))
    )
    model = models.pin("/a/bird")
    assert models.pin("/a/bird").key == model.key
    with pytest.raises(ValidationError, match="bird"):
        models.pin("/b/bird")


_PATH = "/elsewhere/my model"


def _pinned_folder() -> tuple[ServableModels, FakeSystem, FakeWorkspaces, dict[str, Thing]]:
    """Return servable models over a folder, their clock, and the folders and files that they see."""
    files, system = chat_files(), FakeSystem()
    workspaces = FakeWorkspaces(folders={_PATH: frozenset(files)})
    disk: dict[str, Thing] = {f"{_PATH}/{name}": data for name, data in files.items()}
    models = _servable_models(system=system, workspaces=workspaces)
    inspector = attrs.evolve(models.pinned_catalog.inspector, reader=FakeReader(disk))
    models.pinned_catalog = attrs.evolve(models.pinned_catalog, inspector=inspector)
    return models, system, workspaces, disk


def test_a_pinned_folder_that_is_gone_is_not_found() -> None:
    models, system, workspaces, _ = _pinned_folder()
    model = models.pin(_PATH)
    names = {info.name for info in models.models()}
    workspaces.folders = {}
    assert models.find("my model") == model  # it was read a few seconds ago
    system.time += 6
    for spec in ("my model", _PATH):
        with pytest.raises(ModelNotFound) as caught:
            models.find(spec)
        assert "elsewhere" not in caught.value.message
    assert {info.name for info in models.models()} == names - {"my model"}
    workspaces.folders = {_PATH: frozenset(chat_files())}
    assert models.find("my model").key == model.key
    system.time += 6
    assert {info.name for info in models.models()} == names


def test_a_replaced_pinned_folder_keeps_its_name() -> None:
    models, system, _, disk = _pinned_folder()
    before = models.pin(_PATH)
    disk |= {f"{_PATH}/{name}": data for name, data in chat_files(max_position_embeddings=77).items()}
    system.time += 6
    after = models.find("my model")
    assert (after.info.name, after.runnable.location) == ("my model", before.runnable.location)
    assert after.info.traits.context_length == 77
    assert after.key != before.key
    assert models.find(_PATH).key == after.key
    assert after.info in models.models()


def test_a_changed_folder_is_forgotten_under_every_name() -> None:
    models, system, _, disk = _pinned_folder()
    models.pin(_PATH)
    system.time += 6
    before = models.find("my model")
    disk |= {f"{_PATH}/{name}": data for name, data in chat_files(max_position_embeddings=77).items()}
    after = models.find(_PATH)
    assert after.key != before.key
    assert models.find("my model").key == after.key


def test_errors_of_a_pinned_folder_do_not_name_its_path() -> None:
    models, system, workspaces, disk = _pinned_folder()
    models.pin(_PATH)
    del disk[f"{_PATH}/config.json"]
    system.time += 6
    with pytest.raises(ModelNotRunnable) as broken:
        models.find("my model")
    workspaces.denied = frozenset({_PATH})
    with pytest.raises(AccessDenied) as denied:
        models.find("my model")
    for caught in (broken, denied):
        assert "'my model'" in caught.value.message
        assert "elsewhere" not in f"{caught.value.message} {caught.value.hint}"
    assert "my model" not in {info.name for info in models.models()}


def test_the_key_of_a_folder_depends_on_its_files_without_the_card() -> None:
    models, system, _, disk = _pinned_folder()
    key = models.pin(_PATH).key
    disk[f"{_PATH}/zz.md"] = b"It is a bird."
    system.time += 6
    assert models.find(_PATH).key == key
    disk[f"{_PATH}/model.safetensors"] = safetensors({"layer.weight": ("F32", (3, 5))})
    system.time += 6
    assert models.find(_PATH).key != key
    assert models.find("one").key == models.find("one").runnable.location.token  # a snapshot has a folder of its own


def test_a_pinned_model_of_the_cache_is_found_by_its_part_of_a_name_later() -> None:
    """The server was started with a part of a name, which a second model has later."""
    system = FakeSystem()
    models = _servable_models(system=system)
    model = models.pin("mlx-community/on")
    store = models.pinned_catalog.finder.store
    assert isinstance(store, FakeStore)
    store.add("models--mlx-community--only", refs={"main": COMMIT}, snapshots=(COMMIT,))
    system.time += 6
    assert models.find("mlx-community/on").key == model.key


def test_a_model_that_the_runtime_refuses_is_not_listed() -> None:
    models = _servable_models()
    refused = models.find("one")
    assert [info.name for info in models.models({(refused.name, refused.key)})] == ["other/two"]
    assert models.known("other/two") is None  # the others are not looked for again
    assert [info.name for info in models.models({(refused.name, "before it was mended")})] == [
        "mlx-community/one",
        "other/two",
    ]
