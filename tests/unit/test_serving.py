"""What a server makes of a request before its model is asked."""

from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.errors import (
    AccessDenied,
    ContextLengthExceeded,
    EngineError,
    ModelNotFound,
    ModelNotRunnable,
    TemplateError,
    ValidationError,
)
from mlxknife.domain.generation.values.generation import Message, Sampling
from mlxknife.domain.generation.values.requests import ChatRequest, TextRequest, Wanted
from mlxknife.domain.serving.services.servable_models import Prepared, Served, Serving
from mlxknife.domain.serving.values.processes import HostedModel
from tests.builder import Files, chat_files, embedding_files, json_bytes, safetensors
from tests.fakes.engine import FakeEngine, FakeModel
from tests.fakes.model_store import FakeStore
from tests.fakes.snapshot_reader import FakeReader, Thing
from tests.fakes.system import FakeSystem
from tests.fakes.templates import FakeTemplates
from tests.fakes.tokenizers import FakeTokenizers
from tests.fakes.workspaces import FakeWorkspaces
from tests.unit.chatting import COMMIT, chat

_TOKENIZER = '{"marks": ["<think>", "</think>"], "begin": ""}'
_TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
_MODEL = HostedModel(_TOKENIZER, 258, _TEMPLATE)
_HELLO = (Message("user", "Hello"),)


def _serving(
    files: Files | None = None,
    system: FakeSystem | None = None,
    max_tokens: int | None = None,
    workspaces: FakeWorkspaces | None = None,
) -> Serving:
    catalog = chat(FakeEngine(FakeModel()), files, workspaces=workspaces).catalog
    for_clients = attrs.evolve(catalog, finder=attrs.evolve(catalog.finder, allows_paths=False))
    return Serving(for_clients, catalog, FakeTemplates(), FakeTokenizers(), system or FakeSystem(), max_tokens)


def _prepared(
    request: ChatRequest | TextRequest, model: HostedModel = _MODEL, *, files: Files | None = None
) -> Prepared:
    serving = _serving(files)
    return serving.prepare(serving.find("one"), model, request)


def _text(tokens: tuple[int, ...]) -> str:
    return bytes(tokens).decode()


def test_a_conversation_becomes_the_rendered_template() -> None:
    done = _prepared(ChatRequest(_HELLO))
    (row,) = done.rows
    assert _text(row.prompt) == "<user>Hello<assistant>"
    assert done.prompt_tokens == len(row.prompt)


def test_without_a_template_the_texts_are_the_prompt() -> None:
    (row,) = _prepared(ChatRequest(_HELLO), attrs.evolve(_MODEL, chat_template=None)).rows
    assert _text(row.prompt) == "Hello"


def test_several_answers_to_one_prompt_have_seeds_of_their_own() -> None:
    wanted = Wanted(Sampling(seed=2**63 - 1), count=3)
    rows = _prepared(ChatRequest(_HELLO, wanted)).rows
    assert [row.sampling.seed for row in rows] == [2**63 - 1, 0, 1]
    assert len({row.id for row in rows}) == 3
    assert len({row.prompt for row in rows}) == 1


def test_answers_to_several_texts_come_in_their_order() -> None:
    done = _prepared(TextRequest(("a", (98, 99)), Wanted(count=2)))
    assert [_text(row.prompt) for row in done.rows] == ["a", "a", "bc", "bc"]
    assert done.prompt_tokens == 3


def test_what_is_wanted_reaches_every_row() -> None:
    wanted = Wanted(
        Sampling(temperature=0.5, top_k=3),
        max_tokens=7,
        frequency_penalty=0.1,
        presence_penalty=-0.2,
        logit_bias=((3, 5.0),),
        top_logprobs=2,
    )
    (row,) = _prepared(ChatRequest(_HELLO, wanted)).rows
    assert (row.max_tokens, row.frequency_penalty, row.presence_penalty) == (7, 0.1, -0.2)
    assert (row.logit_bias, row.top_logprobs) == (((3, 5.0),), 2)
    assert (row.sampling.temperature, row.sampling.top_k) == (0.5, 3)


