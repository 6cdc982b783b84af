"""Where the JSON of MLX Knife may differ from that of mlx-knife 2.0.8: each rule is a row of MIGRATION.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MISSING = "(missing)"
"""The value of a key that a document does not have."""
_CRASHES = ("InternalError", "show_operation_failed", "health_check_failed")
_NEW = ("integrity", "quantization", "display_name")
_IDENTITY = ("content_hash", "hash_modified", "clean", "workspace_metadata")
_KINDS = ("model_type", "capabilities")
_OTHER_TOKENIZERS = "tokenizer_config.json present but tokenizer.json missing"


@dataclass(frozen=True)
class Difference:
    """One key of one document whose values differ, with the entries of the model in both documents."""

    command: str
    shape: str
    key: str
    theirs: Any
    ours: Any
    their_model: Mapping[str, Any]
    our_model: Mapping[str, Any]

    @property
    def last(self) -> str:
        """Return the last part of the key."""
        return self.key.rpartition(".")[2]

    def is_change(self, key: str, theirs: object, ours: object) -> bool:
        """Return whether a field of the model has changed from one value to another."""
        names = {"health": ("health", "status")}.get(key, (key,))
        return any(self.their_model.get(name) == theirs and self.our_model.get(name) == ours for name in names)

    @property
    def is_verdict(self) -> bool:
        """Return whether the key is part of what is said of the files and the runtime."""
        return self.last in ("health", "status", "reason", "runtime_compatible")

    @property
    def their_reason(self) -> str:
        """Return the reason of their entry."""
        return self.their_model.get("reason") or ""

    @property
    def our_reason(self) -> str:
        """Return the reason of our entry."""
        return self.our_model.get("reason") or ""


def _is_gguf(found: Difference) -> bool:
    return found.our_model.get("framework") == "GGUF" or found.shape.endswith("GGUF")


def _heals(found: Difference) -> bool:
    return found.is_verdict and found.is_change("health", "unhealthy", "healthy")


RULES: dict[str, Callable[[Difference], bool]] = {
    "damage-hides-models": lambda found: found.key == "error.type" and found.theirs in _CRASHES and found.ours is None,
    "workspace-names": lambda found: found.last == "name" and str(found.theirs).endswith(f"/{found.ours}"),
    "workspace-identity": lambda found: found.last in _IDENTITY and found.ours == MISSING,
    "new-keys": lambda found: (
        found.theirs in (MISSING, None) and (found.last in _NEW or found.key.startswith("metadata"))
    ),
    "system-everywhere": lambda found: found.key == "system" and found.theirs is None,
    "gguf-only": lambda found: _heals(found) and _is_gguf(found),
    "tokenizer-forms": lambda found: _heals(found) and found.their_reason == _OTHER_TOKENIZERS,
    "npz-weights": lambda found: _heals(found) and "weights.npz" in found.our_model.get("files", ()),
    "deeper-checks": lambda found: found.is_verdict and found.is_change("health", "healthy", "unhealthy"),
    "embedding-models": lambda found: (
        found.is_verdict
        and found.is_change("runtime_compatible", theirs=True, ours=False)
        and found.our_model.get("model_type") == "embedding"
    ),
    "weight-names": lambda found: (
        found.is_verdict
        and found.is_change("runtime_compatible", theirs=True, ours=False)
        and "requires model*.safetensors" in found.our_reason
    ),
    "tokenizer-loads": lambda found: (
        found.is_verdict
        and found.is_change("runtime_compatible", theirs=True, ours=False)
        and found.our_reason.startswith("Tokenizer files not readable")
    ),
    "reason-texts": lambda found: (
        found.last == "reason"
        and found.their_model.get("status") == found.our_model.get("status")
        and found.their_model.get("health") == found.our_model.get("health")
        and found.their_model.get("runtime_compatible") == found.our_model.get("runtime_compatible")
    ),
    "size-once": lambda found: found.last == "size_bytes" and found.ours < found.theirs,
    "type-unknown": lambda found: found.last in _KINDS and found.our_model.get("model_type") == "unknown",
    "type-embedding": lambda found: found.last in _KINDS and found.our_model.get("model_type") == "embedding",
    "type-audio": lambda found: found.last in _KINDS and found.our_model.get("model_type") == "audio",
    "type-chat": lambda found: (
        found.last in _KINDS and found.their_model.get("model_type") == "base" and _is_gguf(found)
    ),
    "more-capabilities": lambda found: found.last == "capabilities" and {*found.theirs} < {*found.ours},
    "quantization-mode": lambda found: found.key == "quantization" and found.theirs.items() < found.ours.items(),
    "context-of-embeddings": lambda found: (
        found.last == "context_length" and found.theirs is None and found.our_model.get("model_type") == "embedding"
    ),
    "hash-of-damaged": lambda found: (
        found.last == "hash" and found.theirs is None and found.our_model.get("health") == "unhealthy"
    ),
    "quantization-of-mlx": lambda found: (
        found.key == "metadata.quantization" and found.our_model.get("framework") != "MLX"
    ),
}
"""The rules by their ids, in the order in which they are asked."""


def rule_of(found: Difference) -> str | None:
    """Return the id of the first rule that covers a difference."""
    return next((rule for rule, covers in RULES.items() if covers(found)), None)
