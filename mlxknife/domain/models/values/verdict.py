"""Verdicts on the files of a model, with their reasons."""

from __future__ import annotations

from enum import Enum

import attrs


class Integrity(Enum):
    """How far the files of a model can be trusted."""

    VERIFIED = "verified"
    """Every byte hashed against its recorded hash."""
    STRUCTURAL = "structural"
    """Complete and consistent; bytes not hashed."""
    INCOMPLETE = "incomplete"
    """A file is missing or cannot be read."""
    CORRUPT = "corrupt"
    """A file is present but wrong."""

    @property
    def healthy(self) -> bool:
        """Whether the contract calls this ``healthy``."""
        return self in (Integrity.VERIFIED, Integrity.STRUCTURAL)


class Proof(Enum):
    """What ``verified`` proves."""

    MANIFEST = "manifest"
    """Every file that the Hub lists for the commit is there, with the listed hash."""
    FILES = "files"
    """Every file that is there has its recorded hash. A missing file that no rule knows goes unnoticed."""


@attrs.frozen
class Finding:
    """One problem of a model, and the integrity that results from it."""

    integrity: Integrity
    reason: str
