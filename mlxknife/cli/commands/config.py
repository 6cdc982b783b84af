"""``mlxk config``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator

import attrs
from msgspec import UNSET

from mlxknife.app import App
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.console import Console
from mlxknife.cli.editor import edited
from mlxknife.cli.json_documents import ConfigData, SettingObject
from mlxknife.cli.render.config import setting_lines, settings_lines
from mlxknife.cli.render.text import Line
from mlxknife.cli.result import CommandResult
from mlxknife.domain.settings.rules import checks
from mlxknife.domain.settings.services import Configuration
from mlxknife.domain.settings.values.table import SettingValue

_WORDS = {"show": 0, "path": 0, "edit": 0, "set": None, "unset": 1}
"""How many words follow an action; None is at least two."""
_EPILOG = """\
KEY is TABLE.NAME, such as serve.port, or a name outside the tables, such as hub_cache. A list
takes several values. An option wins over a variable, a variable over the config file.

Examples:
  mlxk config
  mlxk config set serve.port 9000
  mlxk config set serve.cors https://app.example null
  mlxk config unset serve.port
"""


def _tuple(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen
class ConfigOptions:
    """What to do with the settings."""

    action: str = "show"
    words: tuple[str, ...] = attrs.field(default=(), converter=_tuple)


OPTIONS = ConfigOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the action, and the key and values of ``set`` and ``unset``."""
    parser.usage = "%(prog)s [--json] [ACTION [KEY [VALUE ...]]]"
    parser.epilog = _EPILOG
    parser.add_argument(
        "action",
        nargs="?",
        default="show",
        metavar="ACTION",
        choices=[*_WORDS],
        help="show (the default): each setting with its value and source; path: where the config file is; "
        "edit: change it with an editor; set, unset: change one key",
    )
    parser.add_argument("words", nargs="*", default=[], metavar="KEY VALUE", help="a key, and its new value")


def run(app: App, options: ConfigOptions, console: Console) -> CommandResult:
    """Show the settings, or change the config file. Raises KnifeError."""
    _check_words(options)
    configuration = app.configuration
    if options.action == "set":
        value = configuration.set(options.words[0], options.words[1:])
        return _result(configuration, options, value, is_changed=True)
    if options.action == "unset":
        is_changed = configuration.unset(options.words[0])
        return _result(configuration, options, None, is_changed=is_changed)
    if options.action == "edit":
        return _result(configuration, options, None, is_changed=edited(configuration, console))
    if options.action == "path":
        return CommandResult(
            data=lambda: ConfigData(configuration.path, configuration.exists(), "path"),
            lines=lambda _: ((configuration.path,),),
        )
    values = configuration.values()
    return CommandResult(
        data=lambda: ConfigData(
            configuration.path, configuration.exists(), "show", settings=tuple(map(_setting_object, values))
        ),
        lines=lambda columns: settings_lines(
            values, configuration.path, exists=configuration.exists(), columns=columns
        ),
    )


def _check_words(options: ConfigOptions) -> None:
    count = _WORDS[options.action]
    if count is None and len(options.words) < 2:  # noqa: PLR2004 - a key and a value
        msg = f"{options.action} needs a key and a value"
        raise UsageError(msg, hint="Write mlxk config set KEY VALUE; mlxk config lists the keys")
    if count is not None and len(options.words) != count:
        msg = f"{options.action} takes {'one key' if count else 'no further words'}, not {len(options.words)}"
        raise UsageError(msg, hint="See mlxk config --help")


def _result(
    configuration: Configuration, options: ConfigOptions, value: SettingValue | None, *, is_changed: bool
) -> CommandResult:
    """Return the result of a change; ``value`` is what holds after it, where one setting was set."""
    return CommandResult(
        data=lambda: ConfigData(
            configuration.path,
            configuration.exists(),
            options.action,  # type: ignore[arg-type] # argparse has checked it
            changed=is_changed,
            settings=UNSET if value is None else (_setting_object(value),),
        ),
        lines=lambda _: _lines(configuration.path, options, value, is_changed=is_changed),
    )


def _lines(path: str, options: ConfigOptions, value: SettingValue | None, *, is_changed: bool) -> Iterator[Line]:
    if value is not None:
        yield from setting_lines(value, path)
    elif not is_changed:
        yield (
            f"Nothing changed: {options.words[0]} is not in {path}" if options.words else f"Nothing changed: {path}",
        )
    else:
        yield (f"Removed {options.words[0]} from {path}" if options.words else f"Saved {path}",)


def _setting_object(value: SettingValue) -> SettingObject:
    return SettingObject(
        key=value.setting.key,
        value=checks.shown(value),
        source=value.source.value,
        variable=value.variable,
        default=value.setting.default,
    )
