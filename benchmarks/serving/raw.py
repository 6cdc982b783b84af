"""mlx-lm's bare ``BatchGenerator`` in a process of its own: ``raw.py FOLDER``, an order on each line of stdin.

An order is a JSON document: ``questions``, and ``tokens`` for each answer. For each line there is one on stdout: tokens
per second, from the first prompt to the last token. The BLAS is the one that the server's worker loads, with as many
threads.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from mlxknife.adapters.mlx.cpu import load_fast_blas, spare_processors


def main() -> None:
    """Load, then measure as often as one is asked to."""
    spare_processors(sys.argv[1])
    load_fast_blas()
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.utils import load_model, load_tokenizer  # noqa: PLC0415

    if sys.platform == "linux":
        mx.set_default_device(mx.Device(mx.cpu))
    folder = Path(sys.argv[1])
    model, _ = load_model(folder)
    tokenizer: Any = load_tokenizer(folder)  # type: ignore[no-untyped-call] # mlx-lm's own
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        turns = ([{"role": "user", "content": question}] for question in order["questions"])
        prompts = [list(tokenizer.apply_chat_template(turn, add_generation_prompt=True)) for turn in turns]
        print(_speed(model, prompts, order["tokens"]), flush=True)


def _speed(model: Any, prompts: list[list[int]], tokens: int) -> float:  # noqa: ANN401 - a module of mlx-lm
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - it is loaded by now

    generator: Any = BatchGenerator(model, completion_batch_size=32)
    began = time.perf_counter()
    generator.insert(prompts, [tokens] * len(prompts))
    count = 0
    while said := generator.next_generated():
        count += len(said)
    spent = time.perf_counter() - began
    generator.close()
    if count != tokens * len(prompts):
        sys.exit(f"the bare generator said {count} tokens instead of {tokens * len(prompts)}")
    return count / spent


if __name__ == "__main__":
    main()
