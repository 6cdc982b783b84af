"""Escape sequences in everything that a stranger writes never reach a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path
from random import Random

import attrs
import pytest

from tests.builder import chat_files, json_bytes
from tests.e2e.payloads import numbers, payloads, reached, seen
from tests.e2e.processes import BIN, Machine, read_all
from tests.scorecard import Scorecard

pytestmark = pytest.mark.timeout(2400)

_ROOT = Path(__file__).parents[2]
_IN_NAMES = "/\0"
_MOST_MODELS = 300
_COLUMNS = 60_000
"""No line is folded, so that each payload can be found."""
_SCRIPT = """
import json, sys
from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.domain.generation.values.answer import TextDelta, TextKind
kinds = (TextKind.ANSWER, TextKind.REASONING)
for number, text in enumerate(json.load(open(sys.argv[1]))):
    printer = AnswerPrinter(sys.stdout, kinds, is_plain=number % 3 == 0)
    for start in range(0, len(text), 1 + number % 7):
        printer.write(TextDelta(kinds[number % 5 == 0], text[start:start + 1 + number % 7]))
    printer.end()
"""


@attrs.define
class Stranger:
    """Writes payloads wherever a stranger can; counts those that were shown, and finds those that were not escaped."""

    machine: Machine
    random: Random
    made: int = 0
    shown: int = 0

    def some(self, count: int, *, without: str = "") -> list[str]:
        self.made += count
        return payloads(count, self.random, without=without, first=10_000 * 10 + self.made)

    def watch(self, made: list[str], *words: str, program: str = "mlxk", cwd: Path | None = None) -> None:
        """Run a program on a terminal; each of the payloads is on it, and none in its raw form."""
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, _COLUMNS, 0, 0))
        with subprocess.Popen(
            [str(BIN / program), *words],
            env=self.machine.environment(COLUMNS=str(_COLUMNS), HF_HUB_OFFLINE="1"),
            cwd=cwd or self.machine.root,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        ):
            os.close(theirs)
            text = read_all(mine).decode("utf-8", "surrogateescape")
        os.close(mine)
        assert reached(text) == [], (words[:3], text[:2000])
        missing = numbers(made) - seen(text)
        assert not missing, (words[:3], len(missing), text[:2000])
        self.shown += len(made)


def attack(stranger: Stranger, share: int) -> None:
    """Use each way; all together take about ``share`` payloads."""
    _names(stranger, share // 10)
    _files(stranger, share // 5)
    _config(stranger, share // 5)
    _cards(stranger, share // 20)
    _findings(stranger, share // 20)
    _answers(stranger, share // 4)
    _outputs(stranger, share // 10)
    _arguments(stranger, share // 100)


def _names(stranger: Stranger, count: int) -> None:
    """Names of workspaces and of models in the cache."""
    machine, names = stranger.machine, stranger.some(count, without=_IN_NAMES)
    for number, name in enumerate(names):
        if number % 2:
            machine.workspace(name, {"config.json": json_bytes({"model_type": name})})
        else:
            machine.cache.model("org/plain", chat_files(number=number)).repo.rename(
                machine.hub / f"models--org--{name}"
            )
    for words in (["list", "--all", "--health", "--verbose"], ["list", "--all", "--json"], ["health"]):
        stranger.watch(names, *words)


def _files(stranger: Stranger, count: int) -> None:
    names = stranger.some(count, without=_IN_NAMES)
    folder = stranger.machine.workspace("files", chat_files())
    for name in names:
        (folder / name).write_bytes(b"x")
    stranger.watch(names, "show", "files", "--files")
    stranger.watch(names, "show", "files", "--files", "--json")


def _config(stranger: Stranger, count: int) -> None:
    names, values = stranger.some(count // 2), stranger.some(count // 2)
    odd = dict(zip(names, values, strict=True))
    stranger.machine.workspace("config", chat_files() | {"config.json": json_bytes({"model_type": "llama", **odd})})
    stranger.watch([*names, *values], "show", "config", "--config")


def _cards(stranger: Stranger, count: int) -> None:
    bases = stranger.some(count, without="\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
    lines = "\n".join(f"- {base}" for base in bases)
    card = f"---\nlicense: {bases[0]}\nbase_model:\n{lines}\n---\n"
    stranger.machine.workspace("card", chat_files() | {"README.md": card.encode("utf-8", "surrogatepass")})
    stranger.watch(bases, "show", "card")


def _findings(stranger: Stranger, count: int) -> None:
    """Names of files in what ``health`` says about a damaged model."""
    names = stranger.some(min(count, _MOST_MODELS), without=_IN_NAMES)
    for number, name in enumerate(names):
        stranger.machine.workspace(f"damaged-{number}", chat_files() | {f"{name}.safetensors.partial": b"x"})
    stranger.watch(names, "health")


def _answers(stranger: Stranger, count: int) -> None:
    """Answers of a model, as Markdown and as they are, in pieces."""
    texts = stranger.some(count)
    frames = ("{}", "# {}", "`{}`", "```\n{}\n```", "- {}\n", "| {} |\n|---|\n", "> *{}*", "[{}](https://example.org)")
    written = stranger.machine.root / "answers.json"
    written.write_bytes(json_bytes([stranger.random.choice(frames).replace("{}", text) for text in texts]))
    script = stranger.machine.root / "answers.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(_ROOT)!r})\n{_SCRIPT}")
    stranger.watch(texts, str(script), str(written), program=Path(sys.executable).name)


def _outputs(stranger: Stranger, count: int) -> None:
    """The output of the commands that ``mlx-tee`` runs."""
    texts = stranger.some(count)
    path = stranger.machine.root / "output.txt"
    path.write_text("\n".join(texts), encoding="utf-8", errors="surrogateescape")
    stranger.watch(texts, shlex.join(["cat", str(path)]), program="mlx-tee")


def _arguments(stranger: Stranger, count: int) -> None:
    """Names that there are not, in errors."""
    for text in stranger.some(count, without="\0"):
        stranger.watch([text], stranger.random.choice(("show", "health", "pull", "rm", "run")), text)


def test_no_payload_reaches_a_terminal(machine: Machine) -> None:
    stranger = Stranger(machine, Random(1))
    attack(stranger, 200)
    assert stranger.shown > 200


@pytest.mark.stress(part="escape-payloads")
def test_ten_thousand_payloads(machine: Machine, scorecard: Scorecard) -> None:
    stranger = Stranger(machine, Random(scorecard.seed))
    attack(stranger, 11_000)
    assert stranger.made >= 10_000
    scorecard.record(counts={"payloads": stranger.made, "shown": stranger.shown, "raw on the terminal": 0})
