"""What Python shows of public objects: short, free of addresses and secrets, one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest

import mlxknife
from mlxknife.domain.generation.values.answer import Timings, Usage
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.models.values.info import (
    Capability,
    Framework,
    ModelCard,
    ModelMetadata,
    ModelTraits,
    ModelType,
    Quantization,
)
from mlxknife.domain.removal.values import RemovalTarget
from mlxknife.domain.transfer.values import CachedFile, CachedFileState, RemoteCommit, RemoteFile
from tests.fakes.clients import FakeClients
from tests.unit.session_setup import open_session

_MAX_LENGTH = 350
_SECRET = "hf_abcdefghijklmnop"
_ENVIRONMENT = {"HF_TOKEN": _SECRET, "MLXK_API_KEY": _SECRET, "SOMETHING": _SECRET}
_NAME = f"organisation/{'n' * 83}"
"""The longest name that the Hub allows."""
_LONG = "a long text \N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m " * 1000


def _model(name: str = _NAME) -> mlxknife.ModelInfo:
    return mlxknife.ModelInfo(
        name=name,
        commit="0" * 40,
        size_bytes=2 * 10**9,
        modified=0.0,
        traits=ModelTraits(Framework.MLX, ModelType.CHAT, tuple(Capability), Quantization(4, 64), 2048),
        integrity=mlxknife.Integrity.CORRUPT,
        runtime_compatible=False,
        reason=_LONG,
        cached=True,
        origin=None,
    )


def _details() -> mlxknife.ModelDetails:
    metadata = ModelMetadata("llama", "4-bit", 2048, 32000, 1024, 8, 16)
    config = {f"key {number}": _LONG for number in range(100)}
    return mlxknife.ModelDetails(_model(), metadata, config, (), ModelCard(tags=(_LONG,) * 100), None)


def _pull_plan() -> mlxknife.PullPlan:
    files = [RemoteFile(_LONG, 1, RecordedHash(HashAlgorithm.SHA256, "0" * 64), "0" * 40) for _ in range(100)]
    cached = [CachedFile(file, CachedFileState.MISSING) for file in files]
    commit = RemoteCommit(_NAME, "0" * 40, tuple(files))
    return mlxknife.PullPlan(_NAME, "models--x", is_expanded=False, commit=commit, cached_files=tuple(cached))


def _session() -> mlxknife.Session:
    return open_session(FakeClients())


def _app() -> mlxknife.App:
    return mlxknife.open_app(hub_cache="/cache", environment=_ENVIRONMENT | {"XDG_CONFIG_HOME": "/nowhere"})


_VALUES: Mapping[str, Callable[[], object]] = {
    "App": _app,
    "Constraint": lambda: mlxknife.Constraint.choice(*(_LONG,) * 100),
    "GenerationOptions": lambda: mlxknife.GenerationOptions(stop=(_LONG,) * 100, max_tokens=5),
    "GenerationResult": lambda: mlxknife.GenerationResult(
        _LONG, _LONG, mlxknife.FinishReason.STOP, Usage(1, 2), Timings(0.123456789, 0.123456789, 0.123456789)
    ),
    "HealthReport": lambda: mlxknife.HealthReport(
        tuple(mlxknife.ModelHealth(_NAME, mlxknife.Integrity.CORRUPT, _LONG) for _ in range(100))
    ),
    "Hint": lambda: mlxknife.Hint(mlxknife.HintCode.WRITE, text=_LONG),
    "KVCacheOptions": lambda: mlxknife.KVCacheOptions(bits=4),
    "Message": lambda: mlxknife.Message("user", _LONG),
    "ModelDetails": _details,
    "ModelHealth": lambda: mlxknife.ModelHealth(_NAME, mlxknife.Integrity.CORRUPT, _LONG),
    "ModelInfo": _model,
    "ModelList": lambda: mlxknife.ModelList([_model()] * 100),
    "PullPlan": _pull_plan,
    "PullRequest": lambda: mlxknife.PullRequest(include=(_LONG,) * 100),
    "RemovalPlan": lambda: mlxknife.RemovalPlan(tuple(RemovalTarget(_NAME, 5) for _ in range(100))),
    "SamplingParameters": lambda: mlxknife.SamplingParameters(temperature=0.5, logit_bias=((1, 2.0),) * 300),
    "Session": _session,
    "TextDelta": lambda: mlxknife.TextDelta(mlxknife.TextKind.ANSWER, _LONG),
    "Tool": lambda: mlxknife.Tool("add", _LONG, _LONG, is_strict=True),
    "ToolCall": lambda: mlxknife.ToolCall("call_1", "add", _LONG),
    "ToolChoice": lambda: mlxknife.ToolChoice(mlxknife.ToolMode.REQUIRED, "add"),
    "ToolUse": lambda: mlxknife.ToolUse(mlxknife.ToolCall("call_1", "add", _LONG), _LONG),
}


def _public_classes() -> set[str]:
    """Return the public classes whose objects a caller can hold; a protocol has none, and enums show their members."""
    found = {name for name in mlxknife.__all__ if isinstance(getattr(mlxknife, name), type)}
    kinds = {name: getattr(mlxknife, name) for name in found - {"Progress", "NoProgress"}}
    return {name for name, kind in kinds.items() if not issubclass(kind, (Enum, mlxknife.KnifeError))}


def test_every_public_class_is_tried() -> None:
    assert set(_VALUES) == _public_classes()


@pytest.mark.parametrize("name", sorted(_VALUES))
def test_a_public_object_has_a_short_repr_without_addresses_and_secrets(name: str) -> None:
    shown = repr(_VALUES[name]())
    assert shown.startswith(f"{name}(")
    assert len(shown) <= _MAX_LENGTH
    assert shown.isprintable()
    assert " at 0x" not in shown
    assert _SECRET not in shown


def _errors() -> list[type[mlxknife.KnifeError]]:
    found = [getattr(mlxknife, name) for name in mlxknife.__all__]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, mlxknife.KnifeError)]


@pytest.mark.parametrize("kind", _errors(), ids=lambda kind: kind.__name__)
def test_an_error_shows_its_message_and_the_fields_that_are_set(kind: type[mlxknife.KnifeError]) -> None:
    given: dict[str, float] = {"retry_after": 1.0} if kind is mlxknife.ServerBusy else {}
    error = kind(_LONG, hint=mlxknife.HintCode.FORCE, **given)  # type: ignore[arg-type]
    error.add_note(_SECRET)
    shown = repr(error)
    assert shown.startswith(f"{kind.__name__}(message='a long text")
    assert "FORCE" in shown
    assert _SECRET not in shown
    assert len(shown) <= _MAX_LENGTH
    assert shown.isprintable()


def test_an_ambiguous_name_shows_the_matches() -> None:
    error = mlxknife.AmbiguousMatch("Multiple models match 'a'", matches=("org/a1", "org/a2"))
    assert repr(error) == """AmbiguousMatch(message="Multiple models match 'a'", matches=('org/a1', 'org/a2'))"""


def _services() -> list[str]:
    return sorted(name for name, value in vars(mlxknife.App).items() if isinstance(value, cached_property))


@pytest.mark.parametrize(
    "name", [*_services(), "servable_models", "model_pool", "server_settings", "settings", "system", "wiring"]
)
def test_a_service_shows_what_it_is(name: str) -> None:
    service = getattr(_app(), name)
    shown = repr(service() if callable(service) else service)
    assert len(shown) <= _MAX_LENGTH
    assert " at 0x" not in shown
    assert _SECRET not in shown


def test_options_show_only_what_was_set() -> None:
    sampling = mlxknife.SamplingParameters(temperature=0.0)
    options = mlxknife.GenerationOptions(sampling=sampling, max_tokens=100)
    assert repr(options) == "GenerationOptions(sampling=SamplingParameters(temperature=0.0), max_tokens=100)"
    assert eval(repr(options), vars(mlxknife)) == options


def test_a_model_shows_its_name_size_and_state() -> None:
    model = attrs.evolve(_model("org/one"), reason=None, runtime_compatible=True)
    assert repr(model) == (
        "ModelInfo(name='org/one', size_bytes=2000000000, integrity=Integrity.CORRUPT, "
        "runtime_compatible=True, reason=None)"
    )


def test_a_list_of_models_names_the_first_and_counts_all() -> None:
    models = mlxknife.ModelList([_model("org/one"), _model("org/two"), _model("org/three"), _model("org/four")])
    assert repr(models) == "ModelList(count=4, names=('org/one', 'org/two', 'org/three', ...))"
    assert repr(mlxknife.ModelList()) == "ModelList(count=0, names=())"


class _Cells(HTMLParser):
    """Collects the tags and the texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags = set[str]()
        self.texts = list[str]()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert attributes == []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_a_table_of_the_models() -> None:
    cells = _Cells()
    cells.feed(mlxknife.ModelList([attrs.evolve(_model("org/one"), reason="cut off")])._repr_html_())
    assert cells.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert cells.texts[-6:] == ["org/one", "2GB", "chat", "corrupt", "no", "cut off"]


def test_a_hostile_name_is_text_in_a_notebook() -> None:
    name = "org/<script>alert(1)</script>\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}\"'&amp;"
    cells = _Cells()
    page = mlxknife.ModelList([attrs.evolve(_model(name), reason=f"</td>{name}")])._repr_html_()
    cells.feed(page)
    assert cells.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert "org/<script>alert(1)</script>\\x1b[31m\\u202e\"'&amp;" in cells.texts
    assert page.isprintable()


def test_the_catalog_returns_a_list_of_models_that_is_a_tuple(tmp_path: Path) -> None:
    models = mlxknife.open_app(hub_cache=tmp_path, workspace_home=tmp_path).catalog.list()
    assert isinstance(models, mlxknife.ModelList)
    assert models == ()
