"""Makes a small sample cache for ``make demo``: ``python -m tests.sample_cache FOLDER``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.builder import (
    CacheBuilder,
    chat_files,
    embedding_files,
    gguf_files,
    pytorch_files,
    sharded_files,
    vision_files,
    write_workspace,
)


def build(hub: Path, workspaces: Path) -> None:
    """Write models of every kind, two of them damaged, and one workspace."""
    cache = CacheBuilder(hub)
    cache.model("mlx-community/tiny-chat-4bit", chat_files(card=True))
    cache.model("mlx-community/tiny-vision-4bit", vision_files())
    cache.model("mlx-community/tiny-future-4bit", chat_files(model_type="architecture_of_tomorrow"))
    cache.model("org/tiny-embed", embedding_files())
    cache.model("org/tiny-chat-GGUF", gguf_files())
    cache.model("org/tiny-torch", pytorch_files())
    torn = cache.model("mlx-community/torn-download-4bit", sharded_files())
    (torn.snapshot / "model-00002-of-00003.safetensors").unlink()
    cut = cache.model("mlx-community/cut-off-4bit", chat_files())
    weights = cut.blob("model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-7])
    write_workspace(workspaces / "my-experiment", chat_files())


def main() -> None:
    """Replace what stands at the folder that the command line names, and the workspaces beside it."""
    hub = Path(sys.argv[1])
    workspaces = hub.parent / "workspaces"
    for folder in (hub, workspaces):
        shutil.rmtree(folder, ignore_errors=True)
    build(hub, workspaces)


if __name__ == "__main__":
    main()
