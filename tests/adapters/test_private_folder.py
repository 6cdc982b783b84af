"""The private folder of model processes: who may own and write it, what replaces it, and what is cleared away."""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxknife.adapters.system.private_folder import PrivateFolder
from mlxknife.domain.errors import AccessDenied, StorageError
from mlxknife.domain.hints import Hint, HintCode
from tests.contracts.permissions import forbidden, shared_folder

IS_ROOT = os.geteuid() == 0
AS_ROOT = pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
NOBODY = 65534
NAME = f"temp-{os.uname().machine}"
ELF = bytes.fromhex("7f454c460201") + bytes(34) + (64).to_bytes(8, "little") + bytes(10) + bytes.fromhex("400001000000")
"""The head of a library with one section header of 64 bytes, behind the head."""


def named(folder: Path) -> PrivateFolder:
    """Return the folder of a user who named its place."""
    return PrivateFolder({}, str(folder))


def default(home: Path, temporary: Path) -> PrivateFolder:
    """Return the folder of a user who named no place."""
    return PrivateFolder({"XDG_CACHE_HOME": str(home), "TMPDIR": str(temporary)}, None)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir(0o700)
    return folder


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def refused(folder: PrivateFolder, reason: str) -> None:
    """Check that a folder is refused, with the reason and a way out."""
    with pytest.raises(AccessDenied, match=re.escape(reason)) as caught:
        folder.path()
    assert caught.value.hint == Hint(HintCode.PRIVATE_FOLDER)


def test_the_folder_is_created_private_and_kept(tmp_path: Path, temporary: Path) -> None:
    before = os.umask(0)
    try:
        path = default(tmp_path / "cache", temporary).path()
    finally:
        os.umask(before)
    assert path == str(tmp_path / "cache/mlxk" / NAME)
    assert [mode(tmp_path / "cache"), mode(tmp_path / "cache/mlxk"), mode(path)] == [0o700] * 3
    assert default(tmp_path / "cache", temporary).path() == path


def test_a_folder_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir(0o755)
    assert mode(named(tmp_path).path()) == 0o700


@pytest.mark.parametrize("allowed", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, allowed: int) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME).chmod(allowed)
    refused(named(tmp_path), f"{NAME}: other users can write to it")


@pytest.mark.parametrize("target", ["elsewhere", "."])
def test_a_link_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / NAME).symlink_to(target)
    refused(named(tmp_path), f"{NAME}: it is a link")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()
    refused(named(tmp_path), f"{NAME}: it is not a folder")


@AS_ROOT
def test_the_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir(0o700)
    os.chown(tmp_path / NAME, NOBODY, NOBODY)
    refused(named(tmp_path), f"{NAME}: it belongs to another user")


def test_a_place_where_others_can_swap_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    tmp_path.chmod(0o777)
    refused(named(tmp_path / "inner"), f"other users can replace folders in {tmp_path}".removesuffix("x"))
    tmp_path.chmod(0o1777)  # sticky
    assert named(tmp_path / "inner").path() == str(tmp_path / "inner" / NAME)


def test_the_group_of_the_user_alone_may_write_beside_it(tmp_path: Path) -> None:
    if os.getegid() != os.geteuid():
        pytest.skip("this user has no group of its own")
    tmp_path.chmod(0o770)
    assert named(tmp_path).path() == str(tmp_path / NAME)


def test_a_link_on_the_way_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert named(tmp_path / "link").path() == str(tmp_path / "real" / NAME)


# --- the user's cache folder cannot be used


