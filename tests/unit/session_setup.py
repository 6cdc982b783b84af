"""A catalog and sessions over fakes, for tests of what a session does."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from mlxknife.adapters.functions.tool_functions import PythonFunctions
from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.compatibility.values import Runtime, RuntimePackage
from mlxknife.domain.generation.services.session import Session
from mlxknife.domain.generation.services.sessions import Sessions
from mlxknife.domain.generation.values.answer import GenerationResult, TextDelta, TextKind
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.integrity.services.verifier import Verifier
from mlxknife.domain.names.services import Finder
from mlxknife.ports.engines.processes import ModelClients
from tests.builder import Files, chat_files
from tests.fakes.clients import FakeClients
from tests.fakes.hash_stamps import FakeHashStamps
from tests.fakes.hasher import FakeHasher
from tests.fakes.model_store import FakeStore
from tests.fakes.runtime_inventory import FakeInventory
from tests.fakes.snapshot_reader import FakeReader
from tests.fakes.system import FakeSystem
from tests.fakes.workspaces import FakeWorkspaces

WEIGHTS_ONLY = chat_files(num_hidden_layers=0)
"""A model without a KV cache, so that it takes only its weights."""
SIZE = 88
"""The bytes of memory that it takes."""
COMMIT = "0abc" + "0" * 36
RUNTIME = Runtime(
    backend=True,
    mlx_lm=RuntimePackage("mlx-lm", "0.32.2", frozenset({"llama"})),
)


def make_catalog(
    files: Files | None = None, *, runtime: Runtime = RUNTIME, workspaces: FakeWorkspaces | None = None
) -> Catalog:
    """Return a catalog with the models ``mlx-community/one`` and ``other/two``, both with the same files."""
    store, workspaces = FakeStore(), workspaces or FakeWorkspaces()
    made = WEIGHTS_ONLY if files is None else files
    disk = {f"{path}/{name}": data for path in workspaces.folders for name, data in made.items()}
    for folder in ("models--mlx-community--one", "models--other--two"):
        store.add(folder, refs={"main": COMMIT}, snapshots=(COMMIT,))
        place = store.repo(folder).snapshots[0].location.token
        disk |= {f"{place}/{name}": data for name, data in made.items()}
    return Catalog(
        Finder(store, workspaces),
        Inspector(FakeReader(disk)),
        FakeInventory(runtime),
        Verifier(FakeHasher({}), FakeHashStamps()),
    )


def make_sessions(
    clients: ModelClients, files: Files | None = None, *, system: FakeSystem | None = None, runtime: Runtime = RUNTIME
) -> Sessions:
    """Return the service behind ``run`` over the models of ``make_catalog``."""
    return Sessions(make_catalog(files, runtime=runtime), clients, system or FakeSystem(), PythonFunctions())


def open_session(clients: FakeClients, files: Files | None = None) -> Session:
    return make_sessions(clients, files).open("one")


def collect(answer: Generator[TextDelta, None, GenerationResult]) -> tuple[list[TextDelta], GenerationResult]:
    """Return the deltas of an answer and its result."""
    deltas: list[TextDelta] = []
    while True:
        try:
            deltas.append(next(answer))
        except StopIteration as end:
            result: GenerationResult = end.value
            return deltas, result


def join(deltas: Sequence[TextDelta], kind: TextKind = TextKind.ANSWER) -> str:
    return "".join(delta.text for delta in deltas if delta.kind is kind)
