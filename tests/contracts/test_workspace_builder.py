"""The contract of ``WorkspaceBuilder``."""

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


class _BlockError(Exception):
    """An error inside the block of ``create``."""


def write(folder: str) -> None:
    for name, data in FILES.items():
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


class Contract(ABC):
    @pytest.fixture
    @abstractmethod
    def builder(self, place: Path) -> WorkspaceBuilder:
        """Return a builder whose home does not exist yet."""

    @abstractmethod
    def made(self, builder: WorkspaceBuilder) -> dict[str, dict[str, bytes]]:
        """Return the files of every workspace, without sentinels."""

    @abstractmethod
    def leftovers(self, builder: WorkspaceBuilder) -> list[str]:
        """Return what is in the home besides workspaces."""

    @abstractmethod
    def denying(self, builder: WorkspaceBuilder) -> AbstractContextManager[None]:
        """Make the home read-only."""

    def test_the_files_of_a_scratch_folder_become_a_workspace(self, builder: WorkspaceBuilder) -> None:
        with builder.scratch() as scratch:
            made = os.path.join(scratch, "made")
            os.mkdir(made)
            write(made)
            builder.adopt("model", ORIGIN, made)
        assert self.made(builder) == {"model": FILES}
        with builder.scratch() as scratch, pytest.raises(ValidationError):
            builder.adopt("model", ORIGIN, scratch)

    def test_a_folder_becomes_a_workspace_when_the_block_ends(self, builder: WorkspaceBuilder) -> None:
        with builder.create("model", ORIGIN) as folder:
            assert os.listdir(folder) == []
            write(folder)
            assert self.made(builder) == {}
        assert self.made(builder) == {"model": FILES}
        assert self.leftovers(builder) == []
        assert not os.path.exists(folder)

    def test_nothing_is_left_when_the_block_raises(self, builder: WorkspaceBuilder) -> None:
        with suppress(_BlockError), builder.create("model", ORIGIN) as folder:
            write(folder)
            raise _BlockError
        assert self.made(builder) == {}
        assert self.leftovers(builder) == []

    def test_a_taken_name_is_refused_before_the_block(self, builder: WorkspaceBuilder) -> None:
        with builder.create("model", ORIGIN) as folder:
            write(folder)
        with pytest.raises(ValidationError), builder.create("model", ORIGIN):
            pytest.fail("the block ran")
        assert self.made(builder) == {"model": FILES}

    def test_a_name_taken_meanwhile_is_refused_after_the_block(self, builder: WorkspaceBuilder) -> None:
        slower = builder.create("model", ORIGIN)
        Path(slower.__enter__(), "other").write_bytes(b"")
        with builder.create("model", ORIGIN) as faster:
            write(faster)
        with pytest.raises(ValidationError):
            slower.__exit__(None, None, None)
        assert self.made(builder) == {"model": FILES}
        assert self.leftovers(builder) == []

    @pytest.mark.parametrize(
        "name", ["", ".", "..", ".hidden", "a/b", "/a", "a\0b", "a\nb", "\ud800", "x" * 256, "ä" * 128]
    )
    def test_an_invalid_name_is_refused(self, builder: WorkspaceBuilder, name: str) -> None:
        with pytest.raises(ValidationError), builder.create(name, ORIGIN):
            pytest.fail("the block ran")

    def test_a_scratch_folder_is_deleted_also_after_an_error(self, builder: WorkspaceBuilder) -> None:
        with builder.scratch() as folder:
            assert os.listdir(folder) == []
            write(folder)
        assert not os.path.exists(folder)
        with suppress(_BlockError), builder.scratch() as folder:
            write(folder)
            raise _BlockError
        assert not os.path.exists(folder)
        assert self.leftovers(builder) == []

    def test_two_at_a_time_do_not_disturb_each_other(self, builder: WorkspaceBuilder) -> None:
        with (
            builder.scratch() as scratch,
            builder.create("one", ORIGIN) as one,
            builder.create("two", ORIGIN) as two,
        ):
            assert len({scratch, one, two}) == 3
            write(one)
            write(two)
        assert self.made(builder) == {"one": FILES, "two": FILES}

    def test_a_home_that_may_not_be_written_to_is_denied(self, builder: WorkspaceBuilder) -> None:
        with self.denying(builder), pytest.raises(AccessDenied), builder.create("model", ORIGIN):
            pytest.fail("the block ran")


