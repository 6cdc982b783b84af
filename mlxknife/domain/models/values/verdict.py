"""Judgements: what is right or wrong with a model, and why."""

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
    """Something that belongs to it cannot be had."""
    CORRUPT = "corrupt"
    """Something is there and is wrong."""

    @property
    def healthy(self) -> bool:
        """Whether the contract calls this ``healthy``."""
        return self in (Integrity.VERIFIED, Integrity.STRUCTURAL)


@attrs.frozen
class Finding:
    """One thing that is wrong, and how wrong it makes the model."""

    integrity: Integrity
    reason: str
