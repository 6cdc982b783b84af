"""mlx-lm's bare ``BatchGenerator`` in a process of its own: ``raw.py FOLDER``, a number of rows on each line of stdin.

For each line there is one on stdout: tokens per second, from the first prompt to the last token. The BLAS is the one
that the server's worker loads, with as many threads.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from mlxknife.adapters.mlx.cpu import load_fast_blas, spare_processors

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from serving import model as tiny


def main() -> None:
    """Load, then measure as often as one is asked to."""
    spare_processors(sys.argv[1])
    load_fast_blas()
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.utils import load_model  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415

    if sys.platform == "linux":
        mx.set_default_device(mx.Device(mx.cpu))
    folder = Path(sys.argv[1])
    model, _ = load_model(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    random = Random(2)  # noqa: S311 - any words will do
    print("ready", flush=True)
    for line in sys.stdin:
        rows, prompt, tokens = map(int, line.split())
        prompts = [tokenizer.encode(_chat(tiny.text_of(random, prompt))).ids for _ in range(rows)]
        print(_speed(model, prompts, tokens), flush=True)


def _chat(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


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
