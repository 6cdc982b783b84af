"""Reads the documentation: the fenced blocks of a Markdown page, and the commands of a session with their output.

The second word after the fence names the setting that a block needs (renderers ignore it):

    ```console             the sample cache of ``make demo``
    ```console starter     the sample cache, and a model named ``starter`` that answers
    ```console hub         an empty cache, and a Hub on loopback
    ```console server      ``mlxk serve --model starter`` at the address that the page names
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
"""Every page for users; the decisions in docs/adr hold no commands."""

_FENCED = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Block:
    """One fenced block of a page."""

    language: str
    setting: str
    text: str


@attrs.frozen
class Command:
    """One command of a session, and the output that the page shows."""

    line: str
    output: str


def blocks(page: Path) -> tuple[Block, ...]:
    """Return the fenced blocks of a page in their order."""
    return tuple(Block(*groups) for groups in _FENCED.findall(page.read_text(encoding="utf-8")))


def commands(session: str) -> tuple[Command, ...]:
    """Return the commands of a session. A command begins with ``$ ``; a backslash continues it on the next line."""
    found = []
    for part in f"\n{session}".split("\n$ ")[1:]:
        lines = part.rstrip("\n").split("\n")
        end = next(number for number, line in enumerate(lines) if not line.endswith("\\")) + 1
        found.append(Command("\n".join(lines[:end]), "\n".join(lines[end:])))
    return tuple(found)


def without_versions(text: str) -> str:
    """Return a text in which no version of a package shows."""
    return re.sub(r"(mlx-lm|mlxk) \d+(\.\d+)+", r"\1 VERSION", text)