def test_what_nobody_asks_for_the_model_decides_then_the_server() -> None:
    files = chat_files() | {"generation_config.json": json_bytes({"temperature": 0.25})}
    serving = _serving(files, max_tokens=9)
    (row,) = serving.prepare(serving.find("one"), _MODEL, ChatRequest(_HELLO)).rows
    assert (row.sampling.temperature, row.sampling.top_p, row.max_tokens) == (0.25, 0.95, 9)


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        (Wanted(Sampling(temperature=-1.0)), "temperature"),
        (Wanted(max_tokens=-1), "max_tokens"),
        (Wanted(frequency_penalty=3.0), "frequency_penalty"),
        (Wanted(presence_penalty=float("nan")), "presence_penalty"),
        (Wanted(logit_bias=((300, 1.0),)), "logit_bias"),
        (Wanted(logit_bias=((3, 101.0),)), "logit_bias"),
        (Wanted(top_logprobs=21), "top_logprobs"),
        (Wanted(stops=("",)), "stop"),
    ],
    ids=str,
)
def test_an_invalid_setting_is_refused_by_name(wanted: Wanted, param: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        _prepared(ChatRequest(_HELLO, wanted))
    assert refusal.value.param == param


@pytest.mark.parametrize("prompt", [(-1,), (258,), (2**40,), ()], ids=str)
def test_tokens_that_the_model_does_not_have_are_refused(prompt: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError) as refusal:
        _prepared(TextRequest((prompt,)))
    assert refusal.value.param == "prompt"


def test_an_echo_has_no_likelihoods() -> None:
    with pytest.raises(ValidationError) as refusal:
        _prepared(TextRequest(("a",), Wanted(top_logprobs=0), echo=True))
    assert refusal.value.param == "logprobs"


@pytest.mark.parametrize("request_", [ChatRequest((Message("user", "a" * 5000),)), TextRequest(("a" * 5000,))])
def test_what_is_longer_than_the_window_is_refused_before_any_work(request_: ChatRequest | TextRequest) -> None:
    with pytest.raises(ContextLengthExceeded):
        _prepared(request_, files=chat_files(max_position_embeddings=64))


@pytest.mark.parametrize("tokens", [64, 65, 100_000])
def test_tokens_that_fill_the_window_are_refused(tokens: int) -> None:
    with pytest.raises(ContextLengthExceeded):
        _prepared(TextRequest(((97,) * tokens,)), files=chat_files(max_position_embeddings=64))


def test_a_template_that_fails_is_an_error_of_the_template() -> None:
    with pytest.raises(TemplateError):
        _prepared(ChatRequest(_HELLO), attrs.evolve(_MODEL, chat_template="{{ raise_exception('no') }}"))


def test_a_tokenizer_that_is_broken_is_an_error_of_the_engine() -> None:
    with pytest.raises(EngineError):
        _prepared(ChatRequest(_HELLO), attrs.evolve(_MODEL, tokenizer="{"))


def test_what_cannot_run_is_not_served() -> None:
    with pytest.raises(ModelNotFound):
        _serving().find("none")
    with pytest.raises(ModelNotRunnable):
        _serving(embedding_files()).find("one")
    assert _serving(embedding_files()).models() == ()
    assert [info.name for info in _serving().models()] == ["mlx-community/one", "other/two"]


@pytest.mark.parametrize("spec", ["", " ", "a\0b", "a\ufeffb", "a//b", "a" * 500, "one@", "one@a..b"])
def test_a_name_that_can_be_none_is_said_to_be_the_fault_of_the_field(spec: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        _serving().find(spec)
    assert refusal.value.param == "model"


def test_a_look_at_the_disk_is_good_for_a_few_seconds() -> None:
    system = FakeSystem()
    serving = _serving(system=system)
    assert serving.known("one") is None
    served, models = serving.find("one"), serving.models()
    assert isinstance(served, Served)
    system.time += 4
    assert serving.find("one") is serving.known("one") is served
    assert serving.models() is models
    system.time += 2
    assert serving.known("one") is None
    assert serving.find("one") is not served
    assert serving.find("one").key == served.key
    assert serving.models() is not models


def test_a_client_may_name_by_its_last_part_what_the_server_was_started_with() -> None:
    path, files = "/elsewhere/my model", chat_files()
    workspaces = FakeWorkspaces(folders={path: frozenset(files)})
    serving = _serving(workspaces=workspaces)
    for spec in (path, "my model"):
        with pytest.raises(ModelNotFound):
            serving.find(spec)
    served = serving.start_with(path)
    assert served.info.name == "my model"
    assert [serving.find(spec) for spec in (path, "my model")] == [served, served]
    assert [info.name for info in serving.models()] == ["mlx-community/one", "my model", "other/two"]
    assert serving.start_with("one").info.name == "mlx-community/one"


def test_two_models_of_one_name_cannot_both_be_what_it_means() -> None:
    files = chat_files()
    serving = _serving(workspaces=FakeWorkspaces(folders=dict.fromkeys(("/a/bird", "/b/bird"), frozenset(files))))
    served = serving.start_with("/a/bird")
    assert serving.start_with("/a/bird").key == served.key
    with pytest.raises(ValidationError, match="bird"):
        serving.start_with("/b/bird")


_PATH = "/elsewhere/my model"


def _elsewhere() -> tuple[Serving, FakeSystem, FakeWorkspaces, dict[str, Thing]]:
    """Return what serves a folder, its clock, and the folders and files that it sees."""
    files, system = chat_files(), FakeSystem()
    workspaces = FakeWorkspaces(folders={_PATH: frozenset(files)})
    disk: dict[str, Thing] = {f"{_PATH}/{name}": data for name, data in files.items()}
    serving = _serving(system=system, workspaces=workspaces)
    inspector = attrs.evolve(serving.own_catalog.inspector, reader=FakeReader(disk))
    serving.own_catalog = attrs.evolve(serving.own_catalog, inspector=inspector)
    return serving, system, workspaces, disk


def test_what_the_server_was_started_with_is_looked_at_again_and_found_gone() -> None:
    serving, system, workspaces, _ = _elsewhere()
    served = serving.start_with(_PATH)
    names = {info.name for info in serving.models()}
    workspaces.folders = {}
    assert serving.find("my model") == served  # a look at the disk is good for a few seconds
    system.time += 6
    for spec in ("my model", _PATH):
        with pytest.raises(ModelNotFound) as refusal:
            serving.find(spec)
        assert "elsewhere" not in refusal.value.message
    assert {info.name for info in serving.models()} == names - {"my model"}
    workspaces.folders = {_PATH: frozenset(chat_files())}
    assert serving.find("my model").key == served.key
    system.time += 6
    assert {info.name for info in serving.models()} == names


def test_what_the_server_was_started_with_may_be_replaced_and_keeps_its_name() -> None:
    serving, system, _, disk = _elsewhere()
    before = serving.start_with(_PATH)
    disk |= {f"{_PATH}/{name}": data for name, data in chat_files(max_position_embeddings=77).items()}
    system.time += 6
    after = serving.find("my model")
    assert (after.info.name, after.location) == ("my model", before.location)
    assert after.info.traits.context_length == 77
    assert after.key != before.key
    assert serving.find(_PATH).key == after.key
    assert after.info in serving.models()


def test_what_was_found_under_another_spelling_before_it_changed_is_forgotten() -> None:
    serving, system, _, disk = _elsewhere()
    serving.start_with(_PATH)
    system.time += 6
    before = serving.find("my model")
    disk |= {f"{_PATH}/{name}": data for name, data in chat_files(max_position_embeddings=77).items()}
    after = serving.find(_PATH)
    assert after.key != before.key
    assert serving.find("my model").key == after.key


def test_what_became_of_a_folder_is_told_without_its_path() -> None:
    serving, system, workspaces, disk = _elsewhere()
    serving.start_with(_PATH)
    del disk[f"{_PATH}/config.json"]
    system.time += 6
    with pytest.raises(ModelNotRunnable) as broken:
        serving.find("my model")
    workspaces.denied = frozenset({_PATH})
    with pytest.raises(AccessDenied) as denied:
        serving.find("my model")
    for refusal in (broken, denied):
        assert "'my model'" in refusal.value.message
        assert "elsewhere" not in f"{refusal.value.message} {refusal.value.hint}"
    assert "my model" not in {info.name for info in serving.models()}


def test_a_model_is_told_from_what_was_in_its_folder_before_but_not_by_its_card() -> None:
    serving, system, _, disk = _elsewhere()
    key = serving.start_with(_PATH).key
    disk[f"{_PATH}/zz.md"] = b"It is a bird."
    system.time += 6
    assert serving.find(_PATH).key == key
    disk[f"{_PATH}/model.safetensors"] = safetensors({"layer.weight": ("F32", (3, 5))})
    system.time += 6
    assert serving.find(_PATH).key != key
    assert serving.find("one").key == serving.find("one").location.token  # a snapshot has a folder of its own


def test_a_model_of_the_cache_keeps_its_name_whatever_comes_beside_it() -> None:
    """The server was started with a part of a name, which several models may have later."""
    system = FakeSystem()
    serving = _serving(system=system)
    served = serving.start_with("mlx-community/on")
    store = serving.own_catalog.finder.store
    assert isinstance(store, FakeStore)
    store.add("models--mlx-community--only", refs={"main": COMMIT}, snapshots=(COMMIT,))
    system.time += 6
    assert serving.find("mlx-community/on").key == served.key
