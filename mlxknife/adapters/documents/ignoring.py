"""What ``.gitignore`` files exclude, as git reads them."""

from __future__ import annotations

import os
import stat

import attrs
from pathspec import GitIgnoreSpec

_NAME = ".gitignore"
_MAX_BYTES = 1_000_000
_MOST_STARS = 8
"""A pattern with more can take for ever to be matched."""


@attrs.frozen
class IgnoreRules:
    """The rules of a folder and of the folders above it, the outermost first."""

    specs: tuple[tuple[str, GitIgnoreSpec], ...] = ()
    """Each with the folder that its patterns are relative to."""

    @classmethod
    def above(cls, folder: str) -> IgnoreRules:
        """Return the rules of the folders above one, up to the root of its git repository."""
        outer = list[str]()
        place = folder
        while not os.path.exists(os.path.join(place, ".git")):
            parent = os.path.dirname(place)
            if parent == place:
                return cls()  # no repository
            outer.append(parent)
            place = parent
        rules = cls()
        for above in reversed(outer):
            rules = rules.within(above)
        return rules

    def within(self, folder: str) -> IgnoreRules:
        """Return the rules for the entries of a folder: these, and those of the folder itself."""
        lines = _lines(os.path.join(folder, _NAME))
        if not lines:
            return self
        return IgnoreRules((*self.specs, (os.path.join(folder, ""), GitIgnoreSpec.from_lines(lines))))

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        """Whether a path is excluded; the innermost rule that speaks of it decides."""
        for folder, spec in reversed(self.specs):
            name = path.removeprefix(folder) + ("/" if is_folder else "")
            verdict = spec.check_file(name).include
            if verdict is not None:
                return verdict
        return False


def _lines(path: str) -> list[str]:
    """Return the patterns of a file; none if it cannot be read. A pattern that git cannot read is left out."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return []
        text = file.read(_MAX_BYTES).decode(errors="surrogateescape")
    return [line for line in text.split("\n") if _is_pattern(line)]


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return line.replace("**", "*").count("*") <= _MOST_STARS
