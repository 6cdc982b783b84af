"""Small folders with the shape of real Hugging Face repos, and what must be said of each."""

from __future__ import annotations
