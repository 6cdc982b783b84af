"""``mlxk`` whose models wait to be loaded: ``python -m tests.e2e.holding FOLDER WORDS...``.

The command and its model processes are real. While the folder has a file ``hold``, a model process that is asked
to load a model does not begin: it writes the file ``waits`` instead.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import attrs

from mlxknife.adapters.functions.tool_functions import PythonFunctions
from mlxknife.adapters.system.machine import Machine
from mlxknife.adapters.worker.child import loop
from mlxknife.adapters.worker.parent.blocking import BlockingClients
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.app import App
from mlxknife.cli.main import run_command_line
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.services.sessions import Sessions
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.wiring import catalog
from mlxknife.wiring.app import AppWiring, open_app
from mlxknife.wiring.run import WORKER_OPTION
from mlxknife.wiring.worker import TextEngineOpener

_GLANCE = 0.01


@attrs.frozen
class Hold:
    """The folder through which the test and the model processes communicate."""

    folder: Path

    @property
    def program(self) -> tuple[str, ...]:
        """The command line before the words of ``mlxk``."""
        return (sys.executable, "-m", "tests.e2e.holding", str(self.folder))

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the program, besides that of ``mlxk``."""
        return {"PYTHONPATH": str(Path(__file__).parents[2])}

    def begin(self) -> None:
        """Let models wait to be loaded from now on."""
        (self.folder / "hold").touch()

    def end(self) -> None:
        """Let them be loaded."""
        (self.folder / "hold").unlink()

    @property
    def is_reached(self) -> bool:
        """Whether a model process waits to load a model, or did."""
        return (self.folder / "waits").exists()

    def wait(self) -> None:
        """Return when the model may be loaded; called in the model process."""
        while (self.folder / "hold").exists():
            (self.folder / "waits").touch()
            time.sleep(_GLANCE)


class HoldingOpener(TextEngineOpener):
    """The product's own opener, which waits before it opens a model."""

    def __init__(self, hold: Hold) -> None:
        super().__init__()
        self._hold = hold

    def open(self, request: LoadRequest) -> TextEngine:
        self._hold.wait()
        return super().open(request)


class HoldingWiring(AppWiring):
    """The product's own wiring, with other model processes."""

    def model_processes(self) -> WorkerProcesses:
        return WorkerProcesses((*Hold(Path(sys.argv[1])).program, WORKER_OPTION))

    def sessions(self) -> Sessions:
        return Sessions(
            catalog.catalog(self.settings), BlockingClients(self.model_processes()), Machine(), PythonFunctions()
        )


def _open_app(*, reads_config: bool = True) -> App:
    app = open_app(reads_config=reads_config)
    assert isinstance(app.wiring, AppWiring)
    return attrs.evolve(app, wiring=HoldingWiring(app.wiring.settings, app.wiring.sources))


def main() -> int:
    folder, *words = sys.argv[1:]
    if words[0] == WORKER_OPTION:
        _, descriptor, parent = words
        return loop.serve(int(descriptor), int(parent), HoldingOpener(Hold(Path(folder))))
    return run_command_line(words, _open_app)


if __name__ == "__main__":
    sys.exit(main())
