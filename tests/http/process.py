"""A real server over fake models, as a process: ``python -m tests.http.process OPTIONS FAKES`` prints its address.

FAKES are fields of FakeProcesses, ``words`` (the length of an answer), ``fails_at`` (the step in which every answer
fails) and ``open_files`` (a limit of the process).
"""

from __future__ import annotations

import ast
import resource
import sys

from mlxknife.domain.errors import KnifeError
from mlxknife.http.options import Options
from mlxknife.http.server import serve
from tests.fakes.serving import FakeBackend, FakeEngine, answer


def main() -> int:
    options = Options(**ast.literal_eval(sys.argv[1]))
    fakes = ast.literal_eval(sys.argv[2])
    words = fakes.pop("words", 3)
    open_files = fakes.pop("open_files", None)
    if open_files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    engine = FakeEngine([answer(*["word "] * words)])
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


if __name__ == "__main__":
    sys.exit(main())
