"""Changes of the config file: one key changes, all else stays, or the change is refused."""

from __future__ import annotations

import tempfile
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.adapters.system.config_file import TomlConfigFile
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.settings.rules import configuration
from mlxknife.domain.settings.services import Configuration
from mlxknife.domain.settings.values.table import SETTINGS, Kind, SettingType
from mlxknife.wiring.settings import sources
from tests.config_text import CONFIG_TEXT

_VALUES: dict[Kind, st.SearchStrategy[SettingType]] = {
    Kind.TEXT: st.text(st.characters(codec="utf-8"), max_size=20),
    Kind.INTEGER: st.integers(-(2**62), 2**62),
    Kind.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    Kind.BOOLEAN: st.booleans(),
    Kind.TEXTS: st.lists(st.text(st.characters(codec="utf-8"), max_size=9), max_size=3).map(tuple),
}


def _entries(text: str) -> dict[str, object]:
    return dict(configuration.entries(tomllib.loads(text)))


@given(st.data(), st.sampled_from([CONFIG_TEXT, "", "[serve]\n", "x.y = 1\n[serve]\nport=1", "# only words\n"]))
def test_a_change_changes_one_key_and_keeps_every_comment(data: st.DataObject, text: str) -> None:
    setting = data.draw(st.sampled_from([*SETTINGS.values()]))
    value = data.draw(_VALUES[setting.kind])
    file = TomlConfigFile("/nowhere/config.toml")
    changed = file.changed(text, setting.key, value)
    raw = list(value) if isinstance(value, tuple) else value
    assert _entries(changed) == {key: old for key, old in _entries(text).items() if old != {}} | {setting.key: raw}
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in changed.splitlines() if line in comments] == comments
    back = file.changed(changed, setting.key, None)
    assert setting.key not in _entries(back)


ODD = (
    *(
        "serve = 3\n",
        "[[serve]]\nport = 1\n",
        "serve = {port = 1, cors = []}\n",
        "serve.port = 1\nserve.cors = ['a']\n",
    ),
    *(
        "[a.b]\nx = 1\n[serve]\n[a.c]\ny = 2\n",
        '"serve.port" = 1\n',
        "[pipes]\nx = 1\n",
        "[serve.port]\nx = 1\n",
        "a = 1",
    ),
    *('system = """\na\n# b\n"""\n', "[run] # one\n# two\n\n\n[serve] # three\n", "\r\n[serve]\r\nport = 1\r\n"),
)
"""Documents that TOML allows and no user should write."""


@given(st.data(), st.sampled_from(ODD))
def test_a_change_of_an_odd_file_is_right_or_refused(data: st.DataObject, text: str) -> None:
    """What the service keeps is never another document than the one that was asked for."""
    with tempfile.TemporaryDirectory() as folder:
        file = TomlConfigFile(f"{folder}/config.toml")
        file.replace(text, is_private=False)
        setting = data.draw(st.sampled_from([*SETTINGS.values()]))
        raw = data.draw(st.sampled_from(["7", "true", "a", "0.5", "https://a.example"]))
        service = Configuration(file, lambda configured: sources({}, configured))
        before = _entries(text)
        try:
            service.set(setting.key, [raw])
        except ValidationError:
            assert file.text() == text
            return
        after = _entries(file.text() or "")
        assert after.pop(setting.key) in (raw, [raw], 7, 0.5, True)
        assert after == {key: value for key, value in before.items() if key != setting.key and value != {}}
