"""Opening a session: what is loaded, what is refused, and that no process is left after a failure."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from mlxknife.domain.compatibility.values import RemoteCode, Runtime
from mlxknife.domain.errors import (
    AmbiguousMatch,
    EngineError,
    KnifeError,
    ModelNotFound,
    ModelNotRunnable,
    NotEnoughMemory,
    ValidationError,
    WorkerLost,
)
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.generation.values.request import (
    GenerationOptions,
    KVCacheOptions,
    Message,
    SamplingParameters,
)
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.info import ModelInfo
from tests.builder import Files, chat_files, embedding_files, json_bytes, pytorch_files, speech_files
from tests.fakes.clients import FakeClient, FakeClients
from tests.fakes.system import FakeSystem
from tests.unit.session_setup import COMMIT, RUNTIME, SIZE, collect, make_sessions, open_session

_CONVERSATION = (Message("user", "Who are you?"),)
_ONE, _TWO = f"models--mlx-community--one/{COMMIT}", f"models--other--two/{COMMIT}"
_SPEECH = speech_files() | {"model.safetensors": chat_files()["model.safetensors"]}
_WITH_CODE = chat_files(model_type="own", model_file="model.py", num_hidden_layers=0) | {"model.py": b"..."}


def test_leaving_a_session_ends_its_process() -> None:
    clients = FakeClients(notes=("BLAS: none",))
    with open_session(clients) as session:
        assert (session.info.name, session.notes) == ("mlx-community/one", ("BLAS: none",))
        assert not clients.client.is_closed
    assert clients.client.is_closed


def test_a_model_process_gets_all_that_requests_may_depend_on() -> None:
    files = chat_files(num_hidden_layers=0, max_position_embeddings=10)
    files["generation_config.json"] = json_bytes({"temperature": 0.6, "top_k": 20, "top_p": "odd"})
    clients = FakeClients()
    make_sessions(clients, files, system=FakeSystem(available=2**30)).open("one")
    (request,) = clients.load_requests
    assert request == LoadRequest(
        request.location, "fast", 2**30, 10, SamplingParameters(temperature=0.6, top_k=20), max_tokens=None, draft=None
    )
    assert request.location.token == _ONE


@pytest.mark.parametrize("profile", ["fast", "compact", "as-is"])
def test_a_named_profile_is_used(profile: str) -> None:
    clients = FakeClients()
    make_sessions(clients).open("mlx-community/one", profile=profile)
    assert [(request.location.token, request.profile) for request in clients.load_requests] == [(_ONE, profile)]


@pytest.mark.parametrize(("available", "profile"), [(None, "fast"), (2**30, "fast"), (300, "compact")])
def test_without_a_profile_the_free_memory_decides(available: int | None, profile: str) -> None:
    clients = FakeClients()
    make_sessions(clients, system=FakeSystem(available=available)).open("one")
    (request,) = clients.load_requests
    assert (request.profile, request.memory_bytes) == (profile, available)


def test_the_kv_cache_must_fit_too() -> None:
    files = chat_files(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=64)
    system = FakeSystem(available=SIZE + 2 * 2 * 2 * 2 * 16 * 100)
    with pytest.raises(NotEnoughMemory):
        make_sessions(FakeClients(), files, system=system).open("one")
    with pytest.raises(NotEnoughMemory):
        make_sessions(FakeClients(), files, system=system).open("one", max_kv_size=101)
    make_sessions(FakeClients(), files, system=system).open("one", max_kv_size=100)


def test_a_draft_model_is_loaded_with_the_model() -> None:
    clients = FakeClients()
    session = make_sessions(clients).open("one", draft="two")
    (request,) = clients.load_requests
    assert request.draft is not None
    assert (request.location.token, request.draft.token) == (_ONE, _TWO)
    assert session.draft is not None
    assert (session.info.name, session.draft.name) == ("mlx-community/one", "other/two")
    with pytest.raises(ValidationError, match="max_kv_size and draft_model"):
        collect(session.answer(_CONVERSATION, GenerationOptions(kv_cache=KVCacheOptions(max_size=64))))
    assert clients.client.requests == []


def test_a_session_without_a_draft_model_has_none() -> None:
    assert open_session(FakeClients()).draft is None


def test_code_of_a_repo_is_reported_before_it_runs() -> None:
    clients, reports = FakeClients(), list[tuple[str, str, int]]()

    def report(info: ModelInfo, code: RemoteCode) -> None:
        reports.append((info.name, code.file, len(clients.load_requests)))

    sessions = make_sessions(clients, _WITH_CODE)
    session = sessions.open("one", draft="two", allow_remote_code=True, on_remote_code=report)
    assert reports == [("mlx-community/one", "model.py", 0), ("other/two", "model.py", 0)]
    assert [code.key for code in session.remote_code] == ["config.json: model_file"] * 2
    (request,) = clients.load_requests
    assert request.runs_code == (request.location, request.draft)
    assert sessions.check("one", allow_remote_code=True) == session.info
    with pytest.raises(ModelNotRunnable):
        sessions.check("one")


def test_code_that_a_model_does_not_need_is_not_run_and_not_reported() -> None:
    clients, files = FakeClients(), chat_files(num_hidden_layers=0, auto_map={"AutoModel": "x.Model"})
    session = make_sessions(clients, files).open("one", allow_remote_code=True)
    assert session.remote_code == ()
    assert clients.load_requests[0].runs_code == ()


# --- what is not loaded: its process is ended


@attrs.define(eq=False, slots=False)
class _Interrupted(FakeClient):
    """Ctrl-C is pressed while it loads."""

    def load(self, request: LoadRequest) -> ModelLoaded:
        super().load(request)
        raise KeyboardInterrupt


def _assert_not_loaded(clients: FakeClients) -> None:
    assert clients.load_requests == []
    assert [client.is_closed for client in clients.started] == [True]


def test_the_process_is_started_before_the_name_is_resolved() -> None:
    clients = FakeClients()
    sessions = make_sessions(clients)
    started_before = list[int]()

    @attrs.frozen
    class Watched:
        """A finder that notes how many processes run when it is asked."""

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a finder has
            started_before.append(len(clients.started))
            return getattr(sessions.catalog.finder, name)

    finder: Any = Watched()
    attrs.evolve(sessions, catalog=attrs.evolve(sessions.catalog, finder=finder)).open("one")
    assert started_before
    assert set(started_before) == {1}


@pytest.mark.parametrize(
    ("spec", "error"),
    [("none", ModelNotFound), ("o", AmbiguousMatch), ("a//b", ValidationError), ("", ValidationError)],
)
def test_a_name_without_one_model_loads_nothing(spec: str, error: type[KnifeError]) -> None:
    clients = FakeClients()
    with pytest.raises(error):
        make_sessions(clients).open(spec)
    _assert_not_loaded(clients)


def test_an_unknown_profile_loads_nothing() -> None:
    clients = FakeClients()
    with pytest.raises(ValidationError, match="no CPU profile 'slow'") as caught:
        make_sessions(clients).open("one", profile="slow")
    assert caught.value.hint == Hint(HintCode.CHOICES, values="fast, compact, as-is")
    _assert_not_loaded(clients)


@pytest.mark.parametrize("profile", [None, "as-is"])
def test_a_model_that_does_not_fit_is_not_loaded(profile: str | None) -> None:
    clients = FakeClients()
    with pytest.raises(NotEnoughMemory, match="'mlx-community/one' needs 88B of memory, and 87B are free") as caught:
        make_sessions(clients, system=FakeSystem(available=SIZE - 1)).open("one", profile=profile)
    assert caught.value.hint
    _assert_not_loaded(clients)
    make_sessions(FakeClients(), system=FakeSystem(available=SIZE)).open("one", profile=profile)


def test_a_config_that_claims_too_much_is_refused_before_loading() -> None:
    clients = FakeClients()
    with pytest.raises(NotEnoughMemory):
        make_sessions(clients, chat_files(num_hidden_layers=10**9), system=FakeSystem(available=2**40)).open("one")
    _assert_not_loaded(clients)


def test_model_and_draft_model_must_fit_together() -> None:
    clients = FakeClients()
    with pytest.raises(NotEnoughMemory, match=r"^'mlx-community/one' and 'other/two' need 176B of memory, and 175B"):
        make_sessions(clients, system=FakeSystem(available=2 * SIZE - 1)).open("one", draft="two")
    _assert_not_loaded(clients)
    make_sessions(FakeClients(), system=FakeSystem(available=2 * SIZE)).open("one", draft="two")


def test_an_unknown_draft_model_loads_nothing() -> None:
    clients = FakeClients()
    with pytest.raises(ModelNotFound, match="none"):
        make_sessions(clients).open("one", draft="none")
    _assert_not_loaded(clients)


@pytest.mark.parametrize(
    "error", [EngineError("no such layer"), ValidationError("draft_model has other tokens"), WorkerLost("killed")]
)
def test_an_error_of_loading_ends_the_process(error: KnifeError) -> None:
    clients = FakeClients(errors={_ONE: error})
    with pytest.raises(type(error), match=error.message):
        make_sessions(clients).open("one")
    assert clients.client.is_closed


def test_ctrl_c_while_a_model_is_loaded_ends_the_process() -> None:
    clients = FakeClients()
    interrupted = _Interrupted(clients.script)

    @attrs.frozen
    class Clients:
        def start(self) -> FakeClient:
            return interrupted

    with pytest.raises(KeyboardInterrupt):
        make_sessions(Clients()).open("one")
    assert interrupted.is_closed


def test_check_starts_no_process() -> None:
    clients = FakeClients()
    assert make_sessions(clients, system=FakeSystem(available=1)).check("one").name == "mlx-community/one"
    with pytest.raises(ModelNotRunnable, match="does not generate text"):
        make_sessions(clients, _SPEECH).check("one")
    with pytest.raises(ModelNotFound):
        make_sessions(clients).check("none")
    assert clients.started == []


def _refused(files: Files, runtime: Runtime = RUNTIME) -> ModelNotRunnable:
    """Return the error for a model that cannot be run."""
    clients = FakeClients()
    with pytest.raises(ModelNotRunnable) as caught:
        make_sessions(clients, files, runtime=runtime).open("one")
    _assert_not_loaded(clients)
    assert "'mlx-community/one'" in caught.value.message
    return caught.value


@pytest.mark.parametrize("damage", [{"model.safetensors": b"\x08"}, {"config.json": b"{"}])
def test_a_damaged_model_is_not_loaded(damage: Files) -> None:
    refused = _refused(chat_files() | damage)
    assert refused.hint == Hint(HintCode.PULL_MISSING_FILES, name="mlx-community/one")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (chat_files(model_type="newest"), "'newest'"),
        (_WITH_CODE, "--allow-remote-code"),
        (pytorch_files(), "model"),
    ],
)
def test_an_unsupported_model_is_not_loaded(files: Files, reason: str) -> None:
    refused = _refused(files)
    assert reason in refused.message
    assert "None" not in refused.message
    assert refused.hint is None


_WITHOUT_VISION = attrs.evolve(RUNTIME, mlx_vlm=None)


@pytest.mark.parametrize("runtime", [RUNTIME, _WITHOUT_VISION])
def test_an_embedding_model_is_refused_with_its_own_hint(runtime: Runtime) -> None:
    refused = _refused(embedding_files(), runtime)
    assert refused.hint is not None
    assert refused.hint.code is HintCode.EMBEDDING_MODEL
    assert refused.hint.fields["name"] in refused.message


def test_a_speech_model_is_refused_with_its_own_hint() -> None:
    assert _refused(_SPEECH).hint == Hint(HintCode.SPEECH_MODEL)
