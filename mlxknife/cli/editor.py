"""The user's editor for ``config edit``: a text is checked before it takes the place of the config file."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile

from mlxknife.cli.console import Console
from mlxknife.cli.errors import print_text
from mlxknife.cli.hints import hint_text
from mlxknife.domain.errors import KnifeError, ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.settings.services import Configuration

_EDITOR = "vi"


def edited(configuration: Configuration, console: Console) -> bool:
    """Let the user edit the config file, and return whether it changed. Raises KnifeError.

    A text with an error can be edited again on a terminal. Elsewhere it is kept, and the error names its path.
    """
    command = _command(console)
    before = configuration.text()
    handle, path = tempfile.mkstemp(prefix="mlxk-config-", suffix=".toml")  # only its owner can read it
    with open(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(before)
    while True:
        try:
            _run([*command, path], console)
        except KnifeError:
            os.unlink(path)
            raise
        try:
            is_changed = _saved(configuration, before, path)
        except ValidationError as error:
            if console.can_prompt:
                print_text(error, _hint(error))
                if console.confirm((), "Edit it again?"):
                    continue
            msg = f"{error.message}. Nothing was changed; your text is kept in {path}"
            raise ValidationError(msg) from error
        os.unlink(path)
        return is_changed


def _saved(configuration: Configuration, before: str, path: str) -> bool:
    """Put the edited text in place and return whether it differs. Raises ValidationError, StorageError."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        after = file.read()
    if after == before:
        return False
    configuration.replace(after)
    return True


def _command(console: Console) -> list[str]:
    """Return the command of the editor. Raises ValidationError where there is none."""
    for name in ("VISUAL", "EDITOR"):
        if words := os.environ.get(name, "").strip():
            return _split(words, name)
    if not console.can_prompt:
        msg = "There is no terminal and no editor"
        raise ValidationError(msg, hint=HintCode.SET_EDITOR)
    return [_EDITOR]


def _split(words: str, name: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError as exc:
        msg = f"{name} is not a command: {words!a}"
        raise ValidationError(msg, hint=HintCode.SET_EDITOR) from exc


def _hint(error: ValidationError) -> str | None:
    is_known = error.hint is None or error.hint.code is HintCode.EDIT_CONFIG
    return None if is_known else hint_text(error.hint)


def _run(command: list[str], console: Console) -> None:
    """Run the editor, which gets the Ctrl-C of the terminal alone. Raises KnifeError."""
    output = sys.stderr.fileno() if console.is_json else None  # stdout belongs to the JSON document
    try:
        with subprocess.Popen(command, stdout=output) as process:  # noqa: S603 - the user's own program
            handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                code = process.wait()
            finally:
                signal.signal(signal.SIGINT, handler)
    except OSError as exc:
        msg = f"The editor cannot be started: {command[0]}: {exc.strerror}"
        raise KnifeError(msg, hint=HintCode.SET_EDITOR) from exc
    if code != 0:
        msg = f"The editor ended with {code}: nothing was changed"
        raise KnifeError(msg)
