"""The order of the sources of settings, for every setting; and words that become values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.cli.commands.list import ListOptions
from mlxknife.cli.commands.run import RunOptions
from mlxknife.cli.commands.serve import ServeOptions
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.settings.rules import configuration
from mlxknife.domain.settings.rules.checks import check_value
from mlxknife.domain.settings.rules.sources import Sources
from mlxknife.domain.settings.values.settings import ServerSettings
from mlxknife.domain.settings.values.table import SETTINGS, Form, Kind, Setting, SettingType, Source
from mlxknife.wiring.settings import sources

_T = TypeVar("_T")
_SAMPLES: dict[Form, tuple[str, str]] = {
    Form.FREE: ("a text", "another"),
    Form.NOT_EMPTY: ("/one", "two"),
    Form.HOST_NAME: ("our.name", "::1"),
    Form.ORIGIN: ("https://a.example", "null"),
    Form.KEY: ("secret", "K3y"),
    Form.URL: ("https://hub.example", "http://127.0.0.1:8080/hub"),
}
_BY_NAME: dict[str, tuple[SettingType, SettingType]] = {
    "kv_bits": (4, 8),
    "kv_group_size": (32, 64),
    "max_kv_size": (64, 512),
    "temperature": (0.5, 2),
    "top_p": (0.5, 1),
    "min_p": (0.5, 1),
}


def _samples(setting: Setting) -> tuple[SettingType, SettingType]:
    """Return two valid values of a setting."""
    texts = setting.choices[:2] or _SAMPLES[setting.form]
    by_kind: dict[Kind, tuple[SettingType, SettingType]] = {
        Kind.TEXT: (texts[0], texts[1]),
        Kind.INTEGER: (7, 11),
        Kind.NUMBER: (0.5, 3),
        Kind.BOOLEAN: (True, False),
        Kind.TEXTS: ((texts[0],), (texts[1], texts[0])),
    }
    return _BY_NAME.get(setting.name, by_kind[setting.kind])


def _word(value: SettingType) -> str:
    first = value[0] if isinstance(value, tuple) else value
    return str(first).lower() if isinstance(first, bool) else str(first)


def _outcome(act: Callable[[], _T]) -> _T | ValidationError:
    try:
        return act()
    except ValidationError as error:
        return error


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_variable_wins_over_the_config_file_and_that_over_the_default(setting: Setting) -> None:
    value, other = _samples(setting)
    assert sources({}, {}).value(setting.key).source is Source.DEFAULT
    configured = sources({}, {setting.key: value}).value(setting.key)
    assert (configured.value, configured.source, configured.variable) == (value, Source.FILE, None)
    for variable in setting.variables:
        found = sources({variable: _word(other)}, {setting.key: value}).value(setting.key)
        assert (found.source, found.variable) == (Source.VARIABLE, variable)
        if setting.key != "hub_cache":
            assert found.value == (other[:1] if isinstance(other, tuple) else other)
    if setting.variable is not None:
        both = {f"MLXK2_{setting.variable}": _word(value), f"MLXK_{setting.variable}": _word(other)}
        assert sources(both, {}).value(setting.key).variable == f"MLXK_{setting.variable}"


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_value_survives_the_way_through_words_and_the_config_file(setting: Setting) -> None:
    for value in _samples(setting):
        words = list(value) if isinstance(value, tuple) else [_word(value)]
        assert configuration.from_words(setting, words) == value
        raw = list(value) if isinstance(value, tuple) else value
        table = {setting.name: raw}
        assert configuration.checked({setting.table: table} if setting.table else table) == {setting.key: value}


@given(
    st.sampled_from([*SETTINGS.values()]), st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
)
def test_any_value_is_accepted_as_it_is_or_refused_by_its_key(setting: Setting, raw: object) -> None:
    outcome = _outcome(lambda: configuration.checked_value(setting, raw))
    if isinstance(outcome, ValidationError):
        assert setting.name in outcome.message
    else:
        assert outcome == raw
        check_value(setting, outcome, setting.key)


@given(st.text(max_size=12))
def test_any_text_in_a_variable_gives_a_value_or_is_refused_by_its_name(text: str) -> None:
    for setting in SETTINGS.values():
        if setting.variable is not None:
            name = f"MLXK2_{setting.variable}"
            outcome = _outcome(partial(Sources({name: text}, {}, {}, {}).value, setting.key))
            if isinstance(outcome, ValidationError):
                assert name in outcome.message
            else:
                assert outcome.source is (Source.VARIABLE if text else Source.DEFAULT)


@given(st.text(max_size=20))
def test_an_unknown_key_is_refused(key: str) -> None:
    if key not in SETTINGS:
        with pytest.raises(ValidationError, match="unknown key"):
            configuration.known(key)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("serve.prot", "serve.port"),
        ("hub_cach", "hub_cache"),
        ("port", "serve.port"),
        ("temprature", "run.temperature"),
        ("run.port", "serve.port"),
        ("serve.api-key", "serve.api_key"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        configuration.known(key)
    assert refusal.value.hint is not None
    assert refusal.value.hint.fields == {"name": nearest}


def test_every_key_of_a_table_is_a_field_of_its_command_and_remote_code_has_none() -> None:
    fields: dict[str, set[str]] = {"list": set(), "run": set(), "serve": set()}
    for setting in SETTINGS.values():
        if setting.table in fields:
            fields[setting.table].add(setting.field)
    for options in (ServerSettings, ServeOptions):
        assert {field.name for field in attrs.fields(options)} - fields["serve"] == {"allow_remote_code"}
    assert fields["list"] == {field.name for field in attrs.fields(ListOptions)} - {"pattern"}
    assert fields["run"] <= {field.name for field in attrs.fields(RunOptions)}
    one_run = "model prompt prompt_text chat files out stop no_chat_template draft_model allow_remote_code context"
    form_and_tools = "schema json_object regex choice tools yes tool_choice max_tool_rounds"
    named = {*one_run.split(), *form_and_tools.split()}
    assert {field.name for field in attrs.fields(RunOptions)} - fields["run"] == named


def test_the_defaults_of_the_table_are_those_of_the_commands() -> None:
    for setting in SETTINGS.values():
        options = {"list": ListOptions(), "run": RunOptions("m"), "serve": ServerSettings()}.get(setting.table)
        if options is not None:
            assert getattr(options, setting.field) == setting.default, setting.key


def test_every_value_has_a_type_of_the_json_contract() -> None:
    assert {type(setting.default) for setting in SETTINGS.values()} <= {*get_args(SettingType), tuple, type(None)}
