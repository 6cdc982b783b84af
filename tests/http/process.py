"""A real server over fake models, as a process: ``python -m tests.http.process OPTIONS FAKES`` prints its address.

FAKES are fields of FakeProcesses, ``words`` (the length of an answer), ``text`` (all of it), ``calls`` (names and
arguments), ``fails_at`` (the step in which every answer fails) and ``open_files`` (a limit of the process).
"""

from __future__ import annotations

import ast
import resource
import sys
from collections.abc import Sequence

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.answer import Delta
from mlxknife.domain.tools.values import ToolCall
from mlxknife.http.options import Options
from mlxknife.http.server import serve
from tests.fakes.serving import FakeBackend, FakeEngine, answer, calling


def main() -> int:
    options = Options(**ast.literal_eval(sys.argv[1]))
    fakes = ast.literal_eval(sys.argv[2])
    answers = _answer(fakes.pop("words", 3), fakes.pop("text", ""), fakes.pop("calls", ()))
    open_files = fakes.pop("open_files", None)
    if open_files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    engine = FakeEngine([answers])
    if "fails_at" in fakes:
        engine.failure, engine.fails_at = KnifeError("failed"), fakes.pop("fails_at")
    backend = FakeBackend(engine=engine, options=options)
    for name, value in fakes.items():
        setattr(backend.processes, name, value)

    try:
        return serve(lambda _: backend.app(), options, lambda url: print(url, flush=True))  # noqa: T201 - the test waits for it
    except KnifeError as exc:
        print(f"{type(exc).__name__}: {exc.message}", flush=True)  # noqa: T201
        return 99


def _answer(words: int, text: str, calls: Sequence[tuple[str, str]]) -> Sequence[Delta]:
    if not calls:
        return answer(text) if text else answer(*["word "] * words)
    return calling(*(ToolCall(f"call_{name}", name, arguments) for name, arguments in calls), text=text)


if __name__ == "__main__":
    sys.exit(main())
