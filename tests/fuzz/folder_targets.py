"""Whole models with one mutated file: every command that looks at models ends as the contract says."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from random import Random

import mlxknife
from mlxknife import App
from mlxknife.cli.main import run_command_line
from tests.builder import (
    Files,
    chat_files,
    embedding_files,
    json_bytes,
    pytorch_files,
    sharded_files,
    speech_files,
    vision_files,
    write_workspace,
)
from tests.e2e.sandbox import is_plain
from tests.fuzz.campaign import Target
from tests.fuzz.mutations import misspelt, rewritten, scratched
from tests.fuzz.text_targets import overwrite

_OWN = re.compile(r"\x1b\[(?:1|2|31|32|33)(?:;\d+)*m|\x1b\[0m|\r\x1b\[J")
"""Our colours, and the clearing of a progress line; no mutation makes them."""
_BERT = {"_class_name": "x", "architectures": ["BertModel"], "sliding_window": 4, "text_config": {"vocab_size": 8}}
_GENERATION = {"temperature": 0.6, "top_p": 0.9, "eos_token_id": [1, 2], "max_new_tokens": 5}
_COMMANDS = (
    ("list", "--all", "--health", "--verbose"),
    ("list", "--all", "--health", "--json"),
    ("show", "MODEL"),
    ("show", "MODEL", "--json", "--files", "--config"),
    ("health", "MODEL", "--verify"),
    ("run", "MODEL", "Hello", "--max-tokens", "nonsense"),
)


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def targets(folder: Path) -> Iterator[Target]:
    """Yield one target for each command."""
    kinds = _kinds()
    homes = {name: write_workspace(folder / name / "home/model", files) for name, files in kinds.items()}
    places = [(name, file) for name, files in kinds.items() for file in files]
    apps = {name: _app(home.parent) for name, home in homes.items()}

    def mutated(random: Random) -> bytes:
        number = random.randrange(len(places))
        kind, file = places[number]
        return number.to_bytes(2, "big") + random.randbytes(1) + _mutated(kinds[kind][file], random)

    def look(data: bytes) -> None:
        kind, file = places[int.from_bytes(data[:2], "big") % len(places)]
        path = homes[kind] / file
        overwrite(path, data[3:])
        try:
            _check(apps[kind], _COMMANDS[data[2] % len(_COMMANDS)], is_terminal=data[2] % 2 == 0)
        finally:
            overwrite(path, kinds[kind][file])

    yield Target("commands on a model", (mutated,), look, share=250)


def _kinds() -> dict[str, Files]:
    """Return the files of a model of each kind."""
    chat = chat_files(card=True, eos_token_id=2, rope_scaling={"rope_type": "yarn", "factor": 2.0})
    more = {
        "generation_config.json": json_bytes(_GENERATION),
        ".mlxk_workspace.json": json_bytes({"source_repo": "a/b"}),
    }
    return {
        "chat": chat | more | {"chat_template.jinja": b"{{ messages }}"},
        "sharded": sharded_files(2),
        "embedding": embedding_files() | {"config.json": json_bytes({"model_type": "bert", **_BERT})},
        "vision": vision_files(),
        "torch": pytorch_files(),
        "speech": speech_files(),
    }


def _mutated(data: bytes, random: Random) -> bytes:
    try:
        document = json.loads(data)
    except ValueError:
        return scratched(data, random)
    return random.choice((rewritten, rewritten, misspelt))(document, random)


def _app(home: Path) -> App:
    (home.parent / "hub").mkdir()
    return mlxknife.open_app(hub_cache=home.parent / "hub", workspace_home=home, environment={}, reads_config=False)


def _check(app: App, command: tuple[str, ...], *, is_terminal: bool) -> None:
    """Run a command; it prints no control characters, no traceback and no defect, and JSON where that is asked for."""
    words = [word.replace("MODEL", "model") for word in command]
    before = sys.stdout, sys.stderr
    kind = Terminal if is_terminal else StringIO
    sys.stdout, sys.stderr = out, err = kind(), kind()
    try:
        code = run_command_line(words, lambda **_: app)
    finally:
        sys.stdout, sys.stderr = before
    text = _OWN.sub("", out.getvalue() + err.getvalue())
    assert code in (0, 1), (words, text)
    assert is_plain(text), (words, text)
    assert "This is a defect" not in text, (words, text)
    assert "Traceback" not in text, (words, text)
    if "--json" in words:
        json.loads(out.getvalue())
