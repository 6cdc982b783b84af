"""A chat over fakes, for tests of what it answers."""

from __future__ import annotations

from collections.abc import Generator

from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.compatibility.values import Runtime, RuntimePackage
from mlxknife.domain.generation.services.session import Chat, Session
from mlxknife.domain.generation.values.generation import Outcome, Piece, PieceKind
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.integrity.services.verifier import Verifier
from mlxknife.domain.names.services import Finder
from tests.builder import Files, chat_files
from tests.fakes.engine import FakeEngine, FakeModel
from tests.fakes.hash_stamps import FakeHashStamps
from tests.fakes.hasher import FakeHasher
from tests.fakes.model_store import FakeStore
from tests.fakes.runtime_inventory import FakeInventory
from tests.fakes.snapshot_reader import FakeReader
from tests.fakes.system import FakeSystem
from tests.fakes.templates import FakeTemplates
from tests.fakes.workspaces import FakeWorkspaces

WEIGHTS_ALONE = chat_files(num_hidden_layers=0)
"""A model that remembers nothing, so that it takes only its weights."""
COMMIT = "0abc" + "0" * 36
RUNTIME = Runtime(
    backend=True,
    mlx_lm=RuntimePackage("mlx-lm", "0.32.2", frozenset({"llama"})),
    mlx_vlm=RuntimePackage("mlx-vlm", "0.7.0", frozenset(), encoders=frozenset({"bert"})),
)


def chat(
    engine: FakeEngine,
    files: Files | None = None,
    *,
    system: FakeSystem | None = None,
    runtime: Runtime = RUNTIME,
    workspaces: FakeWorkspaces | None = None,
) -> Chat:
    """Return a chat over the model ``mlx-community/one``, and ``other/two`` beside it."""
    store, workspaces = FakeStore(), workspaces or FakeWorkspaces()
    made = WEIGHTS_ALONE if files is None else files
    disk = {f"{path}/{name}": data for path in workspaces.folders for name, data in made.items()}
    for folder in ("models--mlx-community--one", "models--other--two"):
        store.add(folder, refs={"main": COMMIT}, snapshots=(COMMIT,))
        place = store.repo(folder).snapshots[0].location.token
        disk |= {f"{place}/{name}": data for name, data in made.items()}
    catalog = Catalog(
        Finder(store, workspaces),
        Inspector(FakeReader(disk)),
        FakeInventory(runtime),
        Verifier(FakeHasher({}), FakeHashStamps()),
    )
    return Chat(catalog, engine, FakeTemplates(), system or FakeSystem())


def session(model: FakeModel, files: Files | None = None) -> Session:
    return chat(FakeEngine(model), files).open("one")


def heard(pieces: Generator[Piece, None, Outcome]) -> tuple[list[Piece], Outcome]:
    told: list[Piece] = []
    while True:
        try:
            told.append(next(pieces))
        except StopIteration as end:
            outcome: Outcome = end.value
            return told, outcome


def texts(pieces: list[Piece], kind: PieceKind = PieceKind.ANSWER) -> str:
    return "".join(piece.text for piece in pieces if piece.kind is kind)
