"""A real server over fakes, as a process: ``python -m tests.http.process OPTIONS FAKES`` prints its address.

FAKES are fields of FakePool, ``words`` (the length of an answer) and ``open_files`` (a limit of the process).
"""

from __future__ import annotations

import ast
import resource
import sys

from starlette.applications import Starlette

from mlxknife.domain.errors import KnifeError
from mlxknife.http.options import Options
from mlxknife.http.server import serve
from tests.fakes.serving import FakePool, FakeServing, answer, fake_app


def main() -> int:
    options = Options(**ast.literal_eval(sys.argv[1]))
    fakes = ast.literal_eval(sys.argv[2])
    words = fakes.pop("words", 3)
    open_files = fakes.pop("open_files", None)
    if open_files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    pool = FakePool(deltas=answer(*["word "] * words), **fakes)

    def create(options: Options) -> Starlette:
        return fake_app(FakeServing(), pool, options)

    try:
        return serve(create, options, lambda url: print(url, flush=True))  # noqa: T201 - the test waits for it
    except KnifeError as exc:
        print(f"{type(exc).__name__}: {exc.message}", flush=True)  # noqa: T201
        return 99


if __name__ == "__main__":
    sys.exit(main())
