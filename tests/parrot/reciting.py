"""Asks a parrot through mlx-lm alone: ``python -m tests.parrot.reciting FOLDER``, chats on stdin, answers on stdout.

Stdin holds ``{"chats": [...], "together": bool}``; each chat has what ``apply_chat_template`` takes. Together, the
chats are rows of one batch.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas


def main() -> None:
    load_fast_blas()
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm import batch_generate, load, stream_generate  # noqa: PLC0415

    mx.set_default_device(mx.Device(mx.cpu))
    asked = json.load(sys.stdin)
    model, tokenizer, *_ = load(sys.argv[1])
    render: Any = tokenizer.apply_chat_template
    prompts = [render(add_generation_prompt=True, **chat) for chat in asked["chats"]]
    if asked["together"]:
        answers = batch_generate(model, tokenizer, prompts, max_tokens=500).texts
    else:
        answers = [
            "".join(piece.text for piece in stream_generate(model, tokenizer, prompt, max_tokens=500))
            for prompt in prompts
        ]
    json.dump({"answers": answers, "has_tools": tokenizer.has_tool_calling}, sys.stdout)


if __name__ == "__main__":
    main()