def test_where_others_can_swap_the_cache_folder_a_new_folder_is_used(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    path = default(tmp_path / "cache", temporary).path()
    assert os.path.dirname(path) == str(temporary)
    assert mode(path) == 0o700


@AS_ROOT
def test_root_leaves_the_home_of_another_user_alone(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", NOBODY, NOBODY)
    assert os.path.dirname(default(tmp_path / "cache", temporary).path()) == str(temporary)


def test_without_a_home_that_can_be_written_a_new_folder_is_used_and_removed_at_the_end() -> None:
    with shared_folder() as root:
        home, temporary = root / "home", root / "temporary"
        home.mkdir(0o755)
        temporary.mkdir()
        temporary.chmod(0o1777)
        with forbidden(home):
            path, content = _in_a_fork(lambda: _used(home, temporary))
        assert (os.path.dirname(path), content) == (str(temporary), "file")
        assert list(temporary.iterdir()) == []


def _used(home: Path, temporary: Path) -> str:
    """Use the folder, also in a fork whose end must remove nothing; return its path and what is in it."""
    folder = default(home, temporary)
    Path(folder.path(), "file").touch()
    _in_a_fork(folder.path)
    return f"{folder.path()} {' '.join(os.listdir(folder.path()))}"


def _in_a_fork(work: Callable[[], str]) -> list[str]:
    """Return the words that a function returns in a fork, which is the effective user and ends as a program does."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        atexit._clear()  # noqa: SLF001 - pytest ends elsewhere
        try:
            os.setreuid(os.geteuid(), os.geteuid())
            os.write(writer, work().encode())
            atexit._run_exitfuncs()  # noqa: SLF001
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        words = answer.read().split()
    os.waitpid(pid, 0)
    return words


def test_a_temporary_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for temporary, reason in (("nowhere", "No such file or directory"), ("file", "Not a directory")):
        with pytest.raises(StorageError, match=f"cannot be used: {tmp_path}/{temporary}: {reason}"):
            default(tmp_path / "file", tmp_path / temporary).path()


def test_a_temporary_folder_in_which_others_can_swap_folders_is_refused(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "file").touch()
    temporary.chmod(0o777)
    refused(default(tmp_path / "file", temporary), f"{temporary}: other users can replace what is in it")


def test_a_named_place_that_cannot_be_used_is_an_error(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "file").touch()
    folder = PrivateFolder({"TMPDIR": str(temporary)}, str(tmp_path / "file"))
    with pytest.raises(StorageError, match=f"cannot be used: {tmp_path}/file/{NAME}: "):
        folder.path()
    assert list(temporary.iterdir()) == []


# --- what killed processes left


def kernels(folder: Path) -> dict[str, Path]:
    """Put whole and unfinished kernels into a folder, as MLX names them."""
    place = folder / NAME / "mlx/1.2.3/cpu"
    place.mkdir(parents=True)
    contents = {
        "whole": ELF + bytes(64),
        "unfinished": ELF + bytes(63),
        "hole": bytes(len(ELF) + 64),
        "empty": b"",
        "other": b"\xcf\xfa\xed\xfe" + bytes(80),
    }
    for name, content in contents.items():
        (place / f"lib{name}.so").write_bytes(content)
        (place / f"{name}.cpp").touch()
    return {name: place / f"lib{name}.so" for name in contents}


def test_unfinished_kernels_and_temporary_files_are_removed(tmp_path: Path) -> None:
    found = kernels(tmp_path)
    (tmp_path / NAME / "ccAb12.s").touch()
    (tmp_path / NAME / "renderer").mkdir()
    (tmp_path / NAME / "renderer/file").touch()
    (tmp_path / NAME / "link").symlink_to(found["whole"].parent)
    (tmp_path / "beside").touch()
    path = named(tmp_path).path()
    assert {name for name, kernel in found.items() if kernel.exists()} == {"whole", "other"}
    assert os.listdir(path) == ["mlx"]
    assert (tmp_path / "beside").exists()


def test_while_another_process_uses_the_folder_nothing_is_removed(tmp_path: Path) -> None:
    found = kernels(tmp_path)
    descriptor = os.open(tmp_path / NAME, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    folder = named(tmp_path)
    folder.path()
    assert all(kernel.exists() for kernel in found.values())
    os.close(descriptor)
    named(tmp_path).path()
    assert found["unfinished"].exists()  # the first one is still in use
    del folder
    named(tmp_path).path()
    assert not found["unfinished"].exists()
