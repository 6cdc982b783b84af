"""What every ``WorkspaceBuilder`` promises."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from mlxknife.adapters.workspaces.workspace_builder import LocalWorkspaceBuilder
from mlxknife.adapters.workspaces.workspaces import SENTINEL, LocalWorkspaces
from mlxknife.domain.errors import AccessDenied, StorageError, ValidationError
from mlxknife.domain.workspaces.values import Origin
from mlxknife.ports.workspaces.workspace_builder import WorkspaceBuilder
from tests.contracts.permissions import forbidden
from tests.fakes.workspace_builder import FakeWorkspaceBuilder

ORIGIN = Origin(source="org/model", operation="pull", revision="1.0")
FILES = {"config.json": b"{}", "folder/part.bin": b"\0\1"}


class Mishap(Exception):
    """Something that goes wrong while a workspace is made."""


def write(folder: str) -> None:
    for name, data in FILES.items():
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


class Contract(ABC):
    @pytest.fixture
    @abstractmethod
    def workspace_builder(self, place: Path) -> WorkspaceBuilder:
        """Return a workspace_builder whose home is not there yet."""

    @abstractmethod
    def made(self, workspace_builder: WorkspaceBuilder) -> dict[str, dict[str, bytes]]:
        """Return the files of every workspace, without sentinels."""

    @abstractmethod
    def traces(self, workspace_builder: WorkspaceBuilder) -> list[str]:
        """Return what is there besides workspaces."""

    @abstractmethod
    def denying(self, workspace_builder: WorkspaceBuilder) -> AbstractContextManager[None]:
        """Take away the right to make anything."""

    def test_a_folder_becomes_a_workspace_when_the_block_ends(self, workspace_builder: WorkspaceBuilder) -> None:
        with workspace_builder.create("model", ORIGIN) as folder:
            assert os.listdir(folder) == []
            write(folder)
            assert self.made(workspace_builder) == {}
        assert self.made(workspace_builder) == {"model": FILES}
        assert self.traces(workspace_builder) == []
        assert not os.path.exists(folder)

    def test_nothing_is_left_when_the_block_raises(self, workspace_builder: WorkspaceBuilder) -> None:
        with suppress(Mishap), workspace_builder.create("model", ORIGIN) as folder:
            write(folder)
            raise Mishap
        assert self.made(workspace_builder) == {}
        assert self.traces(workspace_builder) == []

    def test_a_name_that_is_taken_is_refused_before_the_work(self, workspace_builder: WorkspaceBuilder) -> None:
        with workspace_builder.create("model", ORIGIN) as folder:
            write(folder)
        with pytest.raises(ValidationError), workspace_builder.create("model", ORIGIN):
            pytest.fail("it began")
        assert self.made(workspace_builder) == {"model": FILES}

    def test_a_name_that_is_taken_meanwhile_is_refused_after_it(self, workspace_builder: WorkspaceBuilder) -> None:
        slower = workspace_builder.create("model", ORIGIN)
        Path(slower.__enter__(), "other").write_bytes(b"")
        with workspace_builder.create("model", ORIGIN) as faster:
            write(faster)
        with pytest.raises(ValidationError):
            slower.__exit__(None, None, None)
        assert self.made(workspace_builder) == {"model": FILES}
        assert self.traces(workspace_builder) == []

    @pytest.mark.parametrize(
        "name", ["", ".", "..", ".hidden", "a/b", "/a", "a\0b", "a\nb", "\ud800", "x" * 256, "ä" * 128]
    )
    def test_what_can_be_no_name_is_refused(self, workspace_builder: WorkspaceBuilder, name: str) -> None:
        with pytest.raises(ValidationError), workspace_builder.create(name, ORIGIN):
            pytest.fail("it began")

    def test_scratch_is_gone_at_the_end_whatever_happens(self, workspace_builder: WorkspaceBuilder) -> None:
        with workspace_builder.scratch() as folder:
            assert os.listdir(folder) == []
            write(folder)
        assert not os.path.exists(folder)
        with suppress(Mishap), workspace_builder.scratch() as folder:
            write(folder)
            raise Mishap
        assert not os.path.exists(folder)
        assert self.traces(workspace_builder) == []

    def test_two_at_a_time_do_not_disturb_each_other(self, workspace_builder: WorkspaceBuilder) -> None:
        with (
            workspace_builder.scratch() as scratch,
            workspace_builder.create("one", ORIGIN) as one,
            workspace_builder.create("two", ORIGIN) as two,
        ):
            assert len({scratch, one, two}) == 3
            write(one)
            write(two)
        assert self.made(workspace_builder) == {"one": FILES, "two": FILES}

    def test_a_home_that_may_not_be_written_to_is_denied(self, workspace_builder: WorkspaceBuilder) -> None:
        with self.denying(workspace_builder), pytest.raises(AccessDenied), workspace_builder.create("model", ORIGIN):
            pytest.fail("it began")


class TestFake(Contract):
    @pytest.fixture
    def workspace_builder(self, place: Path) -> WorkspaceBuilder:
        del place
        return FakeWorkspaceBuilder()

    def made(self, workspace_builder: WorkspaceBuilder) -> dict[str, dict[str, bytes]]:
        assert isinstance(workspace_builder, FakeWorkspaceBuilder)
        return {name: files for name, (_, files) in workspace_builder.made.items()}

    def traces(self, workspace_builder: WorkspaceBuilder) -> list[str]:
        assert isinstance(workspace_builder, FakeWorkspaceBuilder)
        return workspace_builder.given

    @contextmanager
    def denying(self, workspace_builder: WorkspaceBuilder) -> Iterator[None]:
        assert isinstance(workspace_builder, FakeWorkspaceBuilder)
        workspace_builder.is_denied = True
        yield


class TestReal(Contract):
    @pytest.fixture
    def home(self, place: Path) -> Path:
        return place / "folder" / "home"

    @pytest.fixture
    def workspace_builder(self, home: Path) -> WorkspaceBuilder:
        return LocalWorkspaceBuilder(str(home), now=lambda: 86_400.0)

    def made(self, workspace_builder: WorkspaceBuilder) -> dict[str, dict[str, bytes]]:
        home = self._home(workspace_builder)
        found = (path for path in home.iterdir() if not path.name.startswith("."))
        return {path.name: _files(path) for path in found}

    def traces(self, workspace_builder: WorkspaceBuilder) -> list[str]:
        return [path.name for path in self._home(workspace_builder).iterdir() if path.name.startswith(".")]

    def denying(self, workspace_builder: WorkspaceBuilder) -> AbstractContextManager[None]:
        home = self._home(workspace_builder)
        home.mkdir(parents=True)
        return forbidden(home)

    def _home(self, workspace_builder: WorkspaceBuilder) -> Path:
        assert isinstance(workspace_builder, LocalWorkspaceBuilder)
        return Path(workspace_builder._home)  # noqa: SLF001 - a contract is asked about a home that only the adapter has

    def test_the_sentinel_records_origin_and_content(self, workspace_builder: WorkspaceBuilder, home: Path) -> None:
        with workspace_builder.create("model", ORIGIN) as folder:
            write(folder)
        said = json.loads((home / "model" / SENTINEL).read_text())
        lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(FILES.items()))
        assert said.pop("mlxk_version")
        assert said == {
            "created_at": "1970-01-02T00:00:00Z",
            "managed": True,
            "operation": "pull",
            "source_repo": "org/model",
            "source_revision": "1.0",
            "content_hash": f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}",
            "hash_algorithm": "sha256-of-files",
        }
        (workspace,) = LocalWorkspaces(str(home)).at_home()
        assert (workspace.folder, workspace.is_managed, workspace.origin) == ("model", True, "org/model")

    def test_an_unfinished_one_is_not_listed(self, workspace_builder: WorkspaceBuilder, home: Path) -> None:
        with workspace_builder.create("model", ORIGIN) as folder:
            write(folder)
            assert LocalWorkspaces(str(home)).at_home() == ()

    @pytest.mark.parametrize("kind", ["file", "folder", "link"])
    def test_whatever_has_the_name_stays(self, workspace_builder: WorkspaceBuilder, home: Path, kind: str) -> None:
        home.mkdir(parents=True)
        {
            "file": lambda path: path.write_bytes(b"x"),
            "folder": lambda path: path.mkdir(),
            "link": lambda path: path.symlink_to("nowhere"),
        }[kind](home / "model")
        with pytest.raises(ValidationError), workspace_builder.create("model", ORIGIN):
            pytest.fail("it began")
        assert os.listdir(home) == ["model"]

    def test_what_somebody_left_who_was_killed_goes_and_what_is_in_use_stays(
        self, workspace_builder: WorkspaceBuilder, home: Path
    ) -> None:
        program = (
            "import os, signal, sys\n"
            "from mlxknife.adapters.workspaces.workspace_builder import LocalWorkspaceBuilder\n"
            "with LocalWorkspaceBuilder(sys.argv[1]).scratch() as folder:\n"
            "    open(folder + '/part', 'w').close()\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", program, str(home)], check=False)
        (left,) = os.listdir(home)
        with workspace_builder.scratch() as first, workspace_builder.scratch() as second:
            assert sorted(os.listdir(home)) == sorted((os.path.basename(first), os.path.basename(second)))
            assert left not in os.listdir(home)
        assert os.listdir(home) == []

    def test_what_looks_like_ours_and_is_no_folder_of_ours_does_no_harm(
        self, workspace_builder: WorkspaceBuilder, home: Path
    ) -> None:
        home.mkdir(parents=True)
        (home / "outside").mkdir()
        (home / "outside" / "file").write_bytes(b"")
        (home / ".mlxk-making-link").symlink_to("outside")
        os.mkfifo(home / ".mlxk-making-pipe")
        with workspace_builder.create("model", ORIGIN) as folder:
            write(folder)
        assert (home / "outside" / "file").exists()

    def test_a_home_that_is_a_file_is_a_storage_error(self, workspace_builder: WorkspaceBuilder, home: Path) -> None:
        home.parent.mkdir()
        home.write_bytes(b"")
        with pytest.raises(StorageError), workspace_builder.scratch():
            pytest.fail("it began")


def _files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != SENTINEL}