class TestFake(Contract):
    @pytest.fixture
    def builder(self, place: Path) -> WorkspaceBuilder:
        del place
        return FakeWorkspaceBuilder()

    def made(self, builder: WorkspaceBuilder) -> dict[str, dict[str, bytes]]:
        assert isinstance(builder, FakeWorkspaceBuilder)
        return {name: files for name, (_, files) in builder.made.items()}

    def leftovers(self, builder: WorkspaceBuilder) -> list[str]:
        assert isinstance(builder, FakeWorkspaceBuilder)
        return builder.scratch_folders

    @contextmanager
    def denying(self, builder: WorkspaceBuilder) -> Iterator[None]:
        assert isinstance(builder, FakeWorkspaceBuilder)
        builder.is_denied = True
        yield


class TestReal(Contract):
    @pytest.fixture
    def home(self, place: Path) -> Path:
        return place / "folder" / "home"

    @pytest.fixture
    def builder(self, home: Path) -> WorkspaceBuilder:
        return LocalWorkspaceBuilder(str(home), now=lambda: 86_400.0)

    def made(self, builder: WorkspaceBuilder) -> dict[str, dict[str, bytes]]:
        home = self._home(builder)
        found = (path for path in home.iterdir() if not path.name.startswith("."))
        return {path.name: _files(path) for path in found}

    def leftovers(self, builder: WorkspaceBuilder) -> list[str]:
        return [path.name for path in self._home(builder).iterdir() if path.name.startswith(".")]

    def denying(self, builder: WorkspaceBuilder) -> AbstractContextManager[None]:
        home = self._home(builder)
        home.mkdir(parents=True)
        return forbidden(home)

    def _home(self, builder: WorkspaceBuilder) -> Path:
        assert isinstance(builder, LocalWorkspaceBuilder)
        return Path(builder._home)  # noqa: SLF001 - only the real adapter has a home

    def test_the_sentinel_records_origin_and_content(self, builder: WorkspaceBuilder, home: Path) -> None:
        with builder.create("model", ORIGIN) as folder:
            write(folder)
        document = json.loads((home / "model" / SENTINEL).read_text())
        lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(FILES.items()))
        assert document.pop("mlxk_version")
        assert document == {
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

    def test_an_unfinished_workspace_is_not_listed(self, builder: WorkspaceBuilder, home: Path) -> None:
        with builder.create("model", ORIGIN) as folder:
            write(folder)
            assert LocalWorkspaces(str(home)).at_home() == ()

    @pytest.mark.parametrize("kind", ["file", "folder", "link"])
    def test_an_existing_file_folder_or_link_of_the_name_stays(
        self, builder: WorkspaceBuilder, home: Path, kind: str
    ) -> None:
        home.mkdir(parents=True)
        {
            "file": lambda path: path.write_bytes(b"x"),
            "folder": lambda path: path.mkdir(),
            "link": lambda path: path.symlink_to("nowhere"),
        }[kind](home / "model")
        with pytest.raises(ValidationError), builder.create("model", ORIGIN):
            pytest.fail("the block ran")
        assert os.listdir(home) == ["model"]

    def test_the_folder_of_a_killed_process_is_deleted_and_folders_in_use_stay(
        self, builder: WorkspaceBuilder, home: Path
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
        with builder.scratch() as first, builder.scratch() as second:
            assert sorted(os.listdir(home)) == sorted((os.path.basename(first), os.path.basename(second)))
            assert left not in os.listdir(home)
        assert os.listdir(home) == []

    def test_a_link_or_a_pipe_named_like_a_scratch_folder_is_not_followed(
        self, builder: WorkspaceBuilder, home: Path
    ) -> None:
        home.mkdir(parents=True)
        (home / "outside").mkdir()
        (home / "outside" / "file").write_bytes(b"")
        (home / ".mlxk-making-link").symlink_to("outside")
        os.mkfifo(home / ".mlxk-making-pipe")
        with builder.create("model", ORIGIN) as folder:
            write(folder)
        assert (home / "outside" / "file").exists()

    def test_a_home_that_is_a_file_is_a_storage_error(self, builder: WorkspaceBuilder, home: Path) -> None:
        home.parent.mkdir()
        home.write_bytes(b"")
        with pytest.raises(StorageError), builder.scratch():
            pytest.fail("the block ran")


def _files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != SENTINEL}
